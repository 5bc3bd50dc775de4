//! `ocelli profile`

mod pipeline;
mod report;

use crate::args::ModelArgs;
use crate::console::{Console, Failure, ms_since, round_ms};
use crate::files::write_file;
use crate::sensors;
use ocelli::format::Merging;
use ocelli::vision::Layer;
use ocelli::{Error, ImageEncoder, ImageOptions, Input, Model, Result, knobs};
use report::{Interval, Report};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Time the image tower, per image and per operation, against what this machine can do, measured in the same run.
///
/// The timed work is normalised pixels to embedding; decoding and resizing photos is part of --pipeline only. All figures are per
/// image, except calls, which are per batch.
///
/// GMAC/s: multiply-accumulates (MACs) per second. Of peak: against a loop that touches registers only, int8 where weights
/// are int8, else f32 (attention is f32; half-precision arithmetic, OCELLI_ISA=+fp16, can exceed it). MB: weights read,
/// activations read and written, each once. Bound: MACs at the peak, or MB at the rate at which all threads together read
/// the model's weights, whichever takes longer. Over it: time beyond the bound; negative where activations stay in a
/// cache nearer than the weights.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Timed calls, after one that warms up
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    iters: u32,
    /// Images per call, as when many are indexed; times are per image still
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch: u16,
    /// Normalised pixels to embed, N x 3 x height x width little-endian f32; all are embedded once, then the first (or
    /// the first batch, repeated where they are too few) is timed [default: one image of a fixed pattern]
    #[arg(long, value_name = "FILE")]
    pixels: Option<PathBuf>,
    /// Merge tokens in another way than the model's file says, to see what that saves (`ocelli-pack convert --help` says how);
    /// 0 for not at all
    #[arg(long, value_name = "MOST:FIRST:POWER")]
    merge_tokens: Option<Merging>,
    /// Write the embeddings of all pixels here, N x dim little-endian f32, not normalised
    #[arg(long, value_name = "FILE")]
    embeddings_out: Option<PathBuf>,
    /// Then keep embedding for so long, and report how time, clock and temperature develop
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    sustained: Option<u64>,
    /// Then go through the photos in this folder, and report where their time goes from file to embedding: decoding,
    /// preprocessing, encoding, and how much of it is saved by decoding and preprocessing the next ones meanwhile
    #[arg(long, value_name = "DIR")]
    pipeline: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, console: &Console) -> Result<ExitCode, Failure> {
    let loading = Instant::now();
    let opened = args.model.open()?;
    let batch = usize::from(args.batch);
    let options = ImageOptions::default().batch(batch).merging(args.merge_tokens).limits(knobs::limits()?);
    let encoder = ImageEncoder::new(&opened.model, &opened.runtime, &options);
    let mut encoder = encoder.map_err(|error| opened.blame(error))?;
    let image_len = image_len(&opened.model);
    let pixels = match &args.pixels {
        Some(path) => read_pixels(path, image_len)?,
        None => (0..image_len).map(|i| ((i * 37 % 255) as f32 / 127.0) - 1.0).collect(),
    };
    let mut embedding = vec![0.0; encoder.embed_dim()];
    encoder.encode(Input::Planar(&pixels[..image_len]), Layer::Projected, &mut embedding)?;
    let load_ms = ms_since(loading);

    let mut embeddings = embedding.clone();
    for image in pixels.chunks_exact(image_len).skip(1) {
        encoder.encode(Input::Planar(image), Layer::Projected, &mut embedding)?;
        embeddings.extend_from_slice(&embedding);
    }
    if let Some(path) = &args.embeddings_out {
        let bytes: Vec<u8> = embeddings.iter().flat_map(|value| value.to_le_bytes()).collect();
        write_file(path, &bytes)?;
    }

    let timed: Vec<f32> = pixels.into_iter().cycle().take(batch * image_len).collect();
    let mut embeddings = vec![0.0; batch * encoder.embed_dim()];
    // Milliseconds per image.
    let mut embed = |encoder: &mut ImageEncoder| {
        let start = Instant::now();
        encoder.encode(Input::Planar(&timed), Layer::Projected, &mut embeddings)?;
        Ok(round_ms(ms_since(start) / batch as f64))
    };
    if batch > 1 {
        embed(&mut encoder)?;
    }
    encoder.profile_mut().clear();
    let ms = (0..args.iters).map(|_| embed(&mut encoder)).collect::<Result<Vec<f64>>>()?;
    let mut report = Report::new(args, &opened, &mut encoder, ms, load_ms)?;
    if let Some(seconds) = args.sustained {
        report.sustained = Some(sustained(seconds, || embed(&mut encoder))?);
    }
    if let Some(folder) = &args.pipeline {
        report.pipeline = Some(pipeline::measure(folder, &mut encoder, console)?);
    }
    match args.json {
        true => console.print_json(&report)?,
        false => console.print(&report.text())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Calls `embed`, which gives milliseconds per image, for `seconds`; a tenth of that time at a time: calls, median, and
/// what the sensors say at its end.
fn sustained(seconds: u64, mut embed: impl FnMut() -> Result<f64>) -> Result<Vec<Interval>> {
    let start = Instant::now();
    let mut intervals = Vec::new();
    for tenth in 1..=10 {
        let end = Duration::from_secs(seconds) * tenth / 10;
        let mut ms = Vec::new();
        while ms.is_empty() || start.elapsed() < end {
            ms.push(embed()?);
        }
        ms.sort_by(f64::total_cmp);
        intervals.push(Interval {
            at_s: round_ms(start.elapsed().as_secs_f64()),
            calls: ms.len(),
            p50_ms: report::percentile(&ms, 50),
            sensors: sensors::read(&knobs::sysfs()?),
        });
    }
    Ok(intervals)
}

/// Values of one normalised image.
fn image_len(model: &Model) -> usize {
    let vision = &model.file().config().vision;
    3 * vision.height as usize * vision.width as usize
}

fn read_pixels(path: &Path, image_len: usize) -> Result<Vec<f32>> {
    let bytes = std::fs::read(path)
        .map_err(|source| Error::Io { action: "read the pixels", source }.in_file(path))?;
    let image_bytes = image_len * size_of::<f32>();
    if bytes.is_empty() || !bytes.len().is_multiple_of(image_bytes) {
        let problem = "the file is no whole number of images, in bytes of each";
        let (expected, found) = (image_bytes as u64, bytes.len() as u64);
        return Err(Error::Pixels { problem, expected, found }.in_file(path));
    }
    let pixels: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    match pixels.iter().position(|pixel| !pixel.is_finite()) {
        Some(at) => {
            let message = format!("value {at} is {}; pixels are finite little-endian f32", pixels[at]);
            Err(Error::Message(message).in_file(path))
        }
        None => Ok(pixels),
    }
}
