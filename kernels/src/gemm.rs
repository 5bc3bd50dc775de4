//! The GEMM around the micro-kernels: `out = epilogue(x·Wᵀ + b)`.
//!
//! ```text
//! for each panel of 16 output channels            a thread's share; each weight is read once
//!   for each tile of rows                         the activations stay in L2, the panel in L1
//!     acc  = micro-kernel(tile, panel)            all of k, in registers
//!     y    = acc · scales + bias
//!     out  = y | activation(y) | out + y          while the tile is still in L1
//! ```
//!
//! Float panels are cut along `k` into pieces of [`KC`], so that the piece stays in L1 (and an f16 piece is widened
//! once for all rows); the sums wait in [`GemmScratch`].

use crate::activations::{Rows, TILE_ROWS};
use crate::layout::{NR, padded_k, panels};
use crate::matrix::MatMut;
use crate::table::{AccI8, Activation, Dequant, Kernels, MAX_TILE_ROWS, TileFloat, TileOut};
use crate::weights::{Weights, WeightsI8};
use bytemuck::{Pod, Zeroable};
use core::ops::Range;

/// Steps along `k` of a float panel that are used at once: 256 × 16 f32 are 16 KB, half of the smallest L1.
pub const KC: usize = 256;
/// Room for the unfinished sums of a float panel, in f32.
const SUMS: usize = 4096;

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

/// Working memory of one thread.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct GemmScratch {
    widened: [f32; KC * NR],
    sums: [f32; SUMS],
}

impl core::fmt::Debug for GemmScratch {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("GemmScratch").finish_non_exhaustive()
    }
}

impl Kernels {
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
        let Gemm { rows, weights, bias, .. } = gemm;
        let (n, k) = (weights.n(), weights.k());
        assert_eq!(rows.k, k, "activations and weights disagree about k");
        assert_eq!(rows.format, self.row_format(weights), "activations in another format");
        assert!(panels.end <= crate::layout::panels(n), "panel {} of {n} channels", panels.end);
        assert!(bias.is_empty() || bias.len() == n.next_multiple_of(NR), "bias of {}", bias.len());
        assert_eq!(out.rows(), rows.rows, "output rows");
        assert_eq!(out.cols(), channels(n, panels.clone()).len(), "output columns");
        for panel in panels.clone() {
            let cols = channels(n, panel..panel + 1);
            let cols = cols.start - panels.start * NR..cols.end - panels.start * NR;
            let bias: &[f32; NR] =
                if bias.is_empty() { &[0.0; NR] } else { bias[panel * NR..].first_chunk().expect("padded") };
            let span = panel * NR * padded_k(k)..(panel + 1) * NR * padded_k(k);
            let mut target = Target { kernels: self, epilogue: gemm.epilogue, out, cols };
            match weights {
                Weights::I8(w) => self.panel_i8(rows, w, panel, &w.codes[span], bias, &mut target),
                Weights::F32(w) => {
                    let values: &[f32] = bytemuck::cast_slice(rows.bytes);
                    self.panel_float(
                        &self.tile_f32,
                        rows,
                        values,
                        &w.values[span],
                        bias,
                        &mut target,
                        &mut scratch.sums,
                    );
                }
                Weights::F16(w) => match &self.tile_f16 {
                    Some(tile) => {
                        let values = bytemuck::cast_slice(rows.bytes);
                        self.panel_float(
                            tile,
                            rows,
                            values,
                            &w.values[span],
                            bias,
                            &mut target,
                            &mut scratch.sums,
                        );
                    }
                    None => self.panel_widened(rows, &w.values[span], bias, &mut target, scratch),
                },
            }
        }
    }

    fn panel_i8(
        &self,
        rows: &Rows<'_>,
        weights: &WeightsI8<'_>,
        panel: usize,
        codes: &[i8],
        bias: &[f32; NR],
        target: &mut Target<'_, '_, '_>,
    ) {
        let tile = self.tile_i8(weights);
        let k = padded_k(rows.k);
        let mut acc: AccI8 = [0; TILE_ROWS * NR];
        let mut y: TileOut = [0.0; TILE_ROWS * NR];
        for first in (0..rows.rows).step_by(TILE_ROWS) {
            let (a, row_scales) = rows.tile_i8(tile.format, first);
            debug_assert!(a.len() == TILE_ROWS * k * tile.format.bytes() && codes.len() == NR * k);
            let by = Dequant {
                offset: tile.format.offset(),
                sums: weights.panel_sums(panel),
                row_scales: &row_scales,
                col_scales: weights.panel_scales(panel),
                bias,
            };
            // SAFETY: the table holds only kernels whose features `isa` proves; tile and panel hold `k` steps, as
            // `Rows::tile_i8` and `gemm` cut them.
            unsafe {
                (tile.run)(k, a.as_ptr(), codes.as_ptr(), &mut acc);
                (self.dequant)(&acc, &by, &mut y);
            }
            target.finish(first, rows.rows.min(first + TILE_ROWS), &mut y);
        }
    }

    /// A panel of floats that the micro-kernel reads as it is.
    #[expect(clippy::too_many_arguments, reason = "a private step of `gemm`")]
    fn panel_float<T>(
        &self,
        tile: &TileFloat<T>,
        rows: &Rows<'_>,
        values: &[T],
        panel: &[T],
        bias: &[f32; NR],
        target: &mut Target<'_, '_, '_>,
        sums: &mut [f32; SUMS],
    ) {
        let width = padded_k(rows.k);
        for block in row_blocks(rows.rows, tile.tile_rows) {
            start_sums(sums, bias);
            for (i, piece) in panel.chunks(KC * NR).enumerate() {
                tile_rows(tile, block.clone(), &values[i * KC..], width, piece, sums);
            }
            target.finish_block(block, tile.tile_rows, sums);
        }
    }

    /// A panel of f16 for a CPU without f16 arithmetic: each piece is widened once, then multiplied as f32.
    fn panel_widened(
        &self,
        rows: &Rows<'_>,
        panel: &[half::f16],
        bias: &[f32; NR],
        target: &mut Target<'_, '_, '_>,
        scratch: &mut GemmScratch,
    ) {
        let GemmScratch { widened, sums } = scratch;
        let (tile, width) = (&self.tile_f32, padded_k(rows.k));
        let values: &[f32] = bytemuck::cast_slice(rows.bytes);
        for block in row_blocks(rows.rows, tile.tile_rows) {
            start_sums(sums, bias);
            for (i, piece) in panel.chunks(KC * NR).enumerate() {
                let widened = &mut widened[..piece.len()];
                self.widen_f16(piece, widened);
                tile_rows(tile, block.clone(), &values[i * KC..], width, widened, sums);
            }
            target.finish_block(block, tile.tile_rows, sums);
        }
    }
}

