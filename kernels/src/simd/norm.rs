//! LayerNorm and the ranges of rows.

use super::reduce::{Sum, join, reduce};
use super::unroll::{Ops, UNROLL};
use crate::table::RowRange;
use pulp::Simd;

/// `(x − mean) / √(var + eps) · gamma + beta`
#[inline(always)]
pub(crate) fn layer_norm<S: Simd>(
    simd: S,
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    eps: f32,
    out: &mut [f32],
) {
    let n = x.len() as f32;
    let (x, x_tail) = S::as_simd_f32s(x);
    let (out, tail) = S::as_mut_simd_f32s(out);
    let zero = simd.splat_f32s(0.0);
    let last = simd.partial_load_f32s(x_tail);
    let sum = simd.add_f32s(reduce::<S, Sum>(simd, x, zero), last);
    let mean = simd.splat_f32s(simd.reduce_sum_f32s(sum) / n);

    // The deviations wait in `out`; the sum of their squares is the variance, without cancellation.
    let mut chains = [zero; UNROLL];
    let (x_blocks, x_rest) = x.as_chunks::<UNROLL>();
    let (blocks, rest) = out.as_chunks_mut::<UNROLL>();
    for (x, out) in x_blocks.iter().zip(blocks) {
        for ((x, out), chain) in x.iter().zip(out).zip(&mut chains) {
            *out = simd.sub_f32s(*x, mean);
            *chain = simd.mul_add_f32s(*out, *out, *chain);
        }
    }
    for (x, out) in x_rest.iter().zip(rest) {
        *out = simd.sub_f32s(*x, mean);
        chains[0] = simd.mul_add_f32s(*out, *out, chains[0]);
    }
    simd.partial_store_f32s(tail, simd.sub_f32s(last, mean));
    // Read back, so that the missing lanes are zero.
    let last = simd.partial_load_f32s(tail);
    chains[0] = simd.mul_add_f32s(last, last, chains[0]);
    let variance = simd.reduce_sum_f32s(join::<S, Sum>(simd, chains)) / n;
    let inverse = 1.0 / libm::sqrtf(variance + eps);

    let (gamma, gamma_tail) = S::as_simd_f32s(gamma);
    let (beta, beta_tail) = S::as_simd_f32s(beta);
    let (blocks, rest) = out.as_chunks_mut::<UNROLL>();
    let (gamma_blocks, gamma_rest) = gamma.as_chunks::<UNROLL>();
    let (beta_blocks, beta_rest) = beta.as_chunks::<UNROLL>();
    for ((out, gamma), beta) in blocks.iter_mut().zip(gamma_blocks).zip(beta_blocks) {
        *out = scale(Ops(simd), *out, inverse, *gamma, *beta);
    }
    for ((out, gamma), beta) in rest.iter_mut().zip(gamma_rest).zip(beta_rest) {
        [*out] = scale(Ops(simd), [*out], inverse, [*gamma], [*beta]);
    }
    let gamma = simd.partial_load_f32s(gamma_tail);
    let beta = simd.partial_load_f32s(beta_tail);
    let [last] = scale(Ops(simd), [last], inverse, [gamma], [beta]);
    simd.partial_store_f32s(tail, last);
}

/// `deviation · inverse · gamma + beta`
#[inline(always)]
fn scale<S: Simd, const N: usize>(
    ops: Ops<S, N>,
    deviation: [S::f32s; N],
    inverse: f32,
    gamma: [S::f32s; N],
    beta: [S::f32s; N],
) -> [S::f32s; N] {
    ops.mul_add(ops.mul(deviation, ops.splat(inverse)), gamma, beta)
}

/// Widens the ranges of the rows, a row at a time: its range stays in registers from block to block.
#[inline(always)]
pub(crate) fn range_rows<S: Simd>(simd: S, x: &[f32], width: usize, stride: usize, ranges: &mut [RowRange]) {
    for (row, RowRange { low, high, finite }) in ranges.iter_mut().enumerate() {
        let ends = [S::as_mut_simd_f32s(low).0, S::as_mut_simd_f32s(high).0, S::as_mut_simd_f32s(finite).0];
        let x = x.get(row * width..).unwrap_or_default();
        // NR columns are so many vectors.
        match size_of::<S::f32s>() {
            16 => widen::<S, 4>(simd, x, width, stride, ends),
            32 => widen::<S, 2>(simd, x, width, stride, ends),
            _ => widen::<S, 1>(simd, x, width, stride, ends),
        }
    }
}

/// Widens ranges of `N` vectors each by the `width` elements at the start of every `stride` of `x`.
#[inline(always)]
fn widen<S: Simd, const N: usize>(
    simd: S,
    x: &[f32],
    width: usize,
    stride: usize,
    ends: [&mut [S::f32s]; 3],
) {
    let zero = simd.splat_f32s(0.0);
    let [Some(low), Some(high), Some(finite)] = ends.map(|ends| ends.first_chunk_mut::<N>()) else {
        unreachable!("NR columns are N vectors");
    };
    let mut of = (*low, *high, *finite);
    for block in x.chunks(stride) {
        let (x, _) = S::as_simd_f32s(&block[..width]);
        for x in x.as_chunks::<N>().0 {
            for (i, x) in x.iter().enumerate() {
                of.0[i] = simd.min_f32s(*x, of.0[i]);
                of.1[i] = simd.max_f32s(*x, of.1[i]);
                of.2[i] = simd.mul_add_f32s(*x, zero, of.2[i]);
            }
        }
    }
    (*low, *high, *finite) = of;
}
