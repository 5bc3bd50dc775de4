//! AArch64: NEON, dotprod, i8mm, fp16. Each folder repeats the file names of `scalar` for what it does better.

mod asm;
mod dotprod;
mod fp16;
mod i8mm;
mod neon;

use crate::isa::{Feature, Isa};
use crate::table::Kernels;

/// Replaces what the features of `isa` do better.
pub(crate) fn select(isa: Isa, mut kernels: Kernels) -> Kernels {
    if isa.has(Feature::Neon) {
        kernels.tile_i8 = neon::TILE_I8;
        kernels.tile_f32 = neon::TILE_F32;
        kernels.dequant = neon::dequant;
        kernels.quantize_tile = neon::quantize_tile;
        kernels.widen_f16 = neon::widen_f16;
        kernels.narrow_f16 = neon::narrow_f16;
    }
    if isa.has(Feature::Dotprod) {
        kernels.tile_i8 = dotprod::TILE_I8;
    }
    if isa.has(Feature::I8mm) {
        kernels.tile_i8 = i8mm::TILE_I8;
    }
    if isa.has(Feature::Fp16) {
        kernels.tile_f16 = Some(fp16::TILE_F16);
    }
    kernels
}
