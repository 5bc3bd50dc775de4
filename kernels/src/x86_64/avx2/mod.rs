//! AVX2 with FMA and F16C: Haswell, Zen and later.

mod convert;
mod dequantize;
mod gemm_f32;
mod gemm_i8;
mod order_i8;
mod quantize;
mod repack_i8;
mod scan;

pub(super) use quantize::quantize_panel;

use crate::table::Table;

/// Only for an `Isa` with `Feature::Avx2`.
pub(super) fn select(table: Table) -> Table {
    Table {
        gemm_i8: gemm_i8::GEMM_I8,
        gemm_f32: gemm_f32::GEMM_F32,
        scan_i8: scan::SCAN_I8,
        dequantize_tile: dequantize::dequantize_tile,
        quantize_panel,
        widen_f16: convert::widen_f16,
        narrow_f16: convert::narrow_f16,
        ..table
    }
}
