//! RHS panels of int8: exact sums in i32, then scales.

use super::blocking::{
    BLOCK_SUMS, BLOCKS, GemmScratch, MAX_PANELS, MC, ahead, next, panel_groups, row_blocks,
};
use super::output::Output;
use crate::kernels::Kernels;
use crate::pack::{Lhs, MR, NR, RowScale, WeightsI8, padded_k};
use crate::prefetch::Ahead;
use crate::table::{AccI8, DequantizeBy, KC_I8, MicroKernelI8, ORDER_BYTES, RunI8, RunI8Rows};
use core::ops::Range;

/// LHS panels that are multiplied at once, where the micro-kernel can.
const LHS_PANELS: usize = 2;

/// What is multiplied at once: some rows by some panels, over a span of `k`.
struct Block {
    rows: Range<usize>,
    panels: Range<usize>,
    span: Range<usize>,
    /// Panels and span of the block after it.
    next: (Range<usize>, Range<usize>),
}

impl Kernels {
    pub(super) fn gemm_i8(
        &self,
        lhs: &Lhs<'_>,
        weights: &WeightsI8<'_>,
        panels: Range<usize>,
        output: &mut Output<'_, '_, '_>,
        scratch: &mut GemmScratch,
    ) {
        let at_once = self.table.gemm_i8.panels();
        let (k, GemmScratch { panels: repacked, sums }) = (padded_k(lhs.k), scratch);
        let sums: &mut [i32] = bytemuck::cast_slice_mut(sums);
        // Where an order is followed, repacking a panel costs a tenth of its products with 197 rows: all rows of a batch share
        // it, if no sums have to wait for another span.
        let most = if self.table.gemm_i8.order.is_some() && k <= KC_I8 { lhs.rows.max(MC) } else { MC };
        // From the last rows to the first: a row's remainder is in the output before the row itself.
        for rows in row_blocks(lhs.rows, most, LHS_PANELS * MR).rev() {
            for all in panel_groups(panels.clone(), BLOCKS * at_once) {
                for span in spans(k) {
                    let sums = sums.as_chunks_mut::<BLOCK_SUMS>().0;
                    for (panels, sums) in panel_groups(all.clone(), at_once).zip(sums) {
                        let next = match panels.end < all.end {
                            true => (panels.end..all.end.min(panels.end + at_once), span.clone()),
                            false => {
                                let (first, span) = next(&all, k, &span);
                                (first.start..first.start + at_once, span)
                            }
                        };
                        let block = Block { rows: rows.clone(), panels, span: span.clone(), next };
                        match self.table.gemm_i8.run {
                            RunI8::Rows(run) => self.block_rows(run, lhs, weights, block, output, sums),
                            _ => self.block_tiles(lhs, weights, block, output, sums, repacked),
                        }
                    }
                }
            }
        }
    }

