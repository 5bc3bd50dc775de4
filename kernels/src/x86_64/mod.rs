//! x86-64: AVX2 with FMA and F16C; `vpdpbusd`, AVX-512 and AMX where they exist.

mod amx;
mod avx2;
mod avx512;
mod peak;
mod unroll;
mod vnni;

#[cfg(feature = "std")]
pub(crate) use amx::has_amx;

use crate::isa::{Feature, Isa};
use crate::table::Table;

/// Replaces what the features of `isa` do better.
pub(crate) fn select(isa: Isa, mut table: Table) -> Table {
    if isa.has(Feature::Avx2) {
        table = Table { peak_i8: peak::MADDUBS, peak_f32: peak::FMA, ..avx2::select(table) };
    }
    if isa.has(Feature::Avx512Vnni) {
        table.gemm_i8 = vnni::GEMM_I8_AVX512;
        table.gemm_f32 = avx512::GEMM_F32;
        table.dequantize_tile = avx512::dequantize_tile;
        (table.peak_i8, table.peak_f32) = (peak::DPBUSD_512, peak::FMA_512);
    } else if isa.has(Feature::AvxVnni) {
        table.gemm_i8 = vnni::GEMM_I8_AVX;
        table.peak_i8 = peak::DPBUSD_256;
    }
    if isa.has(Feature::Amx) {
        table = amx::select(table);
    }
    table
}
