//! Reductions over a row, in an order that depends on its length only.

use super::unroll::UNROLL;
use pulp::Simd;

/// An operation that adds an element to a partial result, and joins two partial results. A type and not a closure,
/// because a closure would not inherit target features.
pub(crate) trait Fold {
    fn fold<S: Simd>(simd: S, partial: S::f32s, x: S::f32s) -> S::f32s;
}

pub(crate) struct Sum;
pub(crate) struct Max;

impl Fold for Sum {
    #[inline(always)]
    fn fold<S: Simd>(simd: S, partial: S::f32s, x: S::f32s) -> S::f32s {
        simd.add_f32s(partial, x)
    }
}

impl Fold for Max {
    #[inline(always)]
    fn fold<S: Simd>(simd: S, partial: S::f32s, x: S::f32s) -> S::f32s {
        simd.max_f32s(x, partial)
    }
}

/// Folds whole vectors; every chain starts as `start`.
#[inline(always)]
pub(crate) fn reduce<S: Simd, F: Fold>(simd: S, x: &[S::f32s], start: S::f32s) -> S::f32s {
    let (blocks, rest) = x.as_chunks::<UNROLL>();
    let mut chains = [start; UNROLL];
    for block in blocks {
        for (chain, x) in chains.iter_mut().zip(block) {
            *chain = F::fold(simd, *chain, *x);
        }
    }
    for x in rest {
        chains[0] = F::fold(simd, chains[0], *x);
    }
    join::<S, F>(simd, chains)
}

#[inline(always)]
pub(crate) fn join<S: Simd, F: Fold>(simd: S, [a, b, c, d]: [S::f32s; UNROLL]) -> S::f32s {
    F::fold(simd, F::fold(simd, a, b), F::fold(simd, c, d))
}