    /// Adds the products of a block to its sums, tile by tile, and finishes them after the last span.
    fn block_tiles(
        &self,
        lhs: &Lhs<'_>,
        weights: &WeightsI8<'_>,
        block: Block,
        output: &mut Output<'_, '_, '_>,
        sums: &mut [i32; BLOCK_SUMS],
        repacked: &mut [f32],
    ) {
        let (kernel, k) = (&self.table.gemm_i8, padded_k(lhs.k));
        let Block { rows: block, panels, span, next } = block;
        let b = panel_pair(weights, &panels, &span);
        let mut ahead = ahead(weights.codes, k, next, block.len().div_ceil(LHS_PANELS * MR));
        let b = match kernel.repack {
            None => b,
            Some(repack) => {
                let repacked: &mut [i8] = bytemuck::cast_slice_mut(repacked);
                debug_assert!(kernel.panels() == 1, "the scratch has room for one repacked panel");
                let (mut found, at) = ([0; ORDER_BYTES], self.order_at(weights, panels.start, &span));
                let order = weights.order.get(at.clone()).unwrap_or_else(|| {
                    let found = &mut found[..at.len()];
                    if let Some(order) = kernel.order {
                        // SAFETY: as below; the order is as long as it must be.
                        unsafe { (order.find_soon)(span.len(), b[0].as_ptr(), found) };
                    }
                    found
                });
                // SAFETY: the table holds only kernels whose features its `Isa` proves; the panel holds the span's steps,
                // the order is as long as it must be, and the scratch has REPACKED_BYTES bytes.
                unsafe { repack(span.len(), b[0].as_ptr(), order, repacked.as_mut_ptr()) };
                [&*repacked; MAX_PANELS]
            }
        };
        let sums: &mut [AccI8] = sums.as_chunks_mut::<{ MR * NR }>().0;
        let sums = sums.as_chunks_mut::<{ LHS_PANELS * MAX_PANELS }>().0;
        // Of a single span no sums wait, and all rows use the same ones.
        let waits = usize::from(span.len() < k);
        for (i, rows) in row_groups(&block).enumerate().rev() {
            let (first, sums) = (rows.start, &mut sums[i * waits]);
            let count = rows.len().div_ceil(MR);
            let a: [&[u8]; LHS_PANELS] = core::array::from_fn(|i| {
                let first = first + MR * i.min(count - 1);
                lhs.panel_codes(kernel.lhs, first, span.clone())
            });
            if span.end == k {
                output.prefetch(rows.clone(), panels.clone());
            }
            let add = span.start > 0;
            // SAFETY: `kernel` is of this table; `spans` made the span; the panels on both sides were cut to it above.
            unsafe { multiply(kernel, span.len(), &a[..count], &b[..panels.len()], &mut ahead, add, sums) };
            if span.end == k {
                self.finish_rows(lhs, weights, rows, panels.clone(), output, |i, j| {
                    &sums[i * MAX_PANELS + j]
                });
            }
        }
    }

    /// The same with a micro-kernel that takes all rows at once. The sums are `[panel][row]`.
    fn block_rows(
        &self,
        run: RunI8Rows,
        lhs: &Lhs<'_>,
        weights: &WeightsI8<'_>,
        block: Block,
        output: &mut Output<'_, '_, '_>,
        sums: &mut [i32; BLOCK_SUMS],
    ) {
        let Block { rows, panels, span, next } = block;
        let (a, lda) = lhs.row_codes(rows.clone(), span.clone());
        let b = panel_pair(weights, &panels, &span).map(<[i8]>::as_ptr);
        let k = padded_k(lhs.k);
        let next = [0, 1].map(|i| {
            let first = ((next.0.start + i) * k + next.1.start) * NR;
            weights.codes.as_ptr().wrapping_add(first).cast()
        });
        let (first, second) = sums.split_at_mut(MC * NR);
        let to = [first.as_mut_ptr(), second.as_mut_ptr()];
        // SAFETY: the table holds only kernels whose features its `Isa` proves; `spans` made the span; rows are as long as they
        // must be, the last one too; a block has at most MC rows.
        unsafe { run(span.len(), a.as_ptr(), lda, rows.len(), b, next, span.start > 0, to) };
        if span.end < k {
            return;
        }
        for group in row_groups(&rows).rev() {
            let first = (group.start - rows.start) * NR;
            self.finish_rows(lhs, weights, group, panels.clone(), output, |i, j| {
                sums[j * MC * NR + first + i * MR * NR..].first_chunk().expect("sums of MC rows")
            });
        }
    }

    /// Puts the sums of at most `LHS_PANELS` LHS panels by some RHS panels on their way out; `sums(i, j)` are those of LHS
    /// panel i by RHS panel j. From the last rows to the first, as all rows are.
    fn finish_rows<'s>(
        &self,
        lhs: &Lhs<'_>,
        weights: &WeightsI8<'_>,
        rows: Range<usize>,
        panels: Range<usize>,
        output: &mut Output<'_, '_, '_>,
        sums: impl Fn(usize, usize) -> &'s AccI8,
    ) {
        let offset = self.table.gemm_i8.offset;
        for (i, first) in rows.clone().step_by(MR).enumerate().rev() {
            let scales =
                lhs.panel_scales(first).map(|row| RowScale { zero_point: row.zero_point + offset, ..row });
            for (j, panel) in panels.clone().enumerate() {
                let by = DequantizeBy {
                    lhs: &scales,
                    rhs_sums: weights.panel_sums(panel),
                    rhs_scales: weights.panel_scales(panel),
                    bias: output.bias(panel),
                };
                output.finish_i8(first..rows.end.min(first + MR), panel, sums(i, j), &by);
            }
        }
        output.activate_block(rows, panels);
    }
}

