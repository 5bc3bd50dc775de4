//! Resampling coefficients of one axis, in the fixed point of Pillow or of torchvision.

#![forbid(unsafe_code)]

use bytemuck::{Pod, Zeroable};

use super::frame::Axis;
use crate::format::{Filter, Resampler};

/// The source pixels that one resized pixel is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Window {
    /// The first of them.
    pub start: u32,
    /// How many.
    pub len: u32,
}

impl Window {
    /// One past the last source pixel.
    pub fn end(self) -> usize {
        (self.start + self.len) as usize
    }
}

/// How one pass computes: the stride of its coefficients and their fractional bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pass {
    /// Coefficients kept per resized pixel; a window may need fewer.
    pub(super) taps: usize,
    /// Fractional bits.
    pub(super) precision: u32,
}

/// Fractional bits of Pillow's coefficients, and the most that torchvision uses.
const MAX_PRECISION: u32 = 22;

/// The filter stretched over one axis, before rounding to fixed point.
struct Stretch {
    filter: Filter,
    source: u32,
    scale: f64,
    /// `1 / max(scale, 1)`: the libraries multiply by the reciprocal, and the last bit depends on it.
    inverse: f64,
    support: f64,
}

impl Stretch {
    fn new(filter: Filter, source: u32, resized: u64) -> Self {
        let scale = f64::from(source) / resized as f64;
        let stretch = scale.max(1.0);
        Stretch { filter, source, scale, inverse: 1.0 / stretch, support: radius(filter) * stretch }
    }

    fn centre(&self, index: u64) -> f64 {
        (index as f64 + 0.5) * self.scale
    }

    fn window(&self, index: u64) -> Window {
        let centre = self.centre(index);
        // Conversion to u32 truncates and clamps at zero.
        let start = (centre - self.support + 0.5) as u32;
        let end = ((centre + self.support + 0.5) as u32).min(self.source);
        Window { start, len: end - start }
    }

    /// The weights of `window` in order, not yet normalised.
    fn weights(&self, index: u64, window: Window) -> impl Iterator<Item = f64> {
        let centre = self.centre(index);
        (0..window.len).map(move |j| self.weight((f64::from(j + window.start) - centre + 0.5) * self.inverse))
    }

    fn weight(&self, x: f64) -> f64 {
        let x = x.abs();
        match self.filter {
            Filter::Bilinear => (1.0 - x).max(0.0),
            Filter::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Filter::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5,
            Filter::Bicubic => 0.0,
        }
    }

    /// torchvision's fractional bits: the most with which the largest weight of the whole axis stays below 2^15.
    fn precision16(&self, resized: u64) -> u32 {
        let mut largest = 0f64;
        for index in 0..resized {
            let window = self.window(index);
            let sum: f64 = self.weights(index, window).sum();
            largest = self.weights(index, window).map(|w| w / sum).fold(largest, f64::max);
            // No weight reaches 2, so the answer is settled. Enlarging gets here on the first pixel, which spares
            // scanning the 4e9 that a picture one pixel wide may be resized to.
            if largest >= 1.0 {
                return 14;
            }
        }
        let fits = |precision: u32| ((0.5 + largest * f64::from(1u32 << precision)) as i32) < 1 << 15;
        (14..MAX_PRECISION).take_while(|&precision| fits(precision + 1)).last().map_or(14, |p| p + 1)
    }
}

/// Half the width of the filter.
fn radius(filter: Filter) -> f64 {
    match filter {
        Filter::Bilinear => 1.0,
        Filter::Bicubic => 2.0,
    }
}

/// The most source pixels in any window of an axis that shrinks by `scale` (or grows, below 1).
pub(super) fn max_taps(filter: Filter, scale: f64) -> usize {
    (radius(filter) * scale.max(1.0)).ceil() as usize * 2 + 1
}

/// Fills the windows and coefficients of the resized pixels that `axis` shows.
pub(super) fn fill(
    axis: &Axis,
    filter: Filter,
    resampler: Resampler,
    coefficients: &mut [i32],
    windows: &mut [Window],
) -> Pass {
    let stretch = Stretch::new(filter, axis.source, axis.resized);
    let taps = max_taps(filter, stretch.scale).min(axis.source as usize);
    let precision = match resampler {
        Resampler::Pillow => MAX_PRECISION,
        Resampler::Torchvision => stretch.precision16(axis.resized),
    };
    let one = f64::from(1u32 << precision);
    let pixels = windows[..axis.count as usize].iter_mut().zip(coefficients.chunks_exact_mut(taps));
    for ((slot, coefficients), index) in pixels.zip(axis.first..) {
        let window = stretch.window(index);
        let sum: f64 = stretch.weights(index, window).sum();
        for (coefficient, weight) in coefficients.iter_mut().zip(stretch.weights(index, window)) {
            // Half away from zero.
            let scaled = weight / sum * one;
            *coefficient = (scaled + 0.5f64.copysign(scaled)) as i32;
        }
        *slot = window;
    }
    Pass { taps, precision }
}
