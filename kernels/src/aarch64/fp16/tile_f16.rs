//! f16 micro-kernel from half-precision FMLA by element. Sums of [`BLOCK`] products are kept in f16, these in f32, so
//! that the rounding error does not grow with `k`.

use crate::layout::NR;
use crate::table::TileFloat;
use core::arch::aarch64::*;
use half::f16;

const ROWS: usize = 8;
/// Steps along `k` whose activations of one row fill a register.
const LANES: usize = 8;
/// Products that are summed in half precision.
const BLOCK: usize = 64;

pub(in super::super) const TILE_F16: TileFloat<f16> =
    TileFloat { name: "f16_gemm_8x16_fp16", tile_rows: ROWS, run: tile_f16, pair: None };

type Acc = [[float16x8_t; NR / 8]; ROWS];

/// # Safety
/// As [`TileFloat::run`] says; the CPU has half-precision arithmetic.
#[target_feature(enable = "neon,fp16")]
unsafe fn tile_f16(k: usize, a: *const f16, lda: usize, rows: usize, b: *const f16, c: *mut f32, ldc: usize) {
    // SAFETY: `a` has `rows` rows, and the last one stands in for those past it.
    let mut a: [*const u16; ROWS] =
        core::array::from_fn(|row| unsafe { a.add(row.min(rows - 1) * lda) }.cast());
    let mut b = b.cast::<u16>();
    let mut left = k;
    while left > 0 {
        let steps = left.min(BLOCK);
        left -= steps;
        let mut acc: Acc = [[vreinterpretq_f16_u16(vdupq_n_u16(0)); NR / 8]; ROWS];
        for _ in 0..steps / LANES {
            // SAFETY: rows and panel hold LANES more steps.
            unsafe {
                let values = a.map(|a| load(a));
                add_step::<0>(&mut acc, &values, b);
                add_step::<1>(&mut acc, &values, b.add(NR));
                add_step::<2>(&mut acc, &values, b.add(2 * NR));
                add_step::<3>(&mut acc, &values, b.add(3 * NR));
                add_step::<4>(&mut acc, &values, b.add(4 * NR));
                add_step::<5>(&mut acc, &values, b.add(5 * NR));
                add_step::<6>(&mut acc, &values, b.add(6 * NR));
                add_step::<7>(&mut acc, &values, b.add(7 * NR));
                (a, b) = (a.map(|a| a.add(LANES)), b.add(LANES * NR));
            }
        }
        for _ in steps / LANES * LANES..steps {
            // SAFETY: rows and panel hold another step.
            unsafe {
                let values = a.map(|a| vreinterpretq_f16_u16(vdupq_n_u16(*a)));
                add_step::<0>(&mut acc, &values, b);
                (a, b) = (a.map(|a| a.add(1)), b.add(NR));
            }
        }
        for (row, acc) in acc.iter().enumerate() {
            for (j, &acc) in acc.iter().enumerate() {
                // SAFETY: `c` has ROWS rows of NR.
                unsafe {
                    let c = c.add(row * ldc + 8 * j);
                    vst1q_f32(c, vaddq_f32(vld1q_f32(c), vcvt_f32_f16(vget_low_f16(acc))));
                    let c = c.add(4);
                    vst1q_f32(c, vaddq_f32(vld1q_f32(c), vcvt_high_f32_f16(acc)));
                }
            }
        }
    }
}

/// Adds lane `LANE` of every row times one step of the panel.
///
/// # Safety
/// `b` holds NR elements.
#[inline]
#[target_feature(enable = "neon,fp16")]
unsafe fn add_step<const LANE: i32>(acc: &mut Acc, a: &[float16x8_t; ROWS], b: *const u16) {
    // SAFETY: as the caller promises.
    let b: [float16x8_t; NR / 8] = core::array::from_fn(|j| unsafe { load(b.add(8 * j)) });
    for (acc, &a) in acc.iter_mut().zip(a) {
        for (acc, &b) in acc.iter_mut().zip(&b) {
            *acc = vfmaq_laneq_f16::<LANE>(*acc, b, a);
        }
    }
}

/// # Safety
/// `from` holds eight elements.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn load(from: *const u16) -> float16x8_t {
    // SAFETY: as the caller promises.
    vreinterpretq_f16_u16(unsafe { vld1q_u16(from) })
}
