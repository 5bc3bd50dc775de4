//! ARMv8.0: what every AArch64 core has.

mod convert;
mod dequantize;
mod gemm_f32;
mod gemm_i8;
mod quantize;
mod scan;

pub(super) use convert::{narrow_f16, widen_f16};
pub(super) use dequantize::dequantize_tile;
pub(super) use gemm_f32::GEMM_F32;
pub(super) use gemm_i8::GEMM_I8;
pub(super) use quantize::quantize_panel;
pub(super) use scan::SCAN_I8;
