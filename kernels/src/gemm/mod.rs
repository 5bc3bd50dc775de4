//! The GEMM around the micro-kernels: `out = epilogue(x·Wᵀ + b)`.
//!
//! ```text
//! for each panel of 16 output channels, or two     a thread's share; each weight is read from memory once
//!   for each block of k                            the block of the panel stays in L1
//!     for each tile of rows                        the activations stay in L2
//!       sums = micro-kernel(tile, panel)           in registers
//!       y    = sums · scales + bias                after the last block, while the tile is still in L1
//!       out  = y | activation(y) | out + y
//! ```
//!
//! Sums of unfinished blocks, and what a micro-kernel wants of a panel in another form, wait in [`GemmScratch`].

mod float;
mod int8;
mod target;

use crate::activations::Rows;
use crate::layout::{NR, panels};
use crate::matrix::MatMut;
use crate::prefetch::Ahead;
use crate::table::{Activation, Kernels, PREPARED};
use crate::weights::Weights;
use bytemuck::{Pod, Zeroable};
use core::ops::Range;
use target::Target;

/// Most panels that a micro-kernel multiplies at once.
const MAX_PANELS: usize = 2;
/// Steps along `k` that f32 is multiplied by at once: a panel of so many takes 16 KB.
pub(crate) const KC_FLOAT: usize = 256;
/// The same for int8. A panel of so many takes 12 KB, and from 15 to 24 KB where it is prepared: of the smallest L1,
/// 32 KB, that leaves enough for a tile of rows.
pub(crate) const KC_I8: usize = 768;
/// Room for unfinished sums: 256 rows of two panels.
const SUMS: usize = 256 * MAX_PANELS * NR;

/// Room for panels in another form.
const PANELS: usize = PREPARED / size_of::<f32>();
const _: () = assert!(MAX_PANELS * KC_FLOAT * NR <= PANELS);

/// What happens to a finished sum on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epilogue {
    /// `out = y`
    Store,
    /// `out = act(y)`
    Activate(Activation),
    /// `out += y`: the residual stream.
    Add,
}

/// One linear layer applied to some rows.
#[derive(Clone, Copy, Debug)]
pub struct Gemm<'a> {
    /// The left operand, in the format that [`Kernels::row_format`] names for `weights`.
    pub rows: Rows<'a>,
    /// The packed weights.
    pub weights: Weights<'a>,
    /// One per output channel, padded to a multiple of 16; or empty for none.
    pub bias: &'a [f32],
    /// What happens to the sums.
    pub epilogue: Epilogue,
}

/// Working memory of one thread: 80 KB.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct GemmScratch {
    /// A block of panels in the form that the micro-kernel wants: widened f16, or what `Prepare` makes.
    panels: [f32; PANELS],
    /// f32, or i32 where the weights are int8.
    sums: [f32; SUMS],
}

impl core::fmt::Debug for GemmScratch {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("GemmScratch").finish_non_exhaustive()
    }
}

impl Kernels {
    /// The columns of a block of a wide output; see [`matrix`](crate::matrix). As many as are computed at once.
    pub fn block_cols(&self) -> usize {
        if self.tile_i8.quad.is_some() { MAX_PANELS * NR } else { NR }
    }

    /// Computes output channels `16·panels.start .. 16·panels.end` (as many as exist) into the columns of `out`.
    ///
    /// # Panics
    /// If the shapes, the row format or the window of `out` do not fit together.
    pub fn gemm(
        &self,
        gemm: &Gemm<'_>,
        panels: Range<usize>,
        out: &mut MatMut<'_>,
        scratch: &mut GemmScratch,
    ) {
        let Gemm { rows, weights, bias, epilogue } = gemm;
        let (n, k) = (weights.n(), weights.k());
        assert_eq!(rows.k, k, "activations and weights disagree about k");
        assert_eq!(rows.format, self.row_format(weights), "activations in another format");
        assert!(
            panels.start <= panels.end && panels.end <= crate::layout::panels(n),
            "panels {panels:?} of {n} channels"
        );
        assert!(bias.is_empty() || bias.len() == n.next_multiple_of(NR), "bias of {}", bias.len());
        assert_eq!(out.rows(), rows.rows, "output rows");
        assert_eq!(out.cols(), channels(n, panels.clone()).len(), "output columns");
        let blocks = out.block() == self.block_cols() && out.is_whole_blocks();
        let mut target =
            Target { kernels: self, epilogue: *epilogue, bias, blocks, out, first_panel: panels.start };
        match weights {
            Weights::I8(w) => self.gemm_i8(rows, w, panels, &mut target, scratch),
            Weights::F32(w) => {
                self.gemm_float(&self.tile_f32, rows, w.values, panels, &mut target, &mut scratch.sums);
            }
            Weights::F16(w) => match &self.tile_f16 {
                Some(tile) => self.gemm_float(tile, rows, w.values, panels, &mut target, &mut scratch.sums),
                None => self.gemm_widened(rows, w.values, panels, &mut target, scratch),
            },
        }
    }
}

/// `panels` in groups of `step`; the last may be smaller.
fn groups(panels: Range<usize>, step: usize) -> impl Iterator<Item = Range<usize>> {
    panels.clone().step_by(step).map(move |first| first..panels.end.min(first + step))
}

/// `rows` in blocks whose sums fit the scratch, as many rows as ViT-B/16 has at once; whole steps of `tile_rows`.
fn row_blocks(rows: usize, tile_rows: usize) -> impl Iterator<Item = Range<usize>> {
    let step = SUMS / (MAX_PANELS * NR) / tile_rows * tile_rows;
    (0..rows).step_by(step).map(move |first| first..rows.min(first + step))
}

/// What `weights` are read after steps `span` of `panels`: the next steps, or the first of the next panels. In `steps`
/// steps.
fn ahead<'w, T: Pod>(
    weights: &'w [T],
    panels: &Range<usize>,
    k: usize,
    span: &Range<usize>,
    steps: usize,
) -> [Ahead<'w>; MAX_PANELS] {
    let (first, start) = if span.end < k { (panels.start, span.end) } else { (panels.end, 0) };
    let end = k.min(start + span.len());
    core::array::from_fn(|i| {
        let panel = (first + i) * k;
        let there = i < panels.len();
        let next = weights.get((panel + start) * NR..(panel + end) * NR).filter(|_| there);
        Ahead::new(next.unwrap_or_default(), steps)
    })
}

/// Multiply-accumulates of a GEMM of `rows` rows, without padding; `u64::MAX` if there are more.
pub const fn macs(rows: usize, n: usize, k: usize) -> u64 {
    (rows as u64).saturating_mul(n as u64).saturating_mul(k as u64)
}

/// How `panels(n)` panels divide among `parts` threads: the share of thread `part`. Whole groups of `MAX_PANELS`.
///
/// # Panics
/// If `part` is not below `parts`.
pub const fn share(n: usize, part: usize, parts: usize) -> Range<usize> {
    assert!(part < parts, "thread `part` of `parts`");
    let (all, groups) = (panels(n), panels(n).div_ceil(MAX_PANELS));
    let most = groups.checked_mul(part + 1).expect("so many shares fit usize");
    let end = most / parts * MAX_PANELS;
    (most - groups) / parts * MAX_PANELS..if end < all { end } else { all }
}

/// The output channels of `panels` in a matrix of `n`: those that exist.
pub const fn channels(n: usize, panels: Range<usize>) -> Range<usize> {
    // Compared as panels: the products of those that exist do not overflow.
    let first = if panels.start <= n / NR { panels.start * NR } else { n };
    let end = if panels.end <= n / NR { panels.end * NR } else { n };
    first..end
}
