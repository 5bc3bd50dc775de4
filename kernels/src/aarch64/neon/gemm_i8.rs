//! int8 micro-kernel from widening multiplies: per two groups of four `k`, SMULL and SMLAL leave sums of two products
//! in i16, where they fit because no activation is −128, and SADALP adds pairs of those into i32.

use super::super::asm::opaque;
use crate::pack::{K_GROUP, LhsCodes, MR, NR};
use crate::table::{AccI8, MicroKernelI8};
use core::arch::aarch64::*;
use core::sync::atomic::{Ordering, compiler_fence};

pub(in super::super) const GEMM_I8: MicroKernelI8 = MicroKernelI8 {
    name: "i8_gemm_6x16c4_neon",
    lhs: LhsCodes::S8K4,
    offset: 0,
    run,
    run_2x2: None,
    repack: None,
};

/// Rows at a time: 2 × 8 accumulators, each of two channels, leave room for the panel and products in flight.
const ROWS: usize = 2;

/// # Safety
/// As [`MicroKernelI8::run`] says; the CPU has NEON.
#[target_feature(enable = "neon")]
unsafe fn run(k: usize, a: *const u8, b: *const i8, acc: &mut AccI8) {
    for (i, acc) in acc.as_chunks_mut::<{ ROWS * NR }>().0.iter_mut().enumerate() {
        // SAFETY: as the caller promises; the rows are `K_GROUP` bytes apart.
        unsafe { rows_i8(k, a.add(i * ROWS * K_GROUP), b, acc) }
    }
}

/// # Safety
/// As [`run`], with `a` at the first of `ROWS` rows of the LHS panel.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn rows_i8(k: usize, a: *const u8, b: *const i8, out: &mut [i32; ROWS * NR]) {
    let mut acc = [[vdupq_n_s32(0); NR / 2]; ROWS];
    for step in 0..k / (2 * K_GROUP) {
        // SAFETY: `k` is a multiple of 16, so two groups of both panels start here.
        unsafe {
            let b = b.add(step * 2 * K_GROUP * NR);
            let a = a.add(step * 2 * K_GROUP * MR);
            let a0: [int8x16_t; ROWS] = core::array::from_fn(|row| repeat(a.add(row * K_GROUP)));
            let a1: [int8x16_t; ROWS] = core::array::from_fn(|row| repeat(a.add((MR + row) * K_GROUP)));
            for half in 0..2 {
                // Half of the panel's channels at a time: loaded earlier, the other half would crowd out sums.
                compiler_fence(Ordering::SeqCst);
                let b = b.add(32 * half);
                let b0 = [vld1q_s8(b), vld1q_s8(b.add(16))];
                let b1 = [vld1q_s8(b.add(64)), vld1q_s8(b.add(80))];
                for row in 0..ROWS {
                    let acc = &mut acc[row][4 * half..][..4];
                    for j in 0..2 {
                        let low = vmull_s8(vget_low_s8(b0[j]), vget_low_s8(a0[row]));
                        let low = vmlal_s8(low, vget_low_s8(b1[j]), vget_low_s8(a1[row]));
                        acc[2 * j] = vpadalq_s16(acc[2 * j], low);
                        let high = vmull_high_s8(b0[j], a0[row]);
                        let high = vmlal_high_s8(high, b1[j], a1[row]);
                        acc[2 * j + 1] = vpadalq_s16(acc[2 * j + 1], high);
                    }
                }
            }
        }
    }
    for (acc, out) in acc.iter().zip(out.as_chunks_mut::<NR>().0) {
        for (acc, out) in acc.as_chunks::<2>().0.iter().zip(out.as_chunks_mut::<4>().0) {
            // SAFETY: four elements to write.
            unsafe { vst1q_s32(out.as_mut_ptr(), vpaddq_s32(acc[0], acc[1])) }
        }
    }
}

/// The group of four codes at `a`, four times.
///
/// # Safety
/// `a` holds four bytes.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn repeat(a: *const u8) -> int8x16_t {
    // SAFETY: as the caller promises; any alignment will do.
    opaque(vreinterpretq_s8_s32(vdupq_n_s32(unsafe { a.cast::<i32>().read_unaligned() })))
}
