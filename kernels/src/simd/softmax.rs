//! The numerator of softmax and its sum.

use super::exp::exp;
use super::reduce::{Max, Sum, join, reduce};
use super::unroll::{Ops, UNROLL};
use pulp::Simd;

/// `x[i] = exp((x[i] − max x) · scale)`; returns the sum.
#[inline(always)]
pub(crate) fn softmax<S: Simd>(simd: S, x: &mut [f32], scale: f32) -> f32 {
    let (vectors, tail) = S::as_mut_simd_f32s(x);
    let max = reduce::<S, Max>(simd, vectors, simd.splat_f32s(f32::NEG_INFINITY));
    // One by one, because the missing lanes of a partial vector are zero and may be the largest.
    let max = tail.iter().fold(simd.reduce_max_f32s(max), |max, &x| if x > max { x } else { max });
    let mut sums = [simd.splat_f32s(0.0); UNROLL];
    let (blocks, rest) = vectors.as_chunks_mut::<UNROLL>();
    for x in blocks {
        *x = numerators(Ops(simd), *x, max, scale);
        sums = Ops(simd).add(sums, *x);
    }
    for x in rest {
        [*x] = numerators(Ops(simd), [*x], max, scale);
        sums[0] = simd.add_f32s(sums[0], *x);
    }
    if !tail.is_empty() {
        let [last] = numerators(Ops(simd), [simd.partial_load_f32s(tail)], max, scale);
        simd.partial_store_f32s(tail, last);
        // Read back, so that the missing lanes are zero.
        sums[0] = simd.add_f32s(sums[0], simd.partial_load_f32s(tail));
    }
    simd.reduce_sum_f32s(join::<S, Sum>(simd, sums))
}

/// `exp((x − max) · scale)`
#[inline(always)]
fn numerators<S: Simd, const N: usize>(
    ops: Ops<S, N>,
    x: [S::f32s; N],
    max: f32,
    scale: f32,
) -> [S::f32s; N] {
    exp(ops, ops.mul(ops.sub(x, ops.splat(max)), ops.splat(scale)))
}
