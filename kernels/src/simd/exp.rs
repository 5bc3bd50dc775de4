//! `exp` of vectors.

use super::unroll::Ops;
use pulp::Simd;

/// Inputs above count as this: e⁸⁸ is 1.65 · 10³⁸, just below the largest f32.
pub(crate) const EXP_MAX: f32 = 88.0;
/// Inputs below count as this, −127 · ln 2, whose result is 0.
pub(crate) const EXP_MIN: f32 = -88.029_69;

/// 1.5·2²³ + 127. Adding it rounds to an integer, which then stands in the low bits, biased as an exponent.
const ROUND: f32 = 12_583_039.0;
/// ln 2 minus the f32 next to it.
const LN_2_REST: f32 = -1.904_654_3e-9;
/// `(eʳ − 1 − r) / r²` for |r| ≤ ln 2 / 2, lowest power first: a minimax fit (Lawson's iteration, weighted by the
/// relative error of eʳ, which stays below 3.1 · 10⁻⁹).
const POLY: [f32; 5] = [0.499_999_93, 0.166_665_2, 0.041_668_39, 0.008_368_717, 0.001_381_459_9];

/// `eˣ` within 1 ULP wherever the result is a normal number. Results below 2⁻¹²⁶ may be 0; NaN stays NaN.
#[inline(always)]
pub(crate) fn exp<S: Simd, const N: usize>(ops: Ops<S, N>, x: [S::f32s; N]) -> [S::f32s; N] {
    // The limit stands first: x86 returns the second operand when one is NaN.
    let x = ops.max(ops.splat(EXP_MIN), x);
    let x = ops.min(ops.splat(EXP_MAX), x);
    // eˣ = 2ⁿ·eʳ, n = round(x / ln 2), r = x − n·ln 2 in two steps, exact by the fused products.
    let biased = ops.mul_add(x, ops.splat(core::f32::consts::LOG2_E), ops.splat(ROUND));
    let n = ops.sub(biased, ops.splat(ROUND));
    let r = ops.mul_add(n, ops.splat(-core::f32::consts::LN_2), x);
    let r = ops.mul_add(n, ops.splat(-LN_2_REST), r);
    let mut poly = ops.splat(POLY[4]);
    for coefficient in POLY[..4].iter().rev() {
        poly = ops.mul_add(poly, r, ops.splat(*coefficient));
    }
    let one = ops.splat(1.0);
    let power = ops.mul_add(ops.mul_add(poly, r, one), r, one);
    // n + 127 becomes the exponent of 2ⁿ; for n = −127 that is 0.
    ops.mul(power, ops.low_bits_as_exponent(biased))
}