/// `rows` in groups of at most `LHS_PANELS` LHS panels.
fn row_groups(rows: &Range<usize>) -> impl ExactSizeIterator<Item = Range<usize>> + DoubleEndedIterator {
    let end = rows.end;
    rows.clone().step_by(LHS_PANELS * MR).map(move |first| first..end.min(first + LHS_PANELS * MR))
}

/// Steps `span` of two RHS panels; of one, it twice.
fn panel_pair<'w>(
    weights: &WeightsI8<'w>,
    panels: &Range<usize>,
    span: &Range<usize>,
) -> [&'w [i8]; MAX_PANELS] {
    let k = padded_k(weights.k);
    core::array::from_fn(|i| {
        let panel = (panels.start + i).min(panels.end - 1);
        &weights.codes[(panel * k + span.start) * NR..(panel * k + span.end) * NR]
    })
}

/// `acc[i · MAX_PANELS + j]` = LHS panel i · RHS panel j over `k` steps, added to what is there if `add`.
///
/// # Safety
/// `kernel` is of the table and multiplies tiles. `k` is a multiple of `K_ALIGN`, more than 0 and at most `KC_I8`. Each of
/// `a` holds `k` steps of an LHS panel in its form; each of `b` holds `k` steps of an RHS panel, or what `kernel.repack`
/// made of one.
unsafe fn multiply(
    kernel: &MicroKernelI8,
    k: usize,
    a: &[&[u8]],
    b: &[&[i8]],
    ahead: &mut [Ahead<'_>; MAX_PANELS],
    add: bool,
    acc: &mut [AccI8; LHS_PANELS * MAX_PANELS],
) {
    let tile = match (kernel.run, a, b) {
        (RunI8::Tiles2x2(_, run), [a0, a1], [b0, b1]) => {
            let (a, b) = ([a0.as_ptr(), a1.as_ptr()], [b0.as_ptr(), b1.as_ptr()]);
            let next = ahead.each_mut().map(|ahead| ahead.part_but(k));
            // SAFETY: the table holds only kernels whose features its `Isa` proves; the rest is as the caller promises.
            return unsafe { run(k, a, b, next, add, acc) };
        }
        (RunI8::Tiles2x2(tile, _) | RunI8::Tile(tile), ..) => tile,
        (RunI8::Rows(_), ..) => unreachable!("multiplies rows"),
    };
    for (i, a) in a.iter().enumerate() {
        for (j, b) in b.iter().enumerate() {
            let acc = &mut acc[i * MAX_PANELS + j];
            // SAFETY: as above.
            let tile = |acc: &mut AccI8| unsafe { tile(k, a.as_ptr(), b.as_ptr(), acc) };
            if add {
                // The micro-kernel overwrites what it is given.
                let mut more = [0; MR * NR];
                tile(&mut more);
                acc.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
            } else {
                tile(acc);
            }
        }
    }
    // Asked for here and not next to the output's lines, so that fewer cache lines are under way at once.
    ahead.iter_mut().for_each(Ahead::part);
}

/// `k` in spans of about the same size, at most `KC_I8`, all but the last a multiple of 64: what tile registers multiply at
/// once.
pub(super) fn spans(k: usize) -> impl Iterator<Item = Range<usize>> {
    let step = k.div_ceil(k.div_ceil(KC_I8)).next_multiple_of(64);
    (0..k).step_by(step).map(move |first| first..k.min(first + step))
}
