//! Decoding a JPEG at a fraction of its size, from the low frequencies alone: a quarter of the time where a photo is much
//! larger than the frame that it is meant for.

use std::vec::Vec;

use super::super::orientation::Orientation;
use crate::format::ResizeMode;
use crate::preprocess::FrameSpec;

/// The decoded picture is at least so many times as large as the resized one, as in Pillow's `draft`.
const GAP: u64 = 2;

/// How far the last column and row may be off, in pixels of the resized picture: a side that cannot be divided is rounded.
const MAX_SHIFT: f64 = 0.125;

/// A picture of fewer pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scale {
    /// 1, 2, 4 or 8 stored pixels become one.
    pub(super) by: u32,
    /// Size as stored, before it is turned. What the decoder makes may have a column and a row more.
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Scale {
    /// The picture as it is.
    pub(super) fn full(width: u32, height: u32) -> Scale {
        Scale { by: 1, width, height }
    }

    /// The smallest at which a picture of `width` × `height`, as stored, still makes the frame of `spec`: it is large
    /// enough, and the frame shows the same part of it.
    pub(super) fn for_frame(spec: &FrameSpec, width: u32, height: u32, orientation: Orientation) -> Scale {
        let upright = |scale: Scale| {
            let Scale { width, height, .. } = scale;
            if orientation.swaps_sides() { (height, width) } else { (width, height) }
        };
        let full = Scale::full(width, height);
        let nearest = |side: u32, by: u32| (side + by / 2) / by;
        let scales = [8, 4, 2].map(|by| Scale { by, width: nearest(width, by), height: nearest(height, by) });
        let fits = |scale: &Scale| fits(spec, upright(full), upright(*scale), scale.by);
        scales.into_iter().find(fits).unwrap_or(full)
    }

    /// Cuts rows of `from` pixels, and what follows the last row, off to the size of the picture.
    pub(super) fn trim(self, pixels: &mut Vec<u8>, from: u32, channels: usize) {
        let (row, kept) = (from as usize * channels, self.width as usize * channels);
        if row != kept {
            (0..self.height as usize).for_each(|y| pixels.copy_within(y * row..y * row + kept, y * kept));
        }
        pixels.truncate(self.height as usize * kept);
    }
}

fn fits(spec: &FrameSpec, full: (u32, u32), scaled: (u32, u32), by: u32) -> bool {
    // NaFlex chooses its frame by the picture.
    if spec.mode == ResizeMode::Naflex || scaled.0 == 0 || scaled.1 == 0 {
        return false;
    }
    let (before, after) = (spec.geometry(full.0, full.1), spec.geometry(scaled.0, scaled.1));
    let side = |full: u32, scaled: u32, before: u64, after: u64| {
        let off = f64::from(full.abs_diff(scaled * by)) * before as f64 / f64::from(full);
        u64::from(scaled) >= GAP * before && before == after && off <= MAX_SHIFT
    };
    side(full.0, scaled.0, before.columns.resized, after.columns.resized)
        && side(full.1, scaled.1, before.rows.resized, after.rows.resized)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Alpha, CropRounding, Filter, Resampler};

    #[test]
    fn scales_keep_the_frame() {
        let spec = |mode, side| FrameSpec {
            mode,
            filter: Filter::Bicubic,
            resampler: Resampler::Pillow,
            crop_rounding: CropRounding::Down,
            alpha: Alpha::White,
            shortest: side,
            height: side,
            width: side,
        };
        let by = |mode, side, width, height, orientation| {
            Scale::for_frame(&spec(mode, side), width, height, orientation).by
        };
        use {Orientation::*, ResizeMode::*};
        assert_eq!(by(ShortestCrop, 224, 4000, 3000, TopLeft), 4);
        assert_eq!(by(ShortestCrop, 224, 3000, 4000, RightTop), 4);
        assert_eq!(by(ShortestCrop, 96, 4000, 3000, TopLeft), 8);
        assert_eq!(by(ShortestCrop, 96, 4000, 190, TopLeft), 1);
        assert_eq!(by(Squash, 224, 4000, 895, TopLeft), 1);
        assert_eq!(by(Squash, 224, 4000, 896, TopLeft), 2);
        assert_eq!(by(SquashCrop, 224, 4000, 896, TopLeft), 2);
        assert_eq!(by(Naflex, 224, 4000, 3000, TopLeft), 1);
        for (width, height) in (0..4000).map(|i| (500 + 7 * i % 5000, 400 + 11 * i % 4500)) {
            let scale = Scale::for_frame(&spec(ShortestCrop, 96), width, height, TopLeft);
            let resized = |width, height| {
                let geometry = spec(ShortestCrop, 96).geometry(width, height);
                (geometry.columns.resized, geometry.rows.resized)
            };
            assert_eq!(resized(scale.width, scale.height), resized(width, height), "{width}x{height}");
            assert!(scale.width <= width.div_ceil(scale.by) && scale.height <= height.div_ceil(scale.by));
        }
    }
}
