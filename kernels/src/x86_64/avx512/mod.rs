//! AVX-512 F: one register holds a panel's 16 channels.

mod dequantize;
mod gemm_f32;

pub(super) use dequantize::dequantize_tile;
pub(super) use gemm_f32::GEMM_F32;
