//! AArch64 loops, in assembly, so that the optimiser leaves the mix of instructions alone. Operands in v0 and v1; what
//! they hold does not matter, but it is neither zero nor denormal. v8 to v15 belong to the caller and stay untouched.

use crate::table::Peak;
use core::arch::asm;

pub(super) const SMULL: Peak = Peak { name: "smull + smlal2 + sadalp", macs: 6 * 16, run: smull };
pub(super) const SDOT: Peak = Peak { name: "sdot", macs: 16 * 16, run: sdot };
pub(super) const SMMLA: Peak = Peak { name: "smmla", macs: 16 * 32, run: smmla };
pub(super) const FMLA: Peak = Peak { name: "fmla, f32", macs: 16 * 4, run: fmla };

macro_rules! peak_loop {
    ($name:ident, $features:literal, $pattern:expr, $($instruction:literal),+) => {
        #[target_feature(enable = $features)]
        fn $name(iterations: u64) {
            // SAFETY: touches registers only, all of them declared; `iterations` counts down from at least 1.
            unsafe {
                asm!(
                    "dup v0.4s, {pattern:w}",
                    "dup v1.4s, {pattern:w}",
                    ".irp i, 16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
                    "movi v\\i\\().16b, #0",
                    ".endr",
                    "2:",
                    $($instruction,)+
                    "subs x9, x9, #1",
                    "b.ne 2b",
                    pattern = in(reg) $pattern,
                    inout("x9") iterations => _,
                    clobber_abi("C"),
                    options(nomem, nostack),
                );
            }
        }
    };
}

const BYTES: u32 = 0x0302_0503;

// Products of v2 to v7 are added to v22 to v27; six at a time, so that in-order cores need not wait either.
peak_loop!(
    smull,
    "neon",
    BYTES,
    ".irp i, 2,3,4,5,6,7",
    "smull v\\i\\().8h, v0.8b, v1.8b",
    ".endr",
    ".irp i, 2,3,4,5,6,7",
    "smlal2 v\\i\\().8h, v0.16b, v1.16b",
    ".endr",
    ".irp i, 2,3,4,5,6,7",
    "sadalp v2\\i\\().4s, v\\i\\().8h",
    ".endr"
);
peak_loop!(
    sdot,
    "dotprod",
    BYTES,
    ".irp i, 16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    "sdot v\\i\\().4s, v0.16b, v1.16b",
    ".endr"
);
peak_loop!(
    smmla,
    "i8mm",
    BYTES,
    ".irp i, 16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    "smmla v\\i\\().4s, v0.16b, v1.16b",
    ".endr"
);
peak_loop!(
    fmla,
    "neon",
    1f32.to_bits(),
    ".irp i, 16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    "fmla v\\i\\().4s, v0.4s, v1.4s",
    ".endr"
);
