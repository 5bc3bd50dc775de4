//! `ocelli profile --pipeline`: where a photo's time goes, from file to embedding.

use crate::console::{Console, Failure, ms_since, round_ms};
use crate::decoders::{each_decoded, preprocessors};
use crate::inputs;
use ocelli::preprocess::decode::{self, Limits};
use ocelli::vision::Layer;
use ocelli::{Error, ImageEncoder, Result, knobs};
use serde::Serialize;
use std::fmt;
use std::path::Path;
use std::time::Instant;

/// The photos of a folder, each time in milliseconds per photo.
#[derive(Serialize)]
pub(super) struct Pipeline {
    photos: usize,
    megapixels: f64,
    /// One after the other.
    ms: Stages,
    /// As `ocelli classify` and `ocelli embed` go through them, decoding and preprocessing the next ones meanwhile.
    overlapped_ms: f64,
    /// Photos per second then, of those that the encoder alone would do.
    of_encoder: f64,
}

#[derive(Default, Serialize)]
struct Stages {
    decode: f64,
    preprocess: f64,
    encode: f64,
    total: f64,
}

/// Goes through the pictures in `folder` once stage by stage and once overlapped.
pub(super) fn measure(
    folder: &Path,
    encoder: &mut ImageEncoder,
    console: &Console,
) -> Result<Pipeline, Failure> {
    let mut options = decode::Options::default();
    if let Some(max_pixels) = knobs::max_pixels()? {
        options.limits = Limits::new(max_pixels);
    }
    let mut embedding = vec![0.0; encoder.embed_dim()];
    let mut paths = Vec::new();
    let (mut ms, mut pixels) = (Stages::default(), 0.0);
    for input in inputs::pictures(folder) {
        let read = input.and_then(|input| {
            let start = Instant::now();
            let image = input.decode(&options)?;
            let decode = ms_since(start);
            let (preprocess, encode) =
                encode(encoder, &image, &mut embedding).map_err(|error| error.in_file(input.path()))?;
            Ok((
                input,
                image.view().width() as f64 * image.view().height() as f64,
                [decode, preprocess, encode],
            ))
        });
        match read {
            Ok((input, size, [decode, preprocess, encode])) => {
                ms.decode += decode;
                ms.preprocess += preprocess;
                ms.encode += encode;
                pixels += size;
                paths.push(input);
            }
            Err(error) => console.complain(&error),
        }
    }
    let photos = paths.len();
    if photos == 0 {
        let problem = "there is no picture in this folder or those below it that can be read";
        return Err(Error::NotAFile { problem }.in_file(folder).into());
    }
    let mut preprocessors = preprocessors(encoder);
    let inputs = paths.into_iter().map(Ok).collect();
    let start = Instant::now();
    each_decoded(inputs, &options, &mut preprocessors, console, |decoded| -> Result<(), Failure> {
        decoded?.preprocess(encoder)?;
        encoder.encode(ocelli::Input::Frames(1), Layer::Projected, &mut embedding)?;
        Ok(())
    })?;
    let per_photo = |all: f64| round_ms(all / photos as f64);
    let (overlapped, encode) = (ms_since(start), ms.encode);
    Ok(Pipeline {
        photos,
        megapixels: per_photo(pixels / 1e6),
        ms: Stages {
            total: per_photo(ms.decode + ms.preprocess + ms.encode),
            decode: per_photo(ms.decode),
            preprocess: per_photo(ms.preprocess),
            encode: per_photo(ms.encode),
        },
        overlapped_ms: per_photo(overlapped),
        of_encoder: round_ms(encode / overlapped),
    })
}

/// Milliseconds that preprocessing and encoding of `image` take.
fn encode(
    encoder: &mut ImageEncoder,
    image: &decode::DecodedImage,
    embedding: &mut [f32],
) -> Result<(f64, f64)> {
    let start = Instant::now();
    encoder.preprocess(&[image.view()])?;
    let preprocess = ms_since(start);
    let start = Instant::now();
    encoder.encode(ocelli::Input::Frames(1), Layer::Projected, embedding)?;
    Ok((preprocess, ms_since(start)))
}

impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pipeline { photos, megapixels, ms, overlapped_ms, of_encoder } = self;
        writeln!(
            f,
            "{photos} photos of {megapixels:.1} megapixels on average, each: decode {:.1} ms, preprocess {:.1}, encode {:.1}; \
             one after the other {:.1}",
            ms.decode, ms.preprocess, ms.encode, ms.total,
        )?;
        writeln!(
            f,
            "decoding and preprocessing the next meanwhile: {overlapped_ms:.1} ms a photo, {:.0} % of the encoder's own rate",
            100.0 * of_encoder,
        )
    }
}
