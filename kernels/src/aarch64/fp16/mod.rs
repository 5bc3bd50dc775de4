//! Cores with half-precision arithmetic.

mod gemm_f16;

pub(super) use gemm_f16::GEMM_F16;
