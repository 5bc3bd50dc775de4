//! Cores with SDOT.

mod gemm_i8;
mod scan;

pub(super) use gemm_i8::GEMM_I8;
pub(super) use scan::SCAN_I8;
