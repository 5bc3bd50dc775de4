//! x86-64: AVX2 with FMA and F16C.

use crate::isa::Isa;
use crate::table::Kernels;

/// Replaces what the features of `isa` do better.
pub(crate) fn select(isa: Isa, kernels: Kernels) -> Kernels {
    let _ = isa;
    kernels
}
