//! JPEG, level for level what libjpeg-turbo (and with it Pillow) makes of a file: the weights were trained behind that
//! decoder, and a picture that others decode a few levels away can change its class.

use std::format;
use std::string::ToString;
use std::vec::Vec;

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};
use libjpeg_turbo_rs::{DecodeLimits, Decoder, FrameHeader, JpegError, PixelFormat};

use super::{MAX_BYTES, MAX_SIDE, message, needs_too_much, too_large};
use crate::{Error, Result};

/// Scans of one picture. Usual progressive files have about ten; thousands of empty ones would only cost time.
const MAX_SCANS: usize = 256;

/// Decodes a whole JPEG: grey, or RGB from YCbCr, RGB, CMYK or YCCK. The orientation is still to be applied.
pub(super) fn decode(data: &[u8]) -> Result<(DynamicImage, Orientation)> {
    let limits = DecodeLimits {
        max_width: MAX_SIDE as usize,
        max_height: MAX_SIDE as usize,
        max_pixels: MAX_BYTES,
        max_scans: MAX_SCANS,
        max_memory: None,
    };
    let mut decoder = Decoder::new_with_limits(data, limits).map_err(|error| explain(&error))?;
    let header = decoder.header();
    let (width, height) = (u32::from(header.width), u32::from(header.height));
    let channels = header.components.len();
    if u64::from(width) * u64::from(height) * channels as u64 > MAX_BYTES {
        return Err(needs_too_much(width, height));
    }
    check_frame(header)?;
    if is_cut(data) {
        return Err(message("the JPEG ends before its last pixels: it was cut off, copy or take it again"));
    }
    let format = match channels {
        1 => PixelFormat::Grayscale,
        3 => PixelFormat::Rgb,
        _ => PixelFormat::Cmyk,
    };
    decoder.set_output_format(format);
    let mut decoded = decoder.decode_image().map_err(|error| explain(&error))?;
    let orientation = decoded.exif_data().and_then(Orientation::from_exif_chunk);
    let pixels = core::mem::take(&mut decoded.data);
    let image = match format {
        PixelFormat::Grayscale => GrayImage::from_raw(width, height, pixels).map(DynamicImage::ImageLuma8),
        PixelFormat::Rgb => RgbImage::from_raw(width, height, pixels).map(DynamicImage::ImageRgb8),
        _ => RgbImage::from_raw(width, height, inks_to_rgb(&pixels)).map(DynamicImage::ImageRgb8),
    };
    let image = image.ok_or_else(|| damaged("its header and its pixels disagree on the size"))?;
    Ok((image, orientation.unwrap_or(Orientation::NoTransforms)))
}

/// Refuses what no camera or program writes; some of it the decoder would not survive.
fn check_frame(header: &FrameHeader) -> Result<()> {
    if header.precision != 8 || header.is_lossless {
        return Err(unsupported(&format!("{}-bit or lossless samples", header.precision)));
    }
    let components = &header.components;
    if !matches!(components.len(), 1 | 3 | 4) {
        return Err(unsupported(&format!("{} channels", components.len())));
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
        return Err(damaged("its frame header makes no sense"));
    }
    Ok(())
}

/// RGB from CMYK as JPEG files store it, inverted, with Pillow's rounding: `black · ink / 255` for each ink.
fn inks_to_rgb(pixels: &[u8]) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(pixels.len() / 4 * 3);
    for &[c, m, y, k] in pixels.as_chunks().0 {
        rgb.extend([c, m, y].map(|ink| {
            let product = u32::from(255 - ink) * u32::from(k) + 128;
            k - ((product + (product >> 8)) >> 8) as u8
        }));
    }
    rgb
}

/// True if the markers of a JPEG lead to the end of the data and not to an end-of-image marker. Headers that make no
/// sense are left to the decoder.
fn is_cut(data: &[u8]) -> bool {
    let mut at = 2;
    loop {
        let Some(&[first, marker]) = data.get(at..at + 2) else { return true };
        match (first, marker) {
            (0xff, 0xd9) => return false,
            // Fill bytes and restart markers have no length.
            (0xff, 0xff) => at += 1,
            (0xff, 0x01 | 0xd0..=0xd7) => at += 2,
            (0xff, _) => {
                let Some(&[high, low]) = data.get(at + 2..at + 4) else { return true };
                at += 2 + usize::from(u16::from_be_bytes([high, low]));
                if marker == 0xda {
                    // A scan lasts until a marker that is neither a stuffed zero nor a restart.
                    let scan = data.get(at..).unwrap_or_default();
                    let ends = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xd0..=0xd7 | 0xff);
                    let Some(length) = scan.windows(2).position(ends) else { return true };
                    at += length;
                }
            }
            _ => return false,
        }
    }
}

fn explain(error: &JpegError) -> Error {
    match error {
        JpegError::Unsupported(what) => unsupported(what),
        JpegError::LimitExceeded { .. } | JpegError::AllocationFailed { .. } => too_large("JPEG", error),
        _ => damaged(&error.to_string()),
    }
}

fn unsupported(what: &str) -> Error {
    message(&format!("this JPEG cannot be read ({what}): convert it to an ordinary JPEG or PNG"))
}

fn damaged(why: &str) -> Error {
    message(&format!("this JPEG is damaged or incomplete: {why}"))
}
