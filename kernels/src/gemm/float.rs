//! Panels of f32 or f16.

use super::{GemmScratch, KC_FLOAT, MAX_PANELS, SUMS, Target, ahead, groups, row_blocks};
use crate::activations::{Rows, float_stride};
use crate::layout::{NR, padded_k};
use crate::prefetch::Ahead;
use crate::table::{Element, Kernels, TileFloat};
use core::ops::Range;
use half::f16;

impl Kernels {
    /// Panels that the micro-kernel reads as they are.
    pub(super) fn gemm_float<T: Element>(
        &self,
        tile: &TileFloat<T>,
        rows: &Rows<'_>,
        weights: &[T],
        panels: Range<usize>,
        target: &mut Target<'_, '_, '_>,
        sums: &mut [f32; SUMS],
    ) {
        let k = padded_k(rows.k);
        for panels in groups(panels, tile.panels()) {
            for block in row_blocks(rows.rows, tile.tile_rows) {
                start_sums(sums, block.len().next_multiple_of(tile.tile_rows), panels.clone(), target);
                for span in k_blocks(k, tile.k_block) {
                    let b: [&[T]; MAX_PANELS] = pieces(weights, &panels, k, &span);
                    let ahead = ahead(weights, &panels, k, &span, block.len().div_ceil(tile.tile_rows));
                    multiply(tile, rows, &block, &span, &b[..panels.len()], sums, ahead);
                }
                target.finish_sums(block, panels.clone(), sums);
            }
        }
    }

    /// Panels of f16 for a CPU without f16 arithmetic: each piece is widened once, then multiplied as f32.
    pub(super) fn gemm_widened(
        &self,
        rows: &Rows<'_>,
        weights: &[f16],
        panels: Range<usize>,
        target: &mut Target<'_, '_, '_>,
        scratch: &mut GemmScratch,
    ) {
        let (tile, k) = (&self.tile_f32, padded_k(rows.k));
        let GemmScratch { panels: widened, sums } = scratch;
        let (first, second) = widened.split_at_mut(KC_FLOAT * NR);
        for panels in groups(panels, tile.panels()) {
            for block in row_blocks(rows.rows, tile.tile_rows) {
                start_sums(sums, block.len().next_multiple_of(tile.tile_rows), panels.clone(), target);
                for span in k_blocks(k, tile.k_block) {
                    let b: [&[f16]; MAX_PANELS] = pieces(weights, &panels, k, &span);
                    let to = [&mut first[..b[0].len()], &mut second[..b[1].len()]];
                    for (from, to) in b.into_iter().zip(to).take(panels.len()) {
                        self.widen_f16(from, to);
                    }
                    let b = [&first[..b[0].len()], &second[..b[1].len()]];
                    let ahead = ahead(weights, &panels, k, &span, block.len().div_ceil(tile.tile_rows));
                    multiply(tile, rows, &block, &span, &b[..panels.len()], sums, ahead);
                }
                target.finish_sums(block, panels.clone(), sums);
            }
        }
    }
}

/// Steps `span` of `panels`; the first again where there is but one.
fn pieces<'w, T>(
    weights: &'w [T],
    panels: &Range<usize>,
    k: usize,
    span: &Range<usize>,
) -> [&'w [T]; MAX_PANELS] {
    core::array::from_fn(|i| {
        let panel = (panels.start + i).min(panels.end - 1);
        &weights[(panel * k + span.start) * NR..(panel * k + span.end) * NR]
    })
}

/// Every sum of `rows` rows starts as its bias.
fn start_sums(sums: &mut [f32; SUMS], rows: usize, panels: Range<usize>, target: &Target<'_, '_, '_>) {
    let bias = |i: usize| target.bias((panels.start + i).min(panels.end - 1));
    let sums = &mut sums.as_chunks_mut::<NR>().0[..rows * panels.len()];
    if panels.len() == 1 {
        sums.fill(*bias(0));
    } else {
        for [first, second] in sums.as_chunks_mut::<MAX_PANELS>().0 {
            (*first, *second) = (*bias(0), *bias(1));
        }
    }
}

/// Adds the products of `span` to the sums of the rows of `block`, which are [rows][panels][NR]; a step of `ahead` with
/// every tile.
fn multiply<T: Element>(
    tile: &TileFloat<T>,
    rows: &Rows<'_>,
    block: &Range<usize>,
    span: &Range<usize>,
    b: &[&[T]],
    sums: &mut [f32; SUMS],
    mut ahead: [Ahead<'_>; MAX_PANELS],
) {
    let (values, lda) = (bytemuck::cast_slice::<u8, T>(rows.bytes), float_stride(rows.k));
    let ldc = b.len() * NR;
    for (first, sums) in
        block.clone().step_by(tile.tile_rows).zip(sums.chunks_exact_mut(tile.tile_rows * ldc))
    {
        ahead.iter_mut().for_each(Ahead::step);
        let count = tile.tile_rows.min(block.end - first);
        let a = &values[first * lda + span.start..][..(count - 1) * lda + span.len()];
        tile.multiply(span.len(), a, lda, count, b, sums, ldc);
    }
}

/// `k` in blocks of `step`.
fn k_blocks(k: usize, step: usize) -> impl Iterator<Item = Range<usize>> {
    (0..k).step_by(step).map(move |first| first..k.min(first + step))
}
