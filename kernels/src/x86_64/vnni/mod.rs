//! `vpdpbusd`: four u8 × s8 products added to an i32 in one instruction, exact for any weights.

mod gemm_i8;

pub(super) use gemm_i8::{GEMM_I8_AVX, GEMM_I8_AVX512};
