//! ARMv8.0: what every AArch64 core has.

mod convert;
mod dequant;
mod tile_f32;
mod tile_i8;

pub(super) use convert::{narrow_f16, widen_f16};
pub(super) use dequant::{dequant, quantize_tile};
pub(super) use tile_f32::TILE_F32;
pub(super) use tile_i8::TILE_I8;
