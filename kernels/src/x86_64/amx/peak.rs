//! The multiplication alone, on tiles that are there.

use super::gemm_i8::{TileConfig, release};
use crate::table::Peak;
use core::arch::asm;

pub(super) const DPBSSD: Peak = Peak { name: "tdpbssd, 16 x 16 x 64", macs: 4 * 16 * 16 * 64, run };

/// # Safety
/// The CPU has AMX-INT8, and the process was granted its state. `iterations` is at least 1.
unsafe fn run(iterations: u64) {
    // SAFETY: as the caller promises; whole tiles. The loop touches tile registers and its counter only.
    unsafe {
        TileConfig::new([16, 16]).load();
        asm!(
            ".irp i, 0,1,2,3,4,5,6,7",
            "tilezero tmm\\i",
            ".endr",
            "2:",
            "tdpbssd tmm0, tmm4, tmm6",
            "tdpbssd tmm1, tmm4, tmm7",
            "tdpbssd tmm2, tmm5, tmm6",
            "tdpbssd tmm3, tmm5, tmm7",
            "dec {iterations}",
            "jnz 2b",
            iterations = inout(reg) iterations => _,
            options(nomem, nostack),
        );
        release();
    }
}
