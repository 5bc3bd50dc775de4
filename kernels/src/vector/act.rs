//! Activation functions.

use super::exp::exp;
use crate::table::Activation;
use core::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};
use pulp::Simd;

/// A function of one vector. A type and not a closure, because a closure would not inherit target features.
pub(crate) trait Function {
    fn apply<S: Simd>(simd: S, x: S::f32s) -> S::f32s;
}

/// Applies `F` to every element.
#[inline(always)]
pub(crate) fn map<S: Simd, F: Function>(simd: S, x: &mut [f32]) {
    let (vectors, tail) = S::as_mut_simd_f32s(x);
    for x in vectors {
        *x = F::apply(simd, *x);
    }
    if !tail.is_empty() {
        let y = F::apply(simd, simd.partial_load_f32s(tail));
        simd.partial_store_f32s(tail, y);
    }
}

#[inline(always)]
pub(crate) fn activate<S: Simd>(simd: S, act: Activation, x: &mut [f32]) {
    match act {
        Activation::QuickGelu => map::<S, QuickGelu>(simd, x),
        Activation::Gelu => map::<S, Gelu>(simd, x),
        Activation::GeluTanh => map::<S, GeluTanh>(simd, x),
        Activation::Silu => map::<S, Silu>(simd, x),
    }
}

struct QuickGelu;
struct Gelu;
struct GeluTanh;
struct Silu;

/// `x / (1 + eᵘ)`, which is `x · sigmoid(−u)`; beyond u = 80 the factor stays at e⁻⁸⁰.
#[inline(always)]
fn gated<S: Simd>(simd: S, x: S::f32s, u: S::f32s) -> S::f32s {
    let u = simd.min_f32s(simd.splat_f32s(80.0), u);
    simd.mul_f32s(x, reciprocal(simd, simd.add_f32s(simd.splat_f32s(1.0), exp(simd, u))))
}

/// `1/x` for 2⁻¹²⁰ < x < 2¹²⁰ within 1 ULP or two; NaN stays NaN. Dividing takes most CPUs longer.
#[inline(always)]
fn reciprocal<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    // Negating the exponent and, roughly, the mantissa: within 12 %.
    let bits = simd.sub_u32s(simd.splat_u32s(0x7ef3_11c7), simd.transmute_u32s_f32s(x));
    let mut y = simd.transmute_f32s_u32s(bits);
    // Two of Halley's steps, y(1 + e + e²) with e = 1 − xy: the error e becomes e³.
    for _ in 0..2 {
        let e = simd.negate_mul_add_f32s(x, y, simd.splat_f32s(1.0));
        y = simd.mul_add_f32s(y, simd.mul_add_f32s(e, e, e), y);
    }
    y
}

impl Function for QuickGelu {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        gated(simd, x, simd.mul_f32s(x, simd.splat_f32s(-1.702)))
    }
}

impl Function for Silu {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        gated(simd, x, simd.mul_f32s(x, simd.splat_f32s(-1.0)))
    }
}

impl Function for GeluTanh {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        // (1 + tanh u)/2 = sigmoid(2u), with u = √(2/π) · (x + 0.044715 x³)
        const LINEAR: f32 = -2.0 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
        let square = simd.mul_f32s(x, x);
        let slope = simd.mul_add_f32s(square, simd.splat_f32s(LINEAR * 0.044_715), simd.splat_f32s(LINEAR));
        gated(simd, x, simd.mul_f32s(x, slope))
    }
}

impl Function for Gelu {
    /// With z = |x|/√2, `x/2 · (1 + erf(x/√2)) = max(x, 0) − |x|/2 · erfc(z)`: no cancellation on the negative side.
    /// `erfc(z) = e^(−z²) · t · P(t)`, t = 1/(1 + 0.3275911 z), within 1.5 · 10⁻⁷ (Abramowitz & Stegun 7.1.26).
    #[inline(always)]
    fn apply<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        const P: [f32; 5] = [0.254_829_6, -0.284_496_74, 1.421_413_7, -1.453_152, 1.061_405_4];
        let magnitude = simd.abs_f32s(x);
        let one = simd.splat_f32s(1.0);
        let z = simd.mul_f32s(magnitude, simd.splat_f32s(FRAC_1_SQRT_2));
        let t = reciprocal(simd, simd.mul_add_f32s(z, simd.splat_f32s(0.327_591_1), one));
        let mut poly = simd.splat_f32s(P[4]);
        for coefficient in P[..4].iter().rev() {
            poly = simd.mul_add_f32s(poly, t, simd.splat_f32s(*coefficient));
        }
        let tail = exp(simd, simd.mul_f32s(simd.mul_f32s(x, x), simd.splat_f32s(-0.5)));
        let erfc = simd.mul_f32s(simd.mul_f32s(poly, t), tail);
        let half = simd.mul_f32s(magnitude, simd.splat_f32s(-0.5));
        simd.mul_add_f32s(half, erfc, simd.max_f32s(simd.splat_f32s(0.0), x))
    }
}
