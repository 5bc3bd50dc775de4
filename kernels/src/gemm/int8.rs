//! int8 panels: exact sums in i32, then scales.

use super::{GemmScratch, KC_I8, MAX_PANELS, Target, ahead, groups, row_blocks};
use crate::activations::{Rows, TILE_ROWS};
use crate::layout::{K_ALIGN, NR, padded_k};
use crate::prefetch::Ahead;
use crate::table::{AccI8, Dequant, Kernels, TileI8};
use crate::weights::WeightsI8;
use core::ops::Range;

/// Row tiles that are multiplied at once, where the micro-kernel can.
const TILES: usize = 2;

impl Kernels {
    pub(super) fn gemm_i8(
        &self,
        rows: &Rows<'_>,
        weights: &WeightsI8<'_>,
        panels: Range<usize>,
        target: &mut Target<'_, '_, '_>,
        scratch: &mut GemmScratch,
    ) {
        let tile = &self.tile_i8;
        let at_once = if tile.quad.is_some() { MAX_PANELS } else { 1 };
        for panels in groups(panels, at_once) {
            for block in row_blocks(rows.rows, TILES * TILE_ROWS) {
                for span in k_blocks(padded_k(rows.k)) {
                    self.block_i8(tile, rows, weights, panels.clone(), block.clone(), span, target, scratch);
                }
            }
        }
    }

    /// Adds the products of `span` to the sums of the rows of `block`, and finishes them after the last span.
    #[expect(clippy::too_many_arguments, reason = "the indices of a loop nest")]
    fn block_i8(
        &self,
        tile: &TileI8,
        rows: &Rows<'_>,
        weights: &WeightsI8<'_>,
        panels: Range<usize>,
        block: Range<usize>,
        span: Range<usize>,
        target: &mut Target<'_, '_, '_>,
        scratch: &mut GemmScratch,
    ) {
        let k = padded_k(rows.k);
        let b: [&[i8]; MAX_PANELS] = core::array::from_fn(|i| {
            let panel = (panels.start + i).min(panels.end - 1);
            &weights.codes[(panel * k + span.start) * NR..(panel * k + span.end) * NR]
        });
        let mut ahead = ahead(weights.codes, &panels, k, &span, block.len().div_ceil(TILES * TILE_ROWS));
        let b = match tile.prepare {
            None => b,
            Some(prepare) => {
                let prepared: &mut [i8] = bytemuck::cast_slice_mut(&mut scratch.panels);
                debug_assert!(tile.quad.is_none(), "one panel has room");
                // SAFETY: the table holds only kernels whose features `isa` proves; the panel holds the span's steps,
                // and the scratch PREPARED bytes.
                unsafe { prepare(span.len(), b[0].as_ptr(), prepared.as_mut_ptr()) };
                [&*prepared; MAX_PANELS]
            }
        };
        let sums: &mut [i32] = bytemuck::cast_slice_mut(&mut scratch.sums);
        let sums: &mut [AccI8] = sums.as_chunks_mut::<{ TILE_ROWS * NR }>().0;
        for (first, sums) in
            block.clone().step_by(TILES * TILE_ROWS).zip(sums.as_chunks_mut::<{ TILES * MAX_PANELS }>().0)
        {
            let tiles = TILES.min((block.end - first).div_ceil(TILE_ROWS));
            let a: [&[u8]; TILES] = core::array::from_fn(|i| {
                let first = first + TILE_ROWS * i.min(tiles - 1);
                rows.tile_codes(tile.format, first, span.clone())
            });
            if span.end == k {
                target.prefetch(first..block.end.min(first + TILES * TILE_ROWS), panels.clone());
            }
            // The first span's sums need no start, so the micro-kernel writes them where they wait.
            if span.start == 0 {
                // SAFETY: `tile` is of this table; `k_blocks` made the span; tiles and panels were cut to it above.
                unsafe { multiply(tile, span.len(), &a[..tiles], &b[..panels.len()], sums) };
            } else {
                let mut more = [[0; TILE_ROWS * NR]; TILES * MAX_PANELS];
                // SAFETY: as above.
                unsafe { multiply(tile, span.len(), &a[..tiles], &b[..panels.len()], &mut more) };
                sums.as_flattened_mut()
                    .iter_mut()
                    .zip(more.as_flattened())
                    .for_each(|(sum, more)| *sum += more);
            }
            // Not next to the output's lines above: they would wait for each other.
            ahead.iter_mut().for_each(Ahead::step);
            if span.end < k {
                continue;
            }
            for i in 0..tiles {
                for (j, panel) in panels.clone().enumerate() {
                    let first = first + i * TILE_ROWS;
                    let by = Dequant {
                        excess: tile.excess,
                        sums: weights.panel_sums(panel),
                        row_scales: &rows.tile_scales(first),
                        col_scales: weights.panel_scales(panel),
                        bias: target.bias(panel),
                    };
                    target.finish_i8(
                        first..block.end.min(first + TILE_ROWS),
                        panel,
                        &sums[i * MAX_PANELS + j],
                        &by,
                    );
                }
            }
            target.activate_block(first..block.end.min(first + TILES * TILE_ROWS), panels.clone());
        }
    }
}

/// `acc[i · MAX_PANELS + j]` = tile i · panel j over `k` steps.
///
/// # Safety
/// `tile` is of the table. `k` is a multiple of `K_ALIGN`, more than 0 and at most `KC_I8`. Each of `a` holds `k` steps of a
/// tile in its format; each of `b` holds `k` steps of a panel, or what `tile.prepare` made of one.
unsafe fn multiply(tile: &TileI8, k: usize, a: &[&[u8]], b: &[&[i8]], acc: &mut [AccI8; TILES * MAX_PANELS]) {
    if let (Some(quad), [a0, a1], [b0, b1]) = (tile.quad, a, b) {
        // SAFETY: the table holds only kernels whose features `isa` proves; the rest is as the caller promises.
        unsafe { quad(k, [a0.as_ptr(), a1.as_ptr()], [b0.as_ptr(), b1.as_ptr()], acc) };
        return;
    }
    for (i, a) in a.iter().enumerate() {
        for (j, b) in b.iter().enumerate() {
            // SAFETY: as above.
            unsafe { (tile.run)(k, a.as_ptr(), b.as_ptr(), &mut acc[i * MAX_PANELS + j]) };
        }
    }
}

/// `k` in blocks of about the same size, at most `KC_I8`.
fn k_blocks(k: usize) -> impl Iterator<Item = Range<usize>> {
    let step = k.div_ceil(k.div_ceil(KC_I8)).next_multiple_of(K_ALIGN);
    (0..k).step_by(step).map(move |first| first..k.min(first + step))
}
