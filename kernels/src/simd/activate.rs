//! Activation functions.

use super::exp::exp;
use super::unroll::{Ops, UNROLL};
use crate::table::Activation;
use core::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};
use pulp::Simd;

/// A function of each element. A type and not a closure, because a closure would not inherit target features.
pub(crate) trait Function {
    fn apply<S: Simd, const N: usize>(ops: Ops<S, N>, x: [S::f32s; N]) -> [S::f32s; N];
}

/// Applies `F` to every element.
#[inline(always)]
pub(crate) fn map<S: Simd, F: Function>(simd: S, x: &mut [f32]) {
    let (vectors, tail) = S::as_mut_simd_f32s(x);
    let (blocks, rest) = vectors.as_chunks_mut::<UNROLL>();
    for x in blocks {
        *x = F::apply(Ops(simd), *x);
    }
    for x in rest {
        [*x] = F::apply(Ops(simd), [*x]);
    }
    if !tail.is_empty() {
        let [y] = F::apply(Ops(simd), [simd.partial_load_f32s(tail)]);
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
        Activation::Relu => map::<S, Relu>(simd, x),
    }
}

struct QuickGelu;
struct Gelu;
struct GeluTanh;
struct Silu;
struct Relu;

/// `x / (1 + eᵘ)`, which is `x · sigmoid(−u)`; beyond u = 80 the factor stays at e⁻⁸⁰.
#[inline(always)]
fn gated<S: Simd, const N: usize>(ops: Ops<S, N>, x: [S::f32s; N], u: [S::f32s; N]) -> [S::f32s; N] {
    let u = ops.min(ops.splat(80.0), u);
    ops.mul(x, reciprocal(ops, ops.add(ops.splat(1.0), exp(ops, u))))
}

/// `1/x` for 2⁻¹²⁰ < x < 2¹²⁰ within 1 ULP or two; NaN stays NaN. Dividing takes most CPUs longer.
#[inline(always)]
fn reciprocal<S: Simd, const N: usize>(ops: Ops<S, N>, x: [S::f32s; N]) -> [S::f32s; N] {
    // Negating the exponent and, roughly, the mantissa: within 12 %.
    let mut y = ops.bits_from(0x7ef3_11c7, x);
    // Two of Halley's steps, y(1 + e + e²) with e = 1 − xy: the error e becomes e³.
    for _ in 0..2 {
        let e = ops.negate_mul_add(x, y, ops.splat(1.0));
        y = ops.mul_add(y, ops.mul_add(e, e, e), y);
    }
    y
}

impl Function for QuickGelu {
    #[inline(always)]
    fn apply<S: Simd, const N: usize>(ops: Ops<S, N>, x: [S::f32s; N]) -> [S::f32s; N] {
        gated(ops, x, ops.mul(x, ops.splat(-1.702)))
    }
}

impl Function for Silu {
    #[inline(always)]
    fn apply<S: Simd, const N: usize>(ops: Ops<S, N>, x: [S::f32s; N]) -> [S::f32s; N] {
        gated(ops, x, ops.mul(x, ops.splat(-1.0)))
    }
}

impl Function for Relu {
    #[inline(always)]
    fn apply<S: Simd, const N: usize>(ops: Ops<S, N>, x: [S::f32s; N]) -> [S::f32s; N] {
        // In this order NaN stays NaN.
        ops.max(ops.splat(0.0), x)
    }
}

impl Function for GeluTanh {
    #[inline(always)]
    fn apply<S: Simd, const N: usize>(ops: Ops<S, N>, x: [S::f32s; N]) -> [S::f32s; N] {
        // (1 + tanh u)/2 = sigmoid(2u), with u = √(2/π) · (x + 0.044715 x³)
        const LINEAR: f32 = -2.0 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
        let slope = ops.mul_add(ops.mul(x, x), ops.splat(LINEAR * 0.044_715), ops.splat(LINEAR));
        gated(ops, x, ops.mul(x, slope))
    }
}

impl Function for Gelu {
    /// With z = |x|/√2, `x/2 · (1 + erf(x/√2)) = max(x, 0) − |x|/2 · erfc(z)`: no cancellation on the negative ops.
    /// `erfc(z) = e^(−z²) · t · P(t)`, t = 1/(1 + 0.3275911 z), within 1.5 · 10⁻⁷ (Abramowitz & Stegun 7.1.26).
    #[inline(always)]
    fn apply<S: Simd, const N: usize>(ops: Ops<S, N>, x: [S::f32s; N]) -> [S::f32s; N] {
        const P: [f32; 5] = [0.254_829_6, -0.284_496_74, 1.421_413_7, -1.453_152, 1.061_405_4];
        let magnitude = ops.abs(x);
        let z = ops.mul(magnitude, ops.splat(FRAC_1_SQRT_2));
        let t = reciprocal(ops, ops.mul_add(z, ops.splat(0.327_591_1), ops.splat(1.0)));
        let mut poly = ops.splat(P[4]);
        for coefficient in P[..4].iter().rev() {
            poly = ops.mul_add(poly, t, ops.splat(*coefficient));
        }
        let tail = exp(ops, ops.mul(ops.mul(x, x), ops.splat(-0.5)));
        let erfc = ops.mul(ops.mul(poly, t), tail);
        let half = ops.mul(magnitude, ops.splat(-0.5));
        ops.mul_add(half, erfc, ops.max(ops.splat(0.0), x))
    }
}
