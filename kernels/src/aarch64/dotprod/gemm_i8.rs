//! int8 micro-kernel from SDOT by element: 24 accumulators stay in registers, three registers hold the activations of
//! two groups of four `k`. In assembly, because no compiler keeps 31 registers busy without spilling.

use crate::pack::{K_ALIGN, LhsCodes, MR, NR};
use crate::table::{AccI8, MicroKernelI8, RunI8};
use core::arch::asm;

pub(in super::super) const GEMM_I8: MicroKernelI8 = MicroKernelI8 {
    name: "i8_gemm_6x16c4_dotprod",
    lhs: LhsCodes::S8K4,
    offset: 0,
    run: RunI8::Tile(run),
    order: None,
    repack: None,
};

/// Adds the products of one row's four codes, lane `$a`, with the group's 16 channels in v0 to v3.
#[rustfmt::skip]
macro_rules! row {
    ($a:literal: $c0:literal $c1:literal $c2:literal $c3:literal) => {
        concat!(
            "sdot v", $c0, ".4s, v0.16b, ", $a, "\n",
            "sdot v", $c1, ".4s, v1.16b, ", $a, "\n",
            "sdot v", $c2, ".4s, v2.16b, ", $a, "\n",
            "sdot v", $c3, ".4s, v3.16b, ", $a, "\n",
        )
    };
}

/// Two groups of four `k`: six rows' activations go to v4 to v6, twice 16 channels to v0 to v3. The numbers are the
/// bytes at which they lie.
macro_rules! two_groups {
    ($a0:literal $a2:literal, $b0:literal $b2:literal $b4:literal $b6:literal) => {
        concat!(
            "ldp q4, q5, [{a}, #", $a0, "]\n",
            "ldp q0, q1, [{b}, #", $b0, "]\n",
            "ldp q2, q3, [{b}, #", $b2, "]\n",
            "ldr q6, [{a}, #", $a2, "]\n",
            row!("v4.4b[0]": 8 9 10 11),
            row!("v4.4b[1]": 12 13 14 15),
            row!("v4.4b[2]": 16 17 18 19),
            row!("v4.4b[3]": 20 21 22 23),
            row!("v5.4b[0]": 24 25 26 27),
            row!("v5.4b[1]": 28 29 30 31),
            "ldp q0, q1, [{b}, #", $b4, "]\n",
            "ldp q2, q3, [{b}, #", $b6, "]\n",
            row!("v5.4b[2]": 8 9 10 11),
            row!("v5.4b[3]": 12 13 14 15),
            row!("v6.4b[0]": 16 17 18 19),
            row!("v6.4b[1]": 20 21 22 23),
            row!("v6.4b[2]": 24 25 26 27),
            row!("v6.4b[3]": 28 29 30 31),
        )
    };
}

/// # Safety
/// As [`RunI8::Tile`] says; the CPU has dotprod.
#[target_feature(enable = "neon,dotprod")]
unsafe fn run(k: usize, a: *const u8, b: *const i8, out: &mut AccI8) {
    const { assert!(MR == 6 && NR == 16) }
    // SAFETY: `k` is a positive multiple of 16, so four groups of both panels start at every turn; `out`
    // has six rows of 16.
    unsafe {
        asm!(
            ".irp i, 8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
            "movi v\\i\\().16b, #0",
            ".endr",
            "2:",
            two_groups!(0 32, 0 32 64 96),
            two_groups!(48 80, 128 160 192 224),
            "add {a}, {a}, #96",
            "add {b}, {b}, #256",
            "subs {steps}, {steps}, #1",
            "b.ne 2b",
            store_sums!(),
            a = inout(reg) a => _,
            b = inout(reg) b => _,
            steps = inout(reg) k / K_ALIGN => _,
            out = in(reg) out.as_mut_ptr(),
            out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _, out("v6") _,
            out("v8") _, out("v9") _, out("v10") _, out("v11") _, out("v12") _, out("v13") _, out("v14") _,
            out("v15") _, out("v16") _, out("v17") _, out("v18") _, out("v19") _, out("v20") _, out("v21") _,
            out("v22") _, out("v23") _, out("v24") _, out("v25") _, out("v26") _, out("v27") _, out("v28") _,
            out("v29") _, out("v30") _, out("v31") _,
            options(nostack),
        );
    }
}
