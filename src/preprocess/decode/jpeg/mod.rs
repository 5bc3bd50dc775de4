//! JPEG, level for level what libjpeg-turbo (and with it Pillow) makes of a file: the weights were trained behind that
//! decoder, and a picture that others decode a few levels away can change its class. `docs/decoding.md` says why it is
//! this decoder.

mod scale;
mod survey;

use std::format;
use std::string::ToString;

use libjpeg_turbo_rs::{
    DecodeLimits, DecodeWarning, Decoder, FrameHeader, JpegError, PixelFormat, ScalingFactor,
};

use self::scale::Scale;
use self::survey::{Survey, survey};
use super::orientation::Orientation;
use super::{DecodedImage, Options, check_sides, damaged, limits, owned, picture, too_large, unsupported};
use crate::preprocess::{MAX_SIDE, Packed};
use crate::{Error, PictureFault, Result};

const NAME: &str = "JPEG";

/// Scans of one picture. Usual progressive files have about ten; thousands of empty ones would only cost time.
const MAX_SCANS: usize = 256;

/// Decodes a JPEG: grey, or RGB from YCbCr, RGB, CMYK or YCCK. `orientation` is still to be applied.
pub(super) fn decode(data: &[u8], options: &Options, orientation: Orientation) -> Result<DecodedImage> {
    let Survey { complete, repaired } = survey(data);
    let data = repaired.as_deref().unwrap_or(data);
    let explain = |error: &JpegError| if complete { explain(error) } else { cut() };
    let limits = DecodeLimits {
        max_width: MAX_SIDE as usize,
        max_height: MAX_SIDE as usize,
        max_pixels: options.limits.max_pixels,
        max_scans: MAX_SCANS,
        max_memory: None,
    };
    let mut decoder = Decoder::new_with_limits(data, limits).map_err(|error| explain(&error))?;
    let header = decoder.header();
    check_frame(header)?;
    if decoder.is_arithmetic() {
        return Err(unsupported(NAME, "arithmetic coding"));
    }
    let (width, height) = (u32::from(header.width), u32::from(header.height));
    check_sides(width, height)?;
    let scale = options.fast_for.map_or_else(
        || Scale::full(width, height),
        |spec| Scale::for_frame(&spec, width, height, orientation),
    );
    options.limits.check(width, height, memory(header, scale.by, orientation))?;

    let (format, channels) = match header.components.len() {
        1 => (PixelFormat::Grayscale, 1),
        3 => (PixelFormat::Rgb, 3),
        _ => (PixelFormat::Cmyk, 4),
    };
    decoder.set_output_format(format);
    decoder.set_lenient(true);
    decoder.set_block_smoothing(true);
    if let Ok(factor) = ScalingFactor::try_new(1, scale.by) {
        decoder.set_scale(factor);
    }
    let decoded = decoder.decode_image().map_err(|error| explain(&error))?;
    let truncated = |warning: &DecodeWarning| matches!(warning, DecodeWarning::TruncatedData { .. });
    if !complete && decoded.warnings.iter().any(truncated) {
        return Err(cut());
    }
    if let Some(DecodeWarning::UnsupportedRecovered { detail }) =
        decoded.warnings.iter().find(|warning| matches!(warning, DecodeWarning::UnsupportedRecovered { .. }))
    {
        return Err(unsupported(NAME, detail));
    }
    let warnings = decoded.warnings;
    let full_size = (width, height);
    let (width, height) = (width.div_ceil(scale.by), height.div_ceil(scale.by));
    let mut pixels = decoded.data;
    if pixels.len() != width as usize * height as usize * channels {
        return Err(damaged(NAME, "its header and its pixels disagree on the size"));
    }
    scale.trim(&mut pixels, width, channels);
    if format == PixelFormat::Cmyk {
        inks_to_rgb(&mut pixels);
    }
    let format = if format == PixelFormat::Grayscale { Packed::Gray } else { Packed::Rgb };
    let mut image = DecodedImage::new(format, scale.width, scale.height, pixels)?;
    image.full_size = full_size;
    if repaired.is_some() {
        image.warnings.push(owned("the JPEG has lost restart markers: parts of the picture may be grey"));
    } else if warnings.iter().any(truncated) {
        image.warnings.push(owned("the JPEG has less data than its size asks for: what was missing is grey"));
    } else if !warnings.is_empty() {
        image.warnings.push(owned("the JPEG is damaged: parts of the picture may be wrong"));
    }
    if !complete {
        image.warnings.push(owned("the JPEG's end marker is missing"));
    }
    Ok(image)
}

