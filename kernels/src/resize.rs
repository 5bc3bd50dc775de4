//! The loops of an exact 8-bit resize, safe to call. Integer arithmetic: every instruction set gives the same bits.

use crate::kernels::Kernels;
use crate::resample::{Pass, Resampling};

impl Kernels {
    /// The horizontal pass of one row of RGB: `out` has three bytes for each window of `axis`; `source` begins at the
    /// first pixel of the first window.
    ///
    /// # Panics
    /// If a window reaches beyond `source`, or `axis` has fewer windows or coefficients than `out` needs.
    pub fn resize_row(&self, axis: &Resampling<'_>, source: &[u8], out: &mut [u8]) {
        // SAFETY: the table holds only kernels whose features its `Isa` proves; every access is checked.
        unsafe { (self.table.resize_row)(axis, source, out) }
    }

    /// One row's part of the vertical pass: `sums[i] += coefficient · row[i]`. The sums start as [`Pass::half`].
    pub fn resize_add(&self, sums: &mut [i32], row: &[u8], coefficient: i32) {
        // SAFETY: as in `resize_row`.
        unsafe { (self.table.resize_add)(sums, row, coefficient) }
    }

    /// The end of the vertical pass: sums without their fractional bits, clamped to a byte.
    pub fn resize_round(&self, sums: &[i32], pass: Pass, out: &mut [u8]) {
        // SAFETY: as in `resize_row`.
        unsafe { (self.table.resize_round)(sums, pass, out) }
    }
}
