//! How one axis of a picture is resampled: which source pixels make each resized pixel, and how much of each.

use bytemuck::{Pod, Zeroable};
use core::ops::Range;

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
        self.start as usize + self.len as usize
    }
}

/// How one pass computes: the stride of its coefficients and their fractional bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// Coefficients kept per resized pixel; a window may need fewer.
    pub taps: usize,
    /// Fractional bits, 1 to 30.
    pub precision: u32,
}

impl Pass {
    /// What a sum starts as, so that dropping the fractional bits rounds half up.
    #[inline(always)]
    pub const fn half(self) -> i32 {
        1 << (self.precision - 1)
    }
}

/// How one axis is resampled.
#[derive(Clone, Copy, Debug)]
pub struct Resampling<'t> {
    /// Of every resized pixel; none starts or ends before the one before it.
    pub windows: &'t [Window],
    /// `pass.taps` of every resized pixel.
    pub coefficients: &'t [i32],
    /// Stride and fractional bits of the coefficients.
    pub pass: Pass,
}

impl<'t> Resampling<'t> {
    /// Window and coefficients of resized pixel `index`.
    ///
    /// # Panics
    /// If there are no such.
    #[inline(always)]
    pub fn at(&self, index: usize) -> (Window, &'t [i32]) {
        let window = self.windows[index];
        (window, &self.coefficients[index * self.pass.taps..][..window.len as usize])
    }

    /// The source pixels that all windows together cover.
    pub fn span(&self) -> Range<usize> {
        match self.windows {
            [first, .., last] => first.start as usize..last.end(),
            [only] => only.start as usize..only.end(),
            [] => 0..0,
        }
    }
}
