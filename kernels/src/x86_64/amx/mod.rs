//! AMX-INT8: tile registers of 16 rows of 64 bytes, and an instruction that multiplies two of them.
//!
//! An RHS panel in the file's layout is what `tdpbssd` takes as its right operand, 16 groups of four `k` at a time. The left
//! one are 16 rows of 64 `k`, more rows than an LHS panel has: so they lie one after the other ([`LhsCodes::S8Rows`]).
//!
//! [`LhsCodes::S8Rows`]: crate::pack::LhsCodes::S8Rows

#[cfg(feature = "std")]
mod detect;
mod gemm_i8;
mod peak;
mod quantize;

#[cfg(feature = "std")]
pub(crate) use detect::has_amx;

use crate::table::Table;

/// Only for an `Isa` with `Feature::Amx`.
pub(super) fn select(table: Table) -> Table {
    Table {
        gemm_i8: gemm_i8::GEMM_I8,
        quantize_panel: quantize::quantize_panel,
        peak_i8: peak::DPBSSD,
        ..table
    }
}