/// The most bytes that decoding takes at once: the planes, or coefficients of two bytes where all scans must be seen
/// first, and the picture; or the picture and its turned copy.
fn memory(header: &FrameHeader, by: u32, orientation: Orientation) -> u64 {
    let components = &header.components;
    let (width, height) = (u64::from(header.width), u64::from(header.height));
    let most =
        |f: fn(&libjpeg_turbo_rs::ComponentInfo) -> u8| components.iter().map(f).max().map_or(1, u64::from);
    let (h, v) = (most(|c| c.horizontal_sampling), most(|c| c.vertical_sampling));
    let units = width.div_ceil(8 * h) * height.div_ceil(8 * v);
    let blocks = |c: &libjpeg_turbo_rs::ComponentInfo| {
        u64::from(c.horizontal_sampling) * u64::from(c.vertical_sampling)
    };
    let samples = 64 * units * components.iter().map(blocks).sum::<u64>();
    let area = u64::from(by).pow(2);
    let working = if header.is_progressive { 2 * samples } else { samples / area };
    let picture = width * height / area * components.len() as u64;
    let decoding = working + picture;
    if orientation == Orientation::TopLeft { decoding } else { decoding.max(2 * picture) }
}

/// Refuses what no camera or program writes; some of it the decoder would not survive.
fn check_frame(header: &FrameHeader) -> Result<()> {
    if header.precision != 8 || header.is_lossless {
        return Err(unsupported(NAME, &format!("{}-bit or lossless samples", header.precision)));
    }
    let components = &header.components;
    if !matches!(components.len(), 1 | 3 | 4) {
        return Err(unsupported(NAME, &format!("{} channels", components.len())));
    }
    // The first channel, and black, are at full resolution and the others are an integer fraction of it.
    let (h, v) = (components[0].horizontal_sampling, components[0].vertical_sampling);
    let usual = components.iter().all(|component| {
        let (x, y) = (component.horizontal_sampling, component.vertical_sampling);
        (1..=4).contains(&x) && (1..=4).contains(&y) && h % x == 0 && v % y == 0
    });
    let black_is_full =
        components.get(3).is_none_or(|k| (k.horizontal_sampling, k.vertical_sampling) == (h, v));
    if !usual || !black_is_full || header.width == 0 || header.height == 0 {
        return Err(damaged(NAME, "its frame header makes no sense"));
    }
    Ok(())
}

/// RGB from CMYK as JPEG files store it, inverted, in place and with Pillow's rounding: `black · ink / 255` for each ink.
fn inks_to_rgb(pixels: &mut std::vec::Vec<u8>) {
    let count = pixels.len() / 4;
    for index in 0..count {
        let [c, m, y, k] = pixels.as_chunks::<4>().0[index];
        let rgb = [c, m, y].map(|ink| {
            let product = u32::from(255 - ink) * u32::from(k) + 128;
            k - ((product + (product >> 8)) >> 8) as u8
        });
        pixels[3 * index..3 * index + 3].copy_from_slice(&rgb);
    }
    pixels.truncate(3 * count);
}

fn cut() -> Error {
    picture(
        PictureFault::Damaged,
        "the JPEG ends before its last pixels: it was cut off, copy or take it again",
    )
}

fn explain(error: &JpegError) -> Error {
    match error {
        JpegError::Unsupported(what) => unsupported(NAME, what),
        JpegError::AllocationFailed { bytes, .. } => limits::out_of_memory(*bytes),
        JpegError::LimitExceeded { .. } => too_large(format!(
            "this JPEG is above a limit ({error}): scale it down or raise the limit ({})",
            crate::knobs::MAX_PIXELS.name
        )),
        _ => damaged(NAME, &error.to_string()),
    }
}
