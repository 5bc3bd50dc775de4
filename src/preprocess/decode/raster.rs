//! WebP, GIF, TIFF and BMP, by the `image` crate.

use std::borrow::Cow;
use std::io::Cursor;
use std::string::ToString;
use std::vec::Vec;

use image::error::UnsupportedErrorKind;
use image::{ColorType, ImageDecoder, ImageError, ImageReader};

use super::kind::Kind;
use super::orientation::Orientation;
use super::{DecodedImage, Limits, check_sides, damaged, limits, too_large, unsupported};
use crate::preprocess::Packed;
use crate::{Error, Result};

/// Decodes what `image` can. `orientation` is still to be applied.
pub(super) fn decode(
    data: &[u8],
    kind: Kind,
    limits: &Limits,
    orientation: Orientation,
) -> Result<DecodedImage> {
    let explain = |error: ImageError| explain(kind, &error);
    let data =
        if kind == Kind::WebP { Cow::Owned(without_metadata_flags(data)) } else { Cow::Borrowed(data) };
    let mut reader = ImageReader::with_format(Cursor::new(&data), kind.format());
    let mut inner = image::Limits::default();
    inner.max_alloc = Some(limits.memory());
    reader.limits(inner);
    let decoder = reader.into_decoder().map_err(explain)?;

    let (width, height) = decoder.dimensions();
    check_sides(width, height)?;
    let color = decoder.color_type();
    let pixels = u64::from(width) * u64::from(height);
    let stored = pixels * u64::from(color.bytes_per_pixel());
    let turned = if orientation == Orientation::TopLeft { 0 } else { stored };
    limits.check(width, height, stored + turned.max(working(kind, &data, pixels, stored)))?;
    let mut buffer = limits::zeros(stored as usize)?;
    decoder.read_image(&mut buffer).map_err(explain)?;

    let format = to_bytes(&mut buffer, color, kind.name())?;
    DecodedImage::new(format, width, height, buffer)
}

/// The data of a WebP without the announcement of metadata and colour profiles: their absence is no reason to refuse a
/// picture.
fn without_metadata_flags(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    if let [_, .., b'V', b'P', b'8', b'X', _, _, _, _, flags] = data.get_mut(..21).unwrap_or_default() {
        *flags &= !0x2c;
    }
    data
}

/// Colours and alpha from levels with alpha.
///
/// # Errors
/// No memory for them.
pub(super) fn with_alpha(pixels: &[u8]) -> Result<Vec<u8>> {
    let mut wide = limits::zeros(pixels.len() * 2)?;
    let both = wide.as_chunks_mut::<4>().0.iter_mut().zip(pixels.as_chunks::<2>().0);
    both.for_each(|(to, &[level, alpha])| *to = [level, level, level, alpha]);
    Ok(wide)
}

/// Bytes that a decoder takes besides the picture of `pixels` and `stored` bytes.
fn working(kind: Kind, data: &[u8], pixels: u64, stored: u64) -> u64 {
    match kind {
        // The canvas and the frame of an animation and what decodes them; the pixels of a lossless picture.
        Kind::WebP if data.get(20).is_some_and(|flags| flags & 2 != 0) => 12 * pixels,
        Kind::WebP => 6 * pixels,
        Kind::Gif => 4 * pixels,
        // A strip may hold all of it.
        Kind::Tiff => stored,
        _ => 0,
    }
}

/// Makes packed 8-bit pixels of `pixels`. Of 16 bits the high byte is kept, as Pillow does.
///
/// # Errors
/// Pixels of another type, called `name`; no memory.
fn to_bytes(pixels: &mut Vec<u8>, color: ColorType, name: &str) -> Result<Packed> {
    if matches!(color, ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16) {
        let count = pixels.len() / 2;
        for index in 0..count {
            let wide = u16::from_ne_bytes(pixels.as_chunks::<2>().0[index]);
            pixels[index] = (wide >> 8) as u8;
        }
        pixels.truncate(count);
    }
    match color {
        ColorType::L8 | ColorType::L16 => Ok(Packed::Gray),
        ColorType::Rgb8 | ColorType::Rgb16 => Ok(Packed::Rgb),
        ColorType::Rgba8 | ColorType::Rgba16 => Ok(Packed::Rgba),
        ColorType::La8 | ColorType::La16 => {
            *pixels = with_alpha(pixels)?;
            Ok(Packed::Rgba)
        }
        _ => Err(unsupported(name, "its type of pixels")),
    }
}

fn explain(kind: Kind, error: &ImageError) -> Error {
    match error {
        ImageError::Unsupported(what) => match what.kind() {
            UnsupportedErrorKind::GenericFeature(feature) => unsupported(kind.name(), &feature),
            _ => unsupported(kind.name(), "its type of pixels"),
        },
        ImageError::Limits(_) => too_large(std::format!(
            "this {} is above a limit ({error}): scale it down or raise the limit ({})",
            kind.name(),
            crate::knobs::MAX_PIXELS.name
        )),
        _ => damaged(kind.name(), &error.to_string()),
    }
}
