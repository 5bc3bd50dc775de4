//! The specification of every micro-kernel, in plain Rust: reference, and fallback where nothing better runs.

mod convert;
mod dequantize;
mod elementwise;
mod gemm_f32;
mod gemm_i8;
mod peak;
mod quantize;
mod scan;

use crate::table::Table;

pub(crate) use convert::{narrow_f16, widen_f16};
pub(crate) use quantize::{quantize_panel, round};

/// What every CPU can run.
pub(crate) const TABLE: Table = Table {
    gemm_i8: gemm_i8::GEMM_I8,
    gemm_f32: gemm_f32::GEMM_F32,
    gemm_f16: None,
    attention_f16: None,
    scan_i8: scan::SCAN_I8,
    dequantize_tile: dequantize::dequantize_tile,
    quantize_panel,
    range_rows: elementwise::range_rows,
    layer_norm: elementwise::layer_norm,
    softmax: elementwise::softmax,
    activate: elementwise::activate,
    widen_f16,
    narrow_f16,
    peak_i8: peak::PEAK_I8,
    peak_f32: peak::PEAK_F32,
};
