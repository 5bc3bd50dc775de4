//! PNG, row by row: once the last row is there, nothing that follows can spoil the picture.

use std::io::Cursor;
use std::string::ToString;

use ::png::{ColorType, DecodeOptions, DecodingError, InterlaceInfo, Reader, Transformations};

use super::orientation::Orientation;
use super::raster::with_alpha;
use super::{DecodedImage, Limits, check_sides, damaged, limits, owned};
use crate::preprocess::Packed;
use crate::{Error, Result};

/// Decodes a PNG. Palettes and fewer than 8 bits are expanded, of 16 bits the high byte is kept, and checksums are not
/// looked at, as in Pillow. `orientation` is still to be applied.
pub(super) fn decode(data: &[u8], limits: &Limits, orientation: Orientation) -> Result<DecodedImage> {
    let mut options = DecodeOptions::default();
    options.set_ignore_checksums(true);
    options.set_ignore_text_chunk(true);
    options.set_ignore_iccp_chunk(true);
    let mut decoder = ::png::Decoder::new_with_options(Cursor::new(data), options);
    decoder.set_limits(::png::Limits { bytes: usize::try_from(limits.memory()).unwrap_or(usize::MAX) });
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);

    let header = decoder.read_header_info().map_err(|error| explain(&error))?;
    let (width, height, interlaced) = (header.width, header.height, header.interlaced);
    check_sides(width, height)?;
    // Four bytes a pixel at most, and a turned copy of them or grey with alpha before it has colours.
    let copies = if orientation == Orientation::TopLeft { 6 } else { 8 };
    limits.check(width, height, u64::from(width) * u64::from(height) * copies)?;
    let mut reader = decoder.read_info().map_err(|error| explain(&error))?;
    let (color, _) = reader.output_color_type();
    let stride = width as usize * color.samples();
    let mut pixels = limits::zeros(stride * height as usize)?;
    if interlaced {
        read_interlaced(&mut reader, color.samples(), stride, &mut pixels)?;
    } else {
        for row in pixels.chunks_exact_mut(stride) {
            reader.read_row(row).map_err(|error| explain(&error))?;
        }
    }
    let format = match color {
        ColorType::Grayscale | ColorType::Indexed => Packed::Gray,
        ColorType::Rgb => Packed::Rgb,
        ColorType::Rgba => Packed::Rgba,
        ColorType::GrayscaleAlpha => {
            pixels = with_alpha(&pixels)?;
            Packed::Rgba
        }
    };
    let mut image = DecodedImage::new(format, width, height, pixels)?;
    if reader.finish().is_err() {
        image.warnings.push(owned("the PNG is damaged or cut off behind its last pixels"));
    }
    Ok(image)
}

/// Reads the seven passes of an interlaced picture.
fn read_interlaced(
    reader: &mut Reader<Cursor<&[u8]>>,
    samples: usize,
    stride: usize,
    pixels: &mut [u8],
) -> Result<()> {
    let (width, height) = (reader.info().width, reader.info().height);
    // Of each pass the first column and row, and how far apart its rows are.
    let passes = [(0, 0, 8), (4, 0, 8), (0, 4, 8), (2, 0, 4), (0, 2, 4), (1, 0, 2), (0, 1, 2)];
    let filled = passes.into_iter().filter(|&(column, ..)| column < width);
    let rows: u32 = filled.map(|(_, first, step)| height.saturating_sub(first).div_ceil(step)).sum();
    for _ in 0..rows {
        let Some(row) = reader.next_interlaced_row().map_err(|error| explain(&error))? else { break };
        if let InterlaceInfo::Adam7(pass) = row.interlace() {
            ::png::expand_interlaced_row(pixels, stride, row.data(), pass, 8 * samples as u8);
        }
    }
    Ok(())
}

fn explain(error: &DecodingError) -> Error {
    damaged("PNG", &error.to_string())
}
