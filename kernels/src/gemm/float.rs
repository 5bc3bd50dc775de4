//! RHS panels of f32 or f16.

use super::blocking::{GemmScratch, MAX_PANELS, MC, SUMS, ahead, next, panel_groups, row_blocks};
use super::output::Output;
use crate::kernels::Kernels;
use crate::pack::{Lhs, NR, float_stride, padded_k};
use crate::prefetch::Ahead;
use crate::table::{Element, KC_F32, MicroKernelFloat};
use core::ops::Range;
use half::f16;

impl Kernels {
    /// RHS panels that the micro-kernel reads as they are.
    pub(super) fn gemm_float<T: Element>(
        &self,
        kernel: &MicroKernelFloat<T>,
        lhs: &Lhs<'_>,
        weights: &[T],
        panels: Range<usize>,
        output: &mut Output<'_, '_, '_>,
        scratch: &mut GemmScratch,
    ) {
        let sums = &mut scratch.sums;
        let k = padded_k(lhs.k);
        for panels in panel_groups(panels, kernel.panels()) {
            for block in row_blocks(lhs.rows, MC, kernel.mr) {
                start_sums(sums, block.len().next_multiple_of(kernel.mr), panels.clone(), output);
                for span in spans(k, kernel.kc) {
                    let b: [&[T]; MAX_PANELS] = pieces(weights, &panels, k, &span);
                    let ahead = ahead(weights, k, next(&panels, k, &span), block.len().div_ceil(kernel.mr));
                    multiply(kernel, lhs, &block, &span, &b[..panels.len()], sums, ahead);
                }
                output.finish_sums(block, panels.clone(), sums);
            }
        }
    }

    /// RHS panels of f16 for a CPU without f16 arithmetic: each piece is widened once, then multiplied as f32.
    pub(super) fn gemm_widened(
        &self,
        lhs: &Lhs<'_>,
        weights: &[f16],
        panels: Range<usize>,
        output: &mut Output<'_, '_, '_>,
        scratch: &mut GemmScratch,
    ) {
        let (kernel, k) = (&self.table.gemm_f32, padded_k(lhs.k));
        let GemmScratch { panels: widened, sums } = scratch;
        let (first, second) = widened.split_at_mut(KC_F32 * NR);
        for panels in panel_groups(panels, kernel.panels()) {
            for block in row_blocks(lhs.rows, MC, kernel.mr) {
                start_sums(sums, block.len().next_multiple_of(kernel.mr), panels.clone(), output);
                for span in spans(k, kernel.kc) {
                    let b: [&[f16]; MAX_PANELS] = pieces(weights, &panels, k, &span);
                    let to = [&mut first[..b[0].len()], &mut second[..b[1].len()]];
                    for (from, to) in b.into_iter().zip(to).take(panels.len()) {
                        self.widen_f16(from, to);
                    }
                    let b = [&first[..b[0].len()], &second[..b[1].len()]];
                    let ahead = ahead(weights, k, next(&panels, k, &span), block.len().div_ceil(kernel.mr));
                    multiply(kernel, lhs, &block, &span, &b[..panels.len()], sums, ahead);
                }
                output.finish_sums(block, panels.clone(), sums);
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
fn start_sums(sums: &mut [f32; SUMS], rows: usize, panels: Range<usize>, output: &Output<'_, '_, '_>) {
    let bias = |i: usize| output.bias((panels.start + i).min(panels.end - 1));
    let sums = &mut sums.as_chunks_mut::<NR>().0[..rows * panels.len()];
    if panels.len() == 1 {
        sums.fill(*bias(0));
    } else {
        for [first, second] in sums.as_chunks_mut::<MAX_PANELS>().0 {
            (*first, *second) = (*bias(0), *bias(1));
        }
    }
}

/// Adds the products of `span` to the sums of the rows of `block`, which are `[rows][panels][NR]`; a part of `ahead` with
/// every kernel.
fn multiply<T: Element>(
    kernel: &MicroKernelFloat<T>,
    lhs: &Lhs<'_>,
    block: &Range<usize>,
    span: &Range<usize>,
    b: &[&[T]],
    sums: &mut [f32; SUMS],
    mut ahead: [Ahead<'_>; MAX_PANELS],
) {
    let (values, lda) = (bytemuck::cast_slice::<u8, T>(lhs.bytes), float_stride(lhs.k));
    let ldc = b.len() * NR;
    for (first, sums) in block.clone().step_by(kernel.mr).zip(sums.chunks_exact_mut(kernel.mr * ldc)) {
        ahead.iter_mut().for_each(Ahead::part);
        let count = kernel.mr.min(block.end - first);
        let a = &values[first * lda + span.start..][..(count - 1) * lda + span.len()];
        kernel.multiply(span.len(), a, lda, count, b, sums, ldc);
    }
}

/// `k` in spans of `step`.
fn spans(k: usize, step: usize) -> impl Iterator<Item = Range<usize>> {
    (0..k).step_by(step).map(move |first| first..k.min(first + step))
}
