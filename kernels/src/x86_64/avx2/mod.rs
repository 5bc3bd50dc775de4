//! AVX2 with FMA and F16C: Haswell, Zen and later.

mod convert;
mod dequant;
mod steps_i8;
mod tile_f32;
mod tile_i8;

use crate::table::Kernels;

/// Only for an `Isa` with `Feature::Avx2`.
pub(super) fn select(kernels: Kernels) -> Kernels {
    Kernels {
        tile_i8: tile_i8::TILE_I8,
        tile_f32: tile_f32::TILE_F32,
        dequant: dequant::dequant,
        quantize_tile: dequant::quantize_tile,
        widen_f16: convert::widen_f16,
        narrow_f16: convert::narrow_f16,
        ..kernels
    }
}
