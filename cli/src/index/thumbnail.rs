//! A photo of the index, small.

use libjpeg_turbo_rs::{PixelFormat, Subsampling, compress};
use ocelli::format::{Alpha, CropRounding, Filter, Resampler, ResizeMode};
use ocelli::preprocess::decode::{self, Limits};
use ocelli::preprocess::{FrameSpec, PixelView, ResizePlan, Resizer, Tables, Window};
use ocelli::{Result, Runtime};
use ocelli_index::Entry;
use std::fmt;

const QUALITY: u8 = 82;

/// Pixels of a photo, upright.
pub(crate) struct Thumbnail {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// RGB, row by row.
    pub(crate) pixels: Vec<u8>,
}

/// Why there is no thumbnail.
pub(crate) enum Failed {
    /// The photo is gone, or can't be decoded.
    Unreadable(String),
    /// Something else went wrong.
    Broken(String),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Failed::Unreadable(reason) | Failed::Broken(reason)) = self;
        f.write_str(reason)
    }
}

impl Thumbnail {
    /// The whole photo in at most `side` pixels per side, never enlarged.
    pub(crate) fn of(
        photo: &Entry,
        side: u32,
        limits: Limits,
        runtime: &Runtime,
    ) -> Result<Thumbnail, Failed> {
        if photo.bytes > limits.memory() {
            return Err(Failed::Unreadable("the photo is larger than is decoded here".into()));
        }
        let file = photo.read().map_err(|error| Failed::Unreadable(error.to_string()))?;
        let mut options = decode::Options::default();
        options.limits = limits;
        options.fast_for = Some(frame(photo.facts.size, side));
        let decoded = decode::decode(&file, &options).map_err(|error| {
            Failed::Unreadable(format!(
                "the photo cannot be decoded any more: {}",
                error.to_string().trim_end()
            ))
        })?;
        drop(file);
        let frame = frame(decoded.full_size(), side);
        let pixels = resized(&decoded.view(), frame, runtime)
            .map_err(|error| Failed::Broken(error.to_string().trim_end().to_owned()))?;
        Ok(Thumbnail { width: frame.width as usize, height: frame.height as usize, pixels })
    }

    /// As a file.
    pub(crate) fn jpeg(&self) -> Result<Vec<u8>, Failed> {
        let Thumbnail { width, height, pixels } = self;
        compress(pixels, *width, *height, PixelFormat::Rgb, QUALITY, Subsampling::S420).map_err(|error| {
            Failed::Broken(format!("cannot make a JPEG of {width}x{height} pixels: {error}"))
        })
    }
}

/// The whole picture of `width` × `height` in at most `most` pixels per side.
fn frame((width, height): (u32, u32), most: u32) -> FrameSpec {
    let longest = u64::from(width.max(height).max(1));
    let most = longest.min(u64::from(most));
    // To the nearest whole pixel, and at least one.
    let side = |side: u32| ((u64::from(side) * most + longest / 2) / longest).max(1) as u32;
    FrameSpec {
        mode: ResizeMode::Squash,
        filter: Filter::Bicubic,
        resampler: Resampler::Pillow,
        crop_rounding: CropRounding::Down,
        alpha: Alpha::White,
        shortest: side(width).min(side(height)),
        height: side(height),
        width: side(width),
    }
}

/// `view` as the RGB pixels of `frame`.
fn resized(view: &PixelView<'_>, frame: FrameSpec, runtime: &Runtime) -> Result<Vec<u8>> {
    let plan = ResizePlan::for_picture(frame, view.width(), view.height())?;
    let memory = plan.memory();
    let (mut coefficients, mut windows) =
        (vec![0; memory.coefficients], vec![Window::default(); memory.windows]);
    let mut tables = Tables { coefficients: &mut coefficients, windows: &mut windows };
    let (mut scratch, mut pixels) = (vec![0; memory.scratch], vec![0; frame.frame_len()]);
    let mut resizer = Resizer::new(plan, *runtime.kernels());
    resizer.prepare(view, &mut tables)?;
    resizer.resize_rows(view, &tables, 0..frame.height as usize, &mut scratch, &mut pixels)?;
    Ok(pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbnail_has_the_shape_of_its_photo() {
        for (photo, thumbnail) in [
            ((4000, 3000), (320, 240)),
            ((3000, 4000), (240, 320)),
            ((600, 400), (320, 213)),
            ((32, 20), (32, 20)),
            ((320, 320), (320, 320)),
            ((65_535, 3), (320, 1)),
            ((1, 1), (1, 1)),
        ] {
            let FrameSpec { width, height, .. } = frame(photo, 320);
            assert_eq!((width, height), thumbnail, "{photo:?}");
        }
    }
}