/// Blocks of rows whose sums fit the scratch: all 197 rows of ViT-B/16 at once.
fn row_blocks(rows: usize, tile_rows: usize) -> impl Iterator<Item = Range<usize>> {
    let step = SUMS / (tile_rows * NR) * tile_rows;
    (0..rows).step_by(step).map(move |first| first..rows.min(first + step))
}

/// Every sum starts as its bias.
fn start_sums(sums: &mut [f32; SUMS], bias: &[f32; NR]) {
    sums.as_chunks_mut::<NR>().0.fill(*bias);
}

/// Adds one piece of a panel, `piece.len() / NR` steps of `k`, to the sums of the rows of `block`. `values` starts at
/// the piece's first `k` of row 0; rows are `width` apart.
fn tile_rows<T>(
    tile: &TileFloat<T>,
    block: Range<usize>,
    values: &[T],
    width: usize,
    piece: &[T],
    sums: &mut [f32; SUMS],
) {
    let k = piece.len() / NR;
    for (first, sums) in block.clone().step_by(tile.tile_rows).zip(sums.chunks_exact_mut(tile.tile_rows * NR))
    {
        let rows = tile.tile_rows.min(block.end - first);
        let a = &values[first * width..][..(rows - 1) * width + k];
        // SAFETY: the table holds only kernels whose features `isa` proves; `a` holds `rows` rows of `k`, the piece
        // `k` rows of `NR`, the sums `tile_rows` rows of `NR`.
        unsafe { (tile.run)(k, a.as_ptr(), width, rows, piece.as_ptr(), sums.as_mut_ptr(), NR) }
    }
}

/// Where a panel's finished sums go.
struct Target<'k, 'o, 'm> {
    kernels: &'k Kernels,
    epilogue: Epilogue,
    out: &'o mut MatMut<'m>,
    cols: Range<usize>,
}

impl Target<'_, '_, '_> {
    /// Puts rows `first..end`, which lie row-major in `y`, through the epilogue.
    fn finish(&mut self, first: usize, end: usize, y: &mut [f32]) {
        if let Epilogue::Activate(act) = self.epilogue {
            self.kernels.activate(act, &mut y[..(end - first) * NR]);
        }
        for (row, y) in (first..end).zip(y.as_chunks::<NR>().0) {
            let out = self.out.row_mut(row, self.cols.clone());
            match (self.epilogue, out.as_chunks_mut::<NR>().0) {
                // Whole panels, all but the last: a fixed length that compiles to a few vector instructions.
                (Epilogue::Add, [out]) => out.iter_mut().zip(y).for_each(|(out, y)| *out += y),
                (Epilogue::Add, _) => out.iter_mut().zip(y).for_each(|(out, y)| *out += y),
                (_, [out]) => *out = *y,
                (_, _) => out.copy_from_slice(&y[..out.len()]),
            }
        }
    }

    fn finish_block(&mut self, block: Range<usize>, tile_rows: usize, sums: &mut [f32; SUMS]) {
        debug_assert!(tile_rows <= MAX_TILE_ROWS);
        for (first, y) in block.clone().step_by(tile_rows).zip(sums.chunks_exact_mut(tile_rows * NR)) {
            self.finish(first, block.end.min(first + tile_rows), y);
        }
    }
}

/// Multiply-accumulates of a GEMM of `rows` rows, without padding.
pub const fn macs(rows: usize, n: usize, k: usize) -> u64 {
    rows as u64 * n as u64 * k as u64
}

/// How `panels(n)` panels divide among `parts` threads: the share of thread `part`.
pub const fn share(n: usize, part: usize, parts: usize) -> Range<usize> {
    let count = panels(n);
    count * part / parts..count * (part + 1) / parts
}

/// The output channels of `panels` in a matrix of `n`: those that exist.
pub const fn channels(n: usize, panels: Range<usize>) -> Range<usize> {
    let first = if panels.start * NR < n { panels.start * NR } else { n };
    let end = if panels.end * NR < n { panels.end * NR } else { n };
    first..end
}
