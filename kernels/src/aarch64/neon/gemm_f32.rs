//! f32 micro-kernel from FMLA by element.

use crate::pack::NR;
use crate::table::KC_F32;
use crate::table::MicroKernelFloat;
use core::arch::aarch64::*;

const ROWS: usize = 6;
/// Steps along `k` whose activations of one row fill a register.
const LANES: usize = 4;

pub(in super::super) const GEMM_F32: MicroKernelFloat<f32> =
    MicroKernelFloat { name: "f32_gemm_6x16_neon", mr: ROWS, kc: KC_F32, run, run_1x2: None };

type Acc = [[float32x4_t; NR / 4]; ROWS];

/// # Safety
/// As [`MicroKernelFloat::run`] says; the CPU has NEON.
#[target_feature(enable = "neon")]
unsafe fn run(k: usize, a: *const f32, lda: usize, rows: usize, b: *const f32, c: *mut f32, ldc: usize) {
    // SAFETY: `a` has `rows` rows, and the last one stands in for those past it; `c` has ROWS rows.
    let (a, c): ([*const f32; ROWS], [*mut f32; ROWS]) = unsafe {
        (
            core::array::from_fn(|row| a.add(row.min(rows - 1) * lda)),
            core::array::from_fn(|row| c.add(row * ldc)),
        )
    };
    // SAFETY: each row of `c` holds NR elements.
    let mut acc: Acc = c.map(|c| core::array::from_fn(|j| unsafe { vld1q_f32(c.add(4 * j)) }));
    for step in 0..k / LANES {
        // SAFETY: rows and panel hold LANES more steps.
        unsafe {
            let b = b.add(step * LANES * NR);
            let a = a.map(|a| vld1q_f32(a.add(step * LANES)));
            add_step::<0>(&mut acc, &a, b);
            add_step::<1>(&mut acc, &a, b.add(NR));
            add_step::<2>(&mut acc, &a, b.add(2 * NR));
            add_step::<3>(&mut acc, &a, b.add(3 * NR));
        }
    }
    for i in k / LANES * LANES..k {
        // SAFETY: rows and panel hold `k > i` steps.
        unsafe { add_step::<0>(&mut acc, &a.map(|a| vdupq_n_f32(*a.add(i))), b.add(i * NR)) }
    }
    for (acc, c) in acc.iter().zip(c) {
        for (j, &acc) in acc.iter().enumerate() {
            // SAFETY: each row of `c` holds NR elements, to be written.
            unsafe { vst1q_f32(c.add(4 * j), acc) }
        }
    }
}

/// Adds lane `LANE` of every row times one step of the panel.
///
/// # Safety
/// `b` holds NR elements.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn add_step<const LANE: i32>(acc: &mut Acc, a: &[float32x4_t; ROWS], b: *const f32) {
    for j in 0..NR / 4 {
        // SAFETY: as the caller promises.
        let b = unsafe { vld1q_f32(b.add(4 * j)) };
        for (acc, &a) in acc.iter_mut().zip(a) {
            acc[j] = vfmaq_laneq_f32::<LANE>(acc[j], b, a);
        }
    }
}
