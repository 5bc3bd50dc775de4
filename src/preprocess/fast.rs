//! The `fast` resize mode.

#![forbid(unsafe_code)]

use std::format;
use std::vec;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use super::PixelView;
use super::frame::FrameSpec;
use super::pixels::wrong;
use crate::format::Filter;
use crate::{Error, Result};

/// Resizes `view` into `frame`, `[height][width][3]` bytes of RGB, about as the exact resize does.
///
/// # Errors
/// A frame of another length than [`FrameSpec::frame_len`]; what fast_image_resize refuses.
pub fn resize_fast(spec: &FrameSpec, view: &PixelView<'_>, frame: &mut [u8]) -> Result<()> {
    if frame.len() != spec.frame_len() {
        return Err(wrong("the frame has the wrong length, in bytes", spec.frame_len(), frame.len()));
    }
    let (width, height) = (view.width(), view.height());
    let converted;
    let pixels = match view.contiguous_rgb() {
        Some(pixels) => pixels,
        None => {
            let row_bytes = width as usize * 3;
            let mut rows = vec![0; row_bytes * height as usize];
            for (y, row) in rows.chunks_exact_mut(row_bytes).enumerate() {
                view.row_rgb(y, 0..width as usize, spec.alpha, row);
            }
            converted = rows;
            &converted
        }
    };
    let geometry = spec.geometry(width, height);
    let (columns, rows) = (geometry.columns, geometry.rows);
    let (scale_x, scale_y) = (columns.scale(), rows.scale());
    let filter = match spec.filter {
        Filter::Bilinear => FilterType::Bilinear,
        Filter::Bicubic => FilterType::CatmullRom,
    };
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).crop(
        columns.first as f64 * scale_x,
        rows.first as f64 * scale_y,
        f64::from(columns.count) * scale_x,
        f64::from(rows.count) * scale_y,
    );
    let failed = |error: &dyn std::error::Error| Error::Message(format!("the fast resize failed: {error}"));
    let source = ImageRef::new(width, height, pixels, PixelType::U8x3).map_err(|error| failed(&error))?;
    let mut resized = Image::new(columns.count, rows.count, PixelType::U8x3);
    Resizer::new().resize(&source, &mut resized, &options).map_err(|error| failed(&error))?;

    frame.fill(0);
    let covered = columns.covered();
    let lines = frame.chunks_exact_mut(spec.width as usize * 3).skip(rows.before as usize);
    for (line, row) in lines.zip(resized.buffer().chunks_exact(columns.count as usize * 3)) {
        line[covered.start * 3..covered.end * 3].copy_from_slice(row);
    }
    Ok(())
}
