//! The specification of every micro-kernel, in plain Rust: reference, and fallback where nothing better runs.

mod dequant;
mod elementwise;
mod tile_float;
mod tile_i8;

pub(crate) use dequant::{dequant, quantize_tile};
pub(crate) use elementwise::{abs_max_rows, activate, layer_norm, narrow_f16, softmax, widen_f16};
pub(crate) use tile_float::TILE_F32;
pub(crate) use tile_i8::TILE_I8;
