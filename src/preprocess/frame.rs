//! Where the model's frame lies in the resized picture.

#![forbid(unsafe_code)]

use core::ops::Range;

use super::pixels::wrong;
use super::{MAX_SIDE, PixelView};
use crate::Result;
use crate::format::{Alpha, CropRounding, Filter, PreprocessConfig, Resampler, ResizeMode};

/// A [`PreprocessConfig`] with its names decoded, and the size of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameSpec {
    /// How the picture becomes the frame.
    pub mode: ResizeMode,
    /// The resampling filter.
    pub filter: Filter,
    /// Whose arithmetic the resize follows.
    pub resampler: Resampler,
    /// How half a pixel of margin is rounded.
    pub crop_rounding: CropRounding,
    /// What becomes of transparency.
    pub alpha: Alpha,
    /// Shortest side before the crop ([`ResizeMode::ShortestCrop`]), or both ([`ResizeMode::SquashCrop`]), in pixels.
    pub shortest: u32,
    /// Frame height in pixels.
    pub height: u32,
    /// Frame width in pixels.
    pub width: u32,
}

impl FrameSpec {
    /// Decodes `config` for frames of `height` × `width`.
    ///
    /// # Errors
    /// A stored name that this version does not know; a size outside 1..=[`MAX_SIDE`].
    pub fn new(config: &PreprocessConfig, height: u32, width: u32) -> Result<Self> {
        /// A name from its number; names are numbered from 1 to `last`.
        fn known<T>(value: Option<T>, stored: u32, last: u32, problem: &'static str) -> Result<T> {
            value.ok_or(wrong(problem, last as usize, stored as usize))
        }
        let PreprocessConfig { mode, filter, resampler, crop_rounding, alpha, .. } = *config;
        let last = ResizeMode::SquashCrop as u32;
        let mode = known(ResizeMode::from_stored(mode), mode, last, "unknown resize mode, the last is")?;
        let spec = FrameSpec {
            mode,
            filter: known(Filter::from_stored(filter), filter, 2, "unknown resize filter, the last is")?,
            resampler: known(
                Resampler::from_stored(resampler),
                resampler,
                2,
                "unknown resampler, the last is",
            )?,
            crop_rounding: known(
                CropRounding::from_stored(crop_rounding),
                crop_rounding,
                2,
                "unknown crop rounding, the last is",
            )?,
            alpha: known(Alpha::from_stored(alpha), alpha, 2, "unknown alpha rule, the last is")?,
            shortest: if mode.crops() { config.shortest } else { height.min(width) },
            height,
            width,
        };
        for side in [spec.shortest, height, width] {
            if !(1..=MAX_SIDE).contains(&side) {
                return Err(wrong("the frame's size is out of range", MAX_SIDE as usize, side as usize));
            }
        }
        Ok(spec)
    }

    /// Bytes of a frame, `[height][width][3]`.
    pub fn frame_len(&self) -> usize {
        self.height as usize * self.width as usize * 3
    }

    /// Where the frame of a picture of `width` × `height` comes from.
    pub fn geometry(&self, width: u32, height: u32) -> Geometry {
        let (resized_width, resized_height) = match self.mode {
            ResizeMode::Squash | ResizeMode::Naflex => (u64::from(self.width), u64::from(self.height)),
            ResizeMode::SquashCrop => (u64::from(self.shortest), u64::from(self.shortest)),
            ResizeMode::ShortestCrop => {
                let short = u64::from(width.min(height));
                // An exact quotient, truncated: what `int(size * long / short)` gives for sides below 2^26. Up to
                // 4.3e9 for a picture one pixel wide.
                let side = |side: u32| u64::from(self.shortest) * u64::from(side) / short;
                (side(width), side(height))
            }
        };
        Geometry {
            columns: self.axis(width, resized_width, self.width),
            rows: self.axis(height, resized_height, self.height),
        }
    }

    fn axis(&self, source: u32, resized: u64, frame: u32) -> Axis {
        let size = u64::from(frame);
        let (first, before) = if resized >= size {
            let margin = resized - size;
            let half_to_even = margin % 4 == 3 && self.crop_rounding == CropRounding::HalfEven;
            (margin / 2 + u64::from(half_to_even), 0)
        } else {
            let missing = size - resized;
            // transformers' Pillow backend puts the odd black line first; its torchvision backend, and torchvision
            // itself (open_clip, timm), last.
            let pillow = self.resampler == Resampler::Pillow && self.crop_rounding == CropRounding::Down;
            (0, missing / 2 + u64::from(pillow && missing % 2 == 1))
        };
        Axis { source, resized, first, before: before as u32, count: resized.min(size) as u32 }
    }
}

/// One axis of a [`Geometry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Pixels of the source.
    pub source: u32,
    /// Pixels after the resize.
    pub resized: u64,
    /// First resized pixel inside the frame.
    pub first: u64,
    /// Black pixels of the frame before that one.
    pub before: u32,
    /// Resized pixels in the frame. Those of the frame that remain are black too.
    pub count: u32,
}

impl Axis {
    /// Source pixels per resized pixel.
    pub fn scale(&self) -> f64 {
        f64::from(self.source) / self.resized as f64
    }

    /// The part of the frame that the picture covers.
    pub fn covered(&self) -> Range<usize> {
        self.before as usize..(self.before + self.count) as usize
    }
}

/// Which resized pixels make the frame.
///
/// A frame larger than the resized picture (a crop above `shortest`) is padded with zeros before normalisation, as the
/// publishers' processors do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Along x.
    pub columns: Axis,
    /// Along y.
    pub rows: Axis,
}

impl Geometry {
    /// True if `view` has the size that this geometry was made for.
    pub fn fits(&self, view: &PixelView<'_>) -> bool {
        view.width() == self.columns.source && view.height() == self.rows.source
    }
}
