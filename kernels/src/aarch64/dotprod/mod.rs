//! Cores with SDOT.

mod gemm_i8;
mod gemm_i8_a55;
mod scan;

pub(super) use gemm_i8::GEMM_I8;
pub(super) use gemm_i8_a55::GEMM_I8 as GEMM_I8_A55;
pub(super) use scan::SCAN_I8;
