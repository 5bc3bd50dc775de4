//! Element-wise f32 micro-kernels, written once over [`pulp`] for every vector width.
//!
//! The operations are generic over pulp's token of an instruction set and inline into the entry points of each
//! instruction set, which alone carry target features. Reductions run in an order that depends on the row's length
//! only, so a row gives the same bits on every thread.

mod activate;
mod exp;
mod norm;
mod reduce;
mod softmax;
mod unroll;

#[cfg(test)]
mod tests;

use crate::isa::{Feature, Isa};
use crate::table::{Table, Vectorized};

/// Compiles the operations for one instruction set.
macro_rules! entry_points {
    ($module:ident, $token:ty, $features:literal) => {
        mod $module {
            use crate::simd::{activate, norm, softmax};
            use crate::table::{Activation, RowRange, Table, Vectorized};

            #[target_feature(enable = $features)]
            fn token() -> $token {
                // SAFETY: this function requires the features that the token stands for.
                unsafe { <$token>::new_unchecked() }
            }

            #[target_feature(enable = $features)]
            fn range_rows(x: &[f32], width: usize, stride: usize, ranges: &mut [RowRange]) {
                norm::range_rows(token(), x, width, stride, ranges);
            }

            #[target_feature(enable = $features)]
            fn layer_norm(x: &[f32], gamma: &[f32], beta: &[f32], eps: f32, out: &mut [f32]) {
                norm::layer_norm(token(), x, gamma, beta, eps, out);
            }

            #[target_feature(enable = $features)]
            fn softmax(x: &mut [f32], scale: f32) -> f32 {
                softmax::softmax(token(), x, scale)
            }

            #[target_feature(enable = $features)]
            fn activate(act: Activation, x: &mut [f32]) {
                activate::activate(token(), act, x);
            }

            #[target_feature(enable = $features)]
            pub(super) fn vectorized<W: Vectorized>(work: W) -> W::Output {
                work.run()
            }

            pub(super) fn select(table: Table) -> Table {
                Table { range_rows, layer_norm, softmax, activate, ..table }
            }
        }
    };
}

// What pulp's tokens stand for beyond every x86-64 CPU; `Feature::Avx2` and `Feature::Avx512Vnni` prove all of it.
#[cfg(target_arch = "x86_64")]
entry_points!(avx2, pulp::x86::V3, "avx2,fma,bmi1,bmi2,lzcnt,popcnt");
#[cfg(target_arch = "x86_64")]
entry_points!(
    avx512,
    pulp::x86::V4,
    "avx2,fma,bmi1,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512cd,avx512dq,avx512vl"
);
#[cfg(target_arch = "aarch64")]
entry_points!(neon, pulp::aarch64::Neon, "neon");

/// Replaces the scalar operations where `isa` has vectors.
pub(crate) fn select(isa: Isa, table: Table) -> Table {
    #[cfg(target_arch = "x86_64")]
    if isa.has(Feature::Avx512Vnni) {
        return avx512::select(table);
    }
    #[cfg(target_arch = "x86_64")]
    if isa.has(Feature::Avx2) {
        return avx2::select(table);
    }
    #[cfg(target_arch = "aarch64")]
    if isa.has(Feature::Neon) {
        return neon::select(table);
    }
    table
}

/// Runs `work` as compiled for the vectors of `isa`.
pub(crate) fn vectorized<W: Vectorized>(isa: Isa, work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    if isa.has(Feature::Avx512Vnni) {
        // SAFETY: the feature proves all that the function requires.
        return unsafe { avx512::vectorized(work) };
    }
    #[cfg(target_arch = "x86_64")]
    if isa.has(Feature::Avx2) {
        // SAFETY: as above.
        return unsafe { avx2::vectorized(work) };
    }
    #[cfg(target_arch = "aarch64")]
    if isa.has(Feature::Neon) {
        // SAFETY: as above.
        return unsafe { neon::vectorized(work) };
    }
    work.run()
}
