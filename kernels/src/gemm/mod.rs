//! The GEMM around the micro-kernels: `out = epilogue(x·Wᵀ + b)`.
//!
//! ```text
//! for each RHS panel of NR channels, or some     a thread's share; each weight is read from memory once
//!   for each block of MC rows                    the sums of a block that wait fit the scratch
//!     for each span of KC along k                the panel's span stays in L1
//!       for each MR rows of the block            the activations stay in L2
//!         sums += micro-kernel(MR rows, panel)   in registers
//!         y     = sums · scales + bias           after the last span, while the tile is still in L1
//!         out   = y | activation(y) | out + y
//! ```
//!
//! int8 is finished tile by tile as drawn, and goes through each span with some panels after each other; floats when the
//! block's last span is done, for all its rows.

mod blocking;
mod float;
mod int8;
mod order;
mod output;

use crate::kernels::Kernels;
use crate::matrix::MatMut;
use crate::pack::{self, Lhs, NR, Weights};
use blocking::MAX_PANELS;
use core::ops::Range;
use output::Output;

pub use blocking::GemmScratch;
pub use output::Epilogue;

/// One linear layer applied to some rows.
#[derive(Clone, Copy, Debug)]
pub struct Gemm<'a> {
    /// The left operand, in the format that [`Kernels::lhs_format`] names for `weights`.
    pub lhs: Lhs<'a>,
    /// The packed weights, the right operand.
    pub weights: Weights<'a>,
    /// One per output channel, padded to a multiple of 16; or empty for none.
    pub bias: &'a [f32],
    /// What happens to the sums.
    pub epilogue: Epilogue,
    /// Which rows of the output are sums of two rows of `lhs`.
    pub remainders: Remainders,
}

/// Rows of an int8 left operand that are held in two: their codes, and among the last rows of the operand what rounding
/// took off them ([`Kernels::rounding_remainder`]). Both are multiplied, and their products added, before the epilogue.
///
/// A token from which an embedding is read is worth that: its few large channels leave the others few steps, and what it
/// gets wrong nothing averages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remainders {
    /// The output's rows are so many equal groups (images) with one such row each; 0 for none. As many rows of the left
    /// operand, one for each group, follow those of the output.
    pub count: usize,
    /// Which row of each group it is.
    pub row: usize,
}

impl Remainders {
    /// Whether an output of `rows` rows has as many equal groups with such a row.
    const fn fit(self, rows: usize) -> bool {
        self.count == 0 || (rows.is_multiple_of(self.count) && self.row < rows / self.count)
    }
}

impl Kernels {
    /// The columns of a block of a wide output; see [`matrix`](crate::matrix). As many as are computed at once.
    pub fn block_cols(&self) -> usize {
        self.table.gemm_i8.panels() * NR
    }

    /// Computes output channels `16·panels.start .. 16·panels.end` (as many as exist) into the columns of `out`.
    ///
    /// # Panics
    /// If the shapes, the format of the left operand, its remainders (floats have none) or the columns and blocks of `out`
    /// do not fit together.
    pub fn gemm(
        &self,
        gemm: &Gemm<'_>,
        panels: Range<usize>,
        out: &mut MatMut<'_>,
        scratch: &mut GemmScratch,
    ) {
        let Gemm { lhs, weights, bias, epilogue, remainders } = gemm;
        let (n, k) = (weights.n(), weights.k());
        assert_eq!(lhs.k, k, "activations and weights disagree about k");
        assert_eq!(lhs.format, self.lhs_format(weights), "activations in another format");
        assert!(
            panels.start <= panels.end && panels.end <= pack::panels(n),
            "panels {panels:?} of {n} channels"
        );
        assert!(bias.is_empty() || bias.len() == n.next_multiple_of(NR), "bias of {}", bias.len());
        assert_eq!(out.rows().checked_add(remainders.count), Some(lhs.rows), "output rows");
        assert!(remainders.fit(out.rows()), "{remainders:?} in {} rows", out.rows());
        assert!(remainders.count == 0 || matches!(weights, Weights::I8(_)), "floats have no remainders");
        assert_eq!(out.cols(), channels(n, panels.clone()).len(), "output columns");
        let blocks = out.block() == self.block_cols() && out.is_whole_blocks();
        let mut output = Output {
            kernels: self,
            epilogue: *epilogue,
            bias,
            blocks,
            out,
            first_panel: panels.start,
            remainders: *remainders,
        };
        match weights {
            Weights::I8(w) => self.gemm_i8(lhs, w, panels, &mut output, scratch),
            Weights::F32(w) => {
                self.gemm_float(&self.table.gemm_f32, lhs, w.values, panels, &mut output, scratch);
            }
            Weights::F16(w) => match &self.table.gemm_f16 {
                Some(kernel) => self.gemm_float(kernel, lhs, w.values, panels, &mut output, scratch),
                None => self.gemm_widened(lhs, w.values, panels, &mut output, scratch),
            },
        }
    }
}

/// Multiply-accumulates of a GEMM of `rows` rows, without padding; `u64::MAX` if there are more.
pub const fn macs(rows: usize, n: usize, k: usize) -> u64 {
    (rows as u64).saturating_mul(n as u64).saturating_mul(k as u64)
}

/// The groups of up to `MAX_PANELS` RHS panels in which `n` channels are multiplied: what threads divide among them.
pub const fn groups(n: usize) -> usize {
    pack::panels(n).div_ceil(MAX_PANELS)
}

/// The panels of `groups` of those of `n` channels.
///
/// # Panics
/// If there are not so many groups.
pub const fn group_panels(n: usize, groups: Range<usize>) -> Range<usize> {
    assert!(groups.start <= groups.end && groups.end <= self::groups(n), "groups that do not exist");
    let (all, end) = (pack::panels(n), groups.end * MAX_PANELS);
    groups.start * MAX_PANELS..if end < all { end } else { all }
}

/// The output channels of `panels` in a matrix of `n`: those that exist.
pub const fn channels(n: usize, panels: Range<usize>) -> Range<usize> {
    // Compared as panels: the products of those that exist do not overflow.
    let first = if panels.start <= n / NR { panels.start * NR } else { n };
    let end = if panels.end <= n / NR { panels.end * NR } else { n };
    first..end
}
