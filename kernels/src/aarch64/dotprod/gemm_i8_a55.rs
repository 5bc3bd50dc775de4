//! The tile of `gemm_i8.rs` for the Cortex-A55, which works in order: it starts a multiplication together with a load of 64
//! bits, an `ins` or an addition, but nothing together with a load of 128 bits, which takes two cycles (measured by ncnn,
//! `docs/developer-guide/arm-a53-a55-dual-issue.md`). So each register of operands comes in two halves, one of them through a
//! general register, between multiplications and well before it is used. By these rules a turn takes 98 cycles, one of
//! `gemm_i8.rs` 143 (`scripts/a55-cycles.py`); nobody has measured it.
//!
//! A group of four `k` is multiplied channels first: six rows by v0, then by v1, ... Whichever of them is done with takes what
//! the next group needs.

use crate::pack::{K_ALIGN, LhsCodes, MR, NR};
use crate::table::{AccI8, MicroKernelI8, RunI8};
use core::arch::asm;

pub(in super::super) const GEMM_I8: MicroKernelI8 = MicroKernelI8 {
    name: "i8_gemm_6x16c4_dotprod_a55",
    lhs: LhsCodes::S8K4,
    offset: 0,
    run: RunI8::Tile(run),
    order: None,
    repack: None,
};

/// Six rows by the four channels in `v$b`; between the products the lower half of `v$to` comes from memory, the upper one
/// through x9, and, if another register is named, its halves too, through x10; or other instructions. Products are of the
/// sum's register and the lane that holds the row's four codes.
macro_rules! channels {
    ($b:literal: $c0:literal $a0:literal, $c1:literal $a1:literal, $c2:literal $a2:literal, $c3:literal $a3:literal,
     $c4:literal $a4:literal, $c5:literal $a5:literal; $to:literal = $low:literal $high:literal
     $(; $also:literal = $also_low:literal $also_high:literal)? $(, $beside:literal $beside_too:literal)?) => {
        concat!(
            "sdot v", $c0, ".4s, v", $b, ".16b, v", $a0, "\n",
            "ldr d", $to, ", ", $low, "\n",
            "sdot v", $c1, ".4s, v", $b, ".16b, v", $a1, "\n",
            "ldr x9, ", $high, "\n",
            "sdot v", $c2, ".4s, v", $b, ".16b, v", $a2, "\n",
            $("ldr d", $also, ", ", $also_low, "\n",)?
            $($beside, "\n",)?
            "sdot v", $c3, ".4s, v", $b, ".16b, v", $a3, "\n",
            $("ldr x10, ", $also_high, "\n",)?
            $($beside_too, "\n",)?
            "sdot v", $c4, ".4s, v", $b, ".16b, v", $a4, "\n",
            "ins v", $to, ".d[1], x9\n",
            "sdot v", $c5, ".4s, v", $b, ".16b, v", $a5, "\n",
            $("ins v", $also, ".d[1], x10\n",)?
        )
    };
}

