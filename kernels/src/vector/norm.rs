//! LayerNorm and the largest magnitude.

use pulp::Simd;

/// Independent sums of a reduction, which hide the latency of the addition.
const CHAINS: usize = 4;

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
    let mean = simd.splat_f32s(sum(simd, x) / n);
    // The deviations wait in `out`; the sum of their squares is the variance, without cancellation.
    let (x, x_tail) = S::as_simd_f32s(x);
    let (deviations, tail) = S::as_mut_simd_f32s(out);
    let mut sums = [simd.splat_f32s(0.0); CHAINS];
    for (x, deviations) in x.chunks(CHAINS).zip(deviations.chunks_mut(CHAINS)) {
        for ((x, deviation), sum) in x.iter().zip(deviations).zip(&mut sums) {
            *deviation = simd.sub_f32s(*x, mean);
            *sum = simd.mul_add_f32s(*deviation, *deviation, *sum);
        }
    }
    simd.partial_store_f32s(tail, simd.sub_f32s(simd.partial_load_f32s(x_tail), mean));
    // Read back, so that the missing lanes are zero.
    let rest = simd.partial_load_f32s(tail);
    sums[0] = simd.mul_add_f32s(rest, rest, sums[0]);
    let variance = total(simd, sums) / n;
    let inverse = simd.splat_f32s(1.0 / libm::sqrtf(variance + eps));

    let (gamma, gamma_tail) = S::as_simd_f32s(gamma);
    let (beta, beta_tail) = S::as_simd_f32s(beta);
    for ((out, gamma), beta) in deviations.iter_mut().zip(gamma).zip(beta) {
        *out = simd.mul_add_f32s(simd.mul_f32s(*out, inverse), *gamma, *beta);
    }
    let gamma = simd.partial_load_f32s(gamma_tail);
    let beta = simd.partial_load_f32s(beta_tail);
    simd.partial_store_f32s(tail, simd.mul_add_f32s(simd.mul_f32s(rest, inverse), gamma, beta));
}

/// The largest magnitude.
#[inline(always)]
pub(crate) fn abs_max<S: Simd>(simd: S, x: &[f32]) -> f32 {
    let (x, tail) = S::as_simd_f32s(x);
    let mut max = [simd.abs_f32s(simd.partial_load_f32s(tail)); CHAINS];
    for x in x.chunks(CHAINS) {
        for (x, max) in x.iter().zip(&mut max) {
            *max = simd.max_f32s(simd.abs_f32s(*x), *max);
        }
    }
    let [a, b, c, d] = max;
    simd.reduce_max_f32s(simd.max_f32s(simd.max_f32s(a, b), simd.max_f32s(c, d)))
}

#[inline(always)]
fn sum<S: Simd>(simd: S, x: &[f32]) -> f32 {
    let (x, tail) = S::as_simd_f32s(x);
    let mut sums = [simd.splat_f32s(0.0); CHAINS];
    sums[0] = simd.partial_load_f32s(tail);
    for x in x.chunks(CHAINS) {
        for (x, sum) in x.iter().zip(&mut sums) {
            *sum = simd.add_f32s(*sum, *x);
        }
    }
    total(simd, sums)
}

#[inline(always)]
fn total<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; CHAINS]) -> f32 {
    simd.reduce_sum_f32s(simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(c, d)))
}
