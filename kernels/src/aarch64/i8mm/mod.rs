//! Cores with SMMLA.

mod gemm_i8;

pub(super) use gemm_i8::GEMM_I8;
