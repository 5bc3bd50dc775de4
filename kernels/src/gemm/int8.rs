//! RHS panels of int8: exact sums in i32, then scales.

use super::blocking::{
    BLOCK_SUMS, BLOCKS, GemmScratch, MAX_PANELS, MC, ahead, next, panel_groups, row_blocks,
};
use super::output::Output;
use crate::kernels::Kernels;
use crate::pack::{K_ALIGN, Lhs, MR, NR, RowScale, WeightsI8, padded_k};
use crate::prefetch::Ahead;
use crate::table::{AccI8, DequantizeBy, KC_I8, MicroKernelI8, ORDER_BYTES};
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
        let at_once = if self.table.gemm_i8.run_2x2.is_some() { MAX_PANELS } else { 1 };
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
                        self.block_i8(lhs, weights, block, output, sums, repacked);
                    }
                }
            }
        }
    }

    /// Adds the products of a block to its sums, and finishes them after the last span.
    fn block_i8(
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
        let b: [&[i8]; MAX_PANELS] = core::array::from_fn(|i| {
            let panel = (panels.start + i).min(panels.end - 1);
            &weights.codes[(panel * k + span.start) * NR..(panel * k + span.end) * NR]
        });
        let mut ahead = ahead(weights.codes, k, next, block.len().div_ceil(LHS_PANELS * MR));
        let b = match kernel.repack {
            None => b,
            Some(repack) => {
                let repacked: &mut [i8] = bytemuck::cast_slice_mut(repacked);
                debug_assert!(kernel.run_2x2.is_none(), "the scratch has room for one repacked panel");
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
        for (i, first) in block.clone().step_by(LHS_PANELS * MR).enumerate().rev() {
            let sums = &mut sums[i * waits];
            let count = LHS_PANELS.min((block.end - first).div_ceil(MR));
            let a: [&[u8]; LHS_PANELS] = core::array::from_fn(|i| {
                let first = first + MR * i.min(count - 1);
                lhs.panel_codes(kernel.lhs, first, span.clone())
            });
            if span.end == k {
                output.prefetch(first..block.end.min(first + LHS_PANELS * MR), panels.clone());
            }
            // The micro-kernel overwrites what it is given. The first span's sums can be written straight into the scratch;
            // those of later spans are added to them.
            if span.start == 0 {
                // SAFETY: `kernel` is of this table; `spans` made the span; the panels on both sides were cut to it above.
                unsafe { multiply(kernel, span.len(), &a[..count], &b[..panels.len()], sums) };
            } else {
                let mut more = [[0; MR * NR]; LHS_PANELS * MAX_PANELS];
                // SAFETY: as above.
                unsafe { multiply(kernel, span.len(), &a[..count], &b[..panels.len()], &mut more) };
                sums.as_flattened_mut()
                    .iter_mut()
                    .zip(more.as_flattened())
                    .for_each(|(sum, more)| *sum += more);
            }
            // Asked for here and not next to the output's lines above, so that fewer cache lines are under way at once.
            ahead.iter_mut().for_each(Ahead::part);
            if span.end < k {
                continue;
            }
            for i in (0..count).rev() {
                for (j, panel) in panels.clone().enumerate() {
                    let first = first + i * MR;
                    let by = DequantizeBy {
                        lhs: &lhs
                            .panel_scales(first)
                            .map(|row| RowScale { zero_point: row.zero_point + kernel.offset, ..row }),
                        rhs_sums: weights.panel_sums(panel),
                        rhs_scales: weights.panel_scales(panel),
                        bias: output.bias(panel),
                    };
                    output.finish_i8(first..block.end.min(first + MR), panel, &sums[i * MAX_PANELS + j], &by);
                }
            }
            output.activate_block(first..block.end.min(first + LHS_PANELS * MR), panels.clone());
        }
    }
}

/// `acc[i · MAX_PANELS + j]` = LHS panel i · RHS panel j over `k` steps.
///
/// # Safety
/// `kernel` is of the table. `k` is a multiple of `K_ALIGN`, more than 0 and at most `KC_I8`. Each of `a` holds `k` steps
/// of an LHS panel in its form; each of `b` holds `k` steps of an RHS panel, or what `kernel.repack` made of one.
unsafe fn multiply(
    kernel: &MicroKernelI8,
    k: usize,
    a: &[&[u8]],
    b: &[&[i8]],
    acc: &mut [AccI8; LHS_PANELS * MAX_PANELS],
) {
    if let (Some(run_2x2), [a0, a1], [b0, b1]) = (kernel.run_2x2, a, b) {
        // SAFETY: the table holds only kernels whose features its `Isa` proves; the rest is as the caller promises.
        unsafe { run_2x2(k, [a0.as_ptr(), a1.as_ptr()], [b0.as_ptr(), b1.as_ptr()], acc) };
        return;
    }
    for (i, a) in a.iter().enumerate() {
        for (j, b) in b.iter().enumerate() {
            // SAFETY: as above.
            unsafe { (kernel.run)(k, a.as_ptr(), b.as_ptr(), &mut acc[i * MAX_PANELS + j]) };
        }
    }
}

/// `k` in spans of about the same size, at most `KC_I8`.
pub(super) fn spans(k: usize) -> impl Iterator<Item = Range<usize>> {
    let step = k.div_ceil(k.div_ceil(KC_I8)).next_multiple_of(K_ALIGN);
    (0..k).step_by(step).map(move |first| first..k.min(first + step))
}
