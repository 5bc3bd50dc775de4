//! f16 micro-kernel from half-precision FMLA by element, two panels at once. Sums of [`BLOCK`] products are kept in f16,
//! these in f32, so that the rounding error does not grow with `k`. In assembly, because no compiler keeps 32 registers
//! busy without spilling.

use crate::pack::{K_ALIGN, NR};
use crate::table::MicroKernelFloat;
use core::arch::asm;
use half::f16;

const ROWS: usize = 6;
/// Steps along `k` whose activations of one row fill a register.
const LANES: usize = 8;
/// Products that are summed in half precision.
const BLOCK: usize = 128;

pub(in super::super) const GEMM_F16: MicroKernelFloat<f16> =
    MicroKernelFloat { name: "f16_gemm_6x32_fp16", mr: ROWS, kc: 512, run, run_1x2: Some(run_1x2) };

/// A last panel without a second one: computed twice, used once.
///
/// # Safety
/// As [`MicroKernelFloat::run`] says; the CPU has half-precision arithmetic.
#[target_feature(enable = "neon,fp16")]
unsafe fn run(k: usize, a: *const f16, lda: usize, rows: usize, b: *const f16, c: *mut f32, ldc: usize) {
    let mut twice = [0.0; ROWS * 2 * NR];
    // SAFETY: `c` has ROWS rows of NR, `ldc` apart.
    let row = |row| unsafe { core::slice::from_raw_parts_mut(c.add(row * ldc), NR) };
    for (i, sums) in twice.as_chunks_mut::<{ 2 * NR }>().0.iter_mut().enumerate() {
        sums[..NR].copy_from_slice(row(i));
    }
    // SAFETY: as the caller promises; `twice` has ROWS rows of two panels.
    unsafe { run_1x2(k, a, lda, rows, [b, b], twice.as_mut_ptr(), 2 * NR) };
    for (i, sums) in twice.as_chunks::<{ 2 * NR }>().0.iter().enumerate() {
        row(i).copy_from_slice(&sums[..NR]);
    }
}

/// Adds, for one panel, lane `$lane` of the rows' activations in v0 to v5 times the next step in v6 and v7.
macro_rules! step {
    ($b:literal, $lane:literal: $($low:literal $high:literal $a:literal),+) => {
        concat!(
            "ldp q6, q7, [{", $b, "}], #32\n",
            $("fmla v", $low, ".8h, v6.8h, v", $a, ".h[", $lane, "]\n",
              "fmla v", $high, ".8h, v7.8h, v", $a, ".h[", $lane, "]\n",)+
        )
    };
}

/// One step of both panels: row r of the first is summed in v(8 + 4r) and v(9 + 4r), of the second in the two after.
macro_rules! steps {
    ($lane:literal) => {
        concat!(
            step!("b0", $lane: 8 9 0, 12 13 1, 16 17 2, 20 21 3, 24 25 4, 28 29 5),
            step!("b1", $lane: 10 11 0, 14 15 1, 18 19 2, 22 23 3, 26 27 4, 30 31 5),
        )
    };
}

/// Adds 16 sums to `c` at byte `$at` of the row.
#[rustfmt::skip]
macro_rules! add_to {
    ($at:literal, $at2:literal: $low:literal $high:literal) => {
        concat!(
            "ldp q0, q1, [{c}, #", $at, "]\n",
            "ldp q2, q3, [{c}, #", $at2, "]\n",
            "fcvtl v4.4s, v", $low, ".4h\n",
            "fcvtl2 v5.4s, v", $low, ".8h\n",
            "fcvtl v6.4s, v", $high, ".4h\n",
            "fcvtl2 v7.4s, v", $high, ".8h\n",
            "fadd v0.4s, v0.4s, v4.4s\n",
            "fadd v1.4s, v1.4s, v5.4s\n",
            "fadd v2.4s, v2.4s, v6.4s\n",
            "fadd v3.4s, v3.4s, v7.4s\n",
            "stp q0, q1, [{c}, #", $at, "]\n",
            "stp q2, q3, [{c}, #", $at2, "]\n",
        )
    };
}

/// Adds a row's 32 sums to `c` and goes to the next row.
macro_rules! add_row {
    ($b0:literal $b1:literal $b2:literal $b3:literal) => {
        concat!(
            add_to!(0, 32: $b0 $b1),
            add_to!(64, 96: $b2 $b3),
            "add {c}, {c}, {ldc}\n",
        )
    };
}

/// # Safety
/// As [`MicroKernelFloat::run_1x2`] says, `k` being a multiple of `K_ALIGN`; the CPU has half-precision arithmetic.
#[target_feature(enable = "neon,fp16")]
unsafe fn run_1x2(
    k: usize,
    a: *const f16,
    lda: usize,
    rows: usize,
    b: [*const f16; 2],
    c: *mut f32,
    ldc: usize,
) {
    const { assert!(ROWS == 6 && NR == 16 && LANES == 8 && BLOCK.is_multiple_of(K_ALIGN)) }
    debug_assert!(k.is_multiple_of(K_ALIGN));
    // SAFETY: `a` has `rows` rows, and the last one stands in for those past it.
    let [mut a0, mut a1, mut a2, mut a3, mut a4, mut a5]: [*const f16; ROWS] =
        core::array::from_fn(|row| unsafe { a.add(row.min(rows - 1) * lda) });
    let [mut b0, mut b1] = b;
    let mut left = k;
    while left > 0 {
        let steps = left.min(BLOCK);
        left -= steps;
        // SAFETY: the rows and both panels hold `steps` more steps, a positive multiple of LANES; `c` has ROWS rows of
        // two panels, `ldc` apart. Every register that is written is declared.
        unsafe {
            asm!(
                ".irp i, 8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
                "movi v\\i\\().16b, #0",
                ".endr",
                "2:",
                "ldr q0, [{a0}], #16",
                "ldr q1, [{a1}], #16",
                "ldr q2, [{a2}], #16",
                "ldr q3, [{a3}], #16",
                "ldr q4, [{a4}], #16",
                "ldr q5, [{a5}], #16",
                steps!(0), steps!(1), steps!(2), steps!(3), steps!(4), steps!(5), steps!(6), steps!(7),
                "subs {turns}, {turns}, #1",
                "b.ne 2b",
                add_row!(8 9 10 11), add_row!(12 13 14 15), add_row!(16 17 18 19),
                add_row!(20 21 22 23), add_row!(24 25 26 27), add_row!(28 29 30 31),
                a0 = inout(reg) a0, a1 = inout(reg) a1, a2 = inout(reg) a2,
                a3 = inout(reg) a3, a4 = inout(reg) a4, a5 = inout(reg) a5,
                b0 = inout(reg) b0, b1 = inout(reg) b1,
                c = inout(reg) c => _,
                ldc = in(reg) ldc * size_of::<f32>(),
                turns = inout(reg) steps / LANES => _,
                out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _, out("v6") _,
                out("v7") _, out("v8") _, out("v9") _, out("v10") _, out("v11") _, out("v12") _, out("v13") _,
                out("v14") _, out("v15") _, out("v16") _, out("v17") _, out("v18") _, out("v19") _,
                out("v20") _, out("v21") _, out("v22") _, out("v23") _, out("v24") _, out("v25") _,
                out("v26") _, out("v27") _, out("v28") _, out("v29") _, out("v30") _, out("v31") _,
                options(nostack),
            );
        }
    }
}
