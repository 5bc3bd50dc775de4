//! `exp` of a vector.

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
pub(crate) fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    // The limit stands first: x86 returns the second operand when one is NaN.
    let x = simd.max_f32s(simd.splat_f32s(EXP_MIN), x);
    let x = simd.min_f32s(simd.splat_f32s(EXP_MAX), x);
    // eˣ = 2ⁿ·eʳ, n = round(x / ln 2), r = x − n·ln 2 in two steps, exact by the fused products.
    let biased = simd.mul_add_f32s(x, simd.splat_f32s(core::f32::consts::LOG2_E), simd.splat_f32s(ROUND));
    let n = simd.sub_f32s(biased, simd.splat_f32s(ROUND));
    let r = simd.mul_add_f32s(n, simd.splat_f32s(-core::f32::consts::LN_2), x);
    let r = simd.mul_add_f32s(n, simd.splat_f32s(-LN_2_REST), r);
    let mut poly = simd.splat_f32s(POLY[4]);
    for coefficient in POLY[..4].iter().rev() {
        poly = simd.mul_add_f32s(poly, r, simd.splat_f32s(*coefficient));
    }
    let one = simd.splat_f32s(1.0);
    let power = simd.mul_add_f32s(simd.mul_add_f32s(poly, r, one), r, one);
    // n + 127 becomes the exponent of 2ⁿ; for n = −127 that is 0.
    let bits = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(biased), simd.splat_u32s(23));
    simd.mul_f32s(power, simd.transmute_f32s_u32s(bits))
}
