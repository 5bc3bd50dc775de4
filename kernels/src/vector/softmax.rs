//! The numerator of softmax and its sum.

use super::exp::exp;
use super::reduce::{Max, reduce};
use pulp::Simd;

/// `x[i] = exp((x[i] − max x) · scale)`; returns the sum.
#[inline(always)]
pub(crate) fn softmax<S: Simd>(simd: S, x: &mut [f32], scale: f32) -> f32 {
    let (vectors, tail) = S::as_mut_simd_f32s(x);
    let max = reduce::<S, Max>(simd, vectors, simd.splat_f32s(f32::NEG_INFINITY));
    // One by one, because the missing lanes of a partial vector are zero and may be the largest.
    let max = tail.iter().fold(simd.reduce_max_f32s(max), |max, &x| if x > max { x } else { max });
    let max = simd.splat_f32s(max);
    let scale = simd.splat_f32s(scale);
    let mut sum = simd.splat_f32s(0.0);
    for x in vectors {
        *x = exp(simd, simd.mul_f32s(simd.sub_f32s(*x, max), scale));
        sum = simd.add_f32s(sum, *x);
    }
    let last = simd.mul_f32s(simd.sub_f32s(simd.partial_load_f32s(tail), max), scale);
    simd.partial_store_f32s(tail, exp(simd, last));
    // Read back, so that the missing lanes are zero.
    simd.reduce_sum_f32s(simd.add_f32s(sum, simd.partial_load_f32s(tail)))
}
