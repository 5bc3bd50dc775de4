//! x86-64: AVX2 with FMA and F16C; `vpdpbusd` and AVX-512 where they exist.

mod avx2;
mod avx512;
mod vnni;

use crate::isa::{Feature, Isa};
use crate::table::Kernels;

/// Calls `step` for 0..k, four times in each turn of the loop: counting takes slots from the multiplications.
#[inline(always)]
fn unrolled(k: usize, mut step: impl FnMut(usize)) {
    const TURN: usize = 4;
    let whole = k - k % TURN;
    for first in (0..whole).step_by(TURN) {
        (first..first + TURN).for_each(&mut step);
    }
    (whole..k).for_each(step);
}

/// Replaces what the features of `isa` do better.
pub(crate) fn select(isa: Isa, kernels: Kernels) -> Kernels {
    let kernels = if isa.has(Feature::Avx2) { avx2::select(kernels) } else { kernels };
    if isa.has(Feature::Avx512Vnni) {
        Kernels {
            tile_i8: vnni::TILE_I8_AVX512,
            tile_f32: avx512::TILE_F32,
            dequant: avx512::dequant,
            ..kernels
        }
    } else if isa.has(Feature::AvxVnni) {
        Kernels { tile_i8: vnni::TILE_I8_AVX, ..kernels }
    } else {
        kernels
    }
}