/// # Safety
/// As [`RunI8::Tile`] says; the CPU has dotprod.
#[rustfmt::skip]
#[target_feature(enable = "neon,dotprod")]
unsafe fn run(k: usize, a: *const u8, b: *const i8, out: &mut AccI8) {
    const { assert!(MR == 6 && NR == 16 && K_ALIGN == 16) }
    // SAFETY: `k` is a positive multiple of 16, so four groups of both panels start at every turn; `out` has six rows of 16.
    // A turn ends with the first loads of the next one; the last turn loads its own again.
    unsafe {
        asm!(
            ".irp i, 8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
            "movi v\\i\\().16b, #0",
            ".endr",
            "ldp q4, q5, [{a}]",
            "ldp q0, q1, [{b}]",
            "ldr q2, [{b}, #32]",
            "2:",
            // The first group: rows 0 to 3 are in v4, 4 and 5 in v5.
            channels!(0:  8 "4.4b[0]", 12 "4.4b[1]", 16 "4.4b[2]", 20 "4.4b[3]", 24 "5.4b[0]", 28 "5.4b[1]";
                3 = "[{b}, #48]" "[{b}, #56]"; 6 = "[{a}, #32]" "[{a}, #40]"),
            channels!(1:  9 "4.4b[0]", 13 "4.4b[1]", 17 "4.4b[2]", 21 "4.4b[3]", 25 "5.4b[0]", 29 "5.4b[1]";
                0 = "[{b}, #64]" "[{b}, #72]", "subs {steps}, {steps}, #1" "add {an}, {a}, #96"),
            channels!(2: 10 "4.4b[0]", 14 "4.4b[1]", 18 "4.4b[2]", 22 "4.4b[3]", 26 "5.4b[0]", 30 "5.4b[1]";
                1 = "[{b}, #80]" "[{b}, #88]", "add {bn}, {b}, #256" "csel {an}, {a}, {an}, eq"),
            channels!(3: 11 "4.4b[0]", 15 "4.4b[1]", 19 "4.4b[2]", 23 "4.4b[3]", 27 "5.4b[0]", 31 "5.4b[1]";
                2 = "[{b}, #96]" "[{b}, #104]", "csel {bn}, {b}, {bn}, eq" ""),
            // The second: rows 0 and 1 in v5, 2 to 5 in v6.
            channels!(0:  8 "5.4b[2]", 12 "5.4b[3]", 16 "6.4b[0]", 20 "6.4b[1]", 24 "6.4b[2]", 28 "6.4b[3]";
                3 = "[{b}, #112]" "[{b}, #120]"; 4 = "[{a}, #48]" "[{a}, #56]"),
            channels!(1:  9 "5.4b[2]", 13 "5.4b[3]", 17 "6.4b[0]", 21 "6.4b[1]", 25 "6.4b[2]", 29 "6.4b[3]";
                0 = "[{b}, #128]" "[{b}, #136]"; 7 = "[{a}, #64]" "[{a}, #72]"),
            channels!(2: 10 "5.4b[2]", 14 "5.4b[3]", 18 "6.4b[0]", 22 "6.4b[1]", 26 "6.4b[2]", 30 "6.4b[3]";
                1 = "[{b}, #144]" "[{b}, #152]"),
            channels!(3: 11 "5.4b[2]", 15 "5.4b[3]", 19 "6.4b[0]", 23 "6.4b[1]", 27 "6.4b[2]", 31 "6.4b[3]";
                2 = "[{b}, #160]" "[{b}, #168]"),
            // The third: v4 and v7.
            channels!(0:  8 "4.4b[0]", 12 "4.4b[1]", 16 "4.4b[2]", 20 "4.4b[3]", 24 "7.4b[0]", 28 "7.4b[1]";
                3 = "[{b}, #176]" "[{b}, #184]"; 6 = "[{a}, #80]" "[{a}, #88]"),
            channels!(1:  9 "4.4b[0]", 13 "4.4b[1]", 17 "4.4b[2]", 21 "4.4b[3]", 25 "7.4b[0]", 29 "7.4b[1]";
                0 = "[{b}, #192]" "[{b}, #200]", "mov {a}, {an}" ""),
            channels!(2: 10 "4.4b[0]", 14 "4.4b[1]", 18 "4.4b[2]", 22 "4.4b[3]", 26 "7.4b[0]", 30 "7.4b[1]";
                1 = "[{b}, #208]" "[{b}, #216]"),
            channels!(3: 11 "4.4b[0]", 15 "4.4b[1]", 19 "4.4b[2]", 23 "4.4b[3]", 27 "7.4b[0]", 31 "7.4b[1]";
                2 = "[{b}, #224]" "[{b}, #232]"),
            // The fourth: v7 and v6; and the first loads of the next turn.
            channels!(0:  8 "7.4b[2]", 12 "7.4b[3]", 16 "6.4b[0]", 20 "6.4b[1]", 24 "6.4b[2]", 28 "6.4b[3]";
                3 = "[{b}, #240]" "[{b}, #248]"; 4 = "[{an}]" "[{an}, #8]"),
            channels!(1:  9 "7.4b[2]", 13 "7.4b[3]", 17 "6.4b[0]", 21 "6.4b[1]", 25 "6.4b[2]", 29 "6.4b[3]";
                0 = "[{bn}]" "[{bn}, #8]"; 5 = "[{an}, #16]" "[{an}, #24]"),
            channels!(2: 10 "7.4b[2]", 14 "7.4b[3]", 18 "6.4b[0]", 22 "6.4b[1]", 26 "6.4b[2]", 30 "6.4b[3]";
                1 = "[{bn}, #16]" "[{bn}, #24]"),
            channels!(3: 11 "7.4b[2]", 15 "7.4b[3]", 19 "6.4b[0]", 23 "6.4b[1]", 27 "6.4b[2]", 31 "6.4b[3]";
                2 = "[{bn}, #32]" "[{bn}, #40]", "mov {b}, {bn}" ""),
            "b.ne 2b",
            store_sums!(),
            a = inout(reg) a => _,
            b = inout(reg) b => _,
            an = out(reg) _,
            bn = out(reg) _,
            steps = inout(reg) k / K_ALIGN => _,
            out = in(reg) out.as_mut_ptr(),
            out("x9") _, out("x10") _,
            out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _, out("v6") _,
            out("v7") _, out("v8") _, out("v9") _, out("v10") _, out("v11") _, out("v12") _, out("v13") _,
            out("v14") _, out("v15") _, out("v16") _, out("v17") _, out("v18") _, out("v19") _, out("v20") _,
            out("v21") _, out("v22") _, out("v23") _, out("v24") _, out("v25") _, out("v26") _, out("v27") _,
            out("v28") _, out("v29") _, out("v30") _, out("v31") _,
            options(nostack),
        );
    }
}
