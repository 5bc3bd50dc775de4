//! AArch64: NEON, dotprod, i8mm, fp16. Each folder repeats the file names of `scalar` for what it does better.

mod asm;
mod dotprod;
mod fp16;
mod i8mm;
mod neon;
mod peak;

use crate::isa::{Feature, Isa};
use crate::table::Table;

/// Replaces what the features of `isa` do better.
pub(crate) fn select(isa: Isa, mut table: Table) -> Table {
    if isa.has(Feature::Neon) {
        table.gemm_i8 = neon::GEMM_I8;
        table.gemm_f32 = neon::GEMM_F32;
        table.scan_i8 = neon::SCAN_I8;
        table.dequantize_tile = neon::dequantize_tile;
        table.quantize_panel = neon::quantize_panel;
        table.widen_f16 = neon::widen_f16;
        table.narrow_f16 = neon::narrow_f16;
        (table.peak_i8, table.peak_f32) = (peak::SMULL, peak::FMLA);
    }
    if isa.has(Feature::Dotprod) {
        table.gemm_i8 = dotprod::GEMM_I8;
        table.scan_i8 = dotprod::SCAN_I8;
        table.peak_i8 = peak::SDOT;
    }
    if isa.has(Feature::I8mm) {
        table.gemm_i8 = i8mm::GEMM_I8;
        table.peak_i8 = peak::SMMLA;
    }
    if isa.has(Feature::Fp16Attention) {
        table.attention_f16 = Some(fp16::GEMM_F16);
    }
    if isa.has(Feature::Fp16) {
        table.gemm_f16 = Some(fp16::GEMM_F16);
    }
    table
}

/// Replaces what a Cortex-A55 does better in another way.
pub(crate) fn for_cortex_a55(isa: Isa, mut table: Table) -> Table {
    if isa.has(Feature::Dotprod) && !isa.has(Feature::I8mm) {
        table.gemm_i8 = dotprod::GEMM_I8_A55;
    }
    table
}
