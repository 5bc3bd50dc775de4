//! int8 micro-kernel from SMMLA, which multiplies 2 rows × 8 `k` by 8 `k` × 2 channels. Two groups of four `k` of a
//! panel become the eight of each channel once per panel, for all tiles of rows.

use super::super::asm::smmla;
use crate::pack::{K_ALIGN, K_GROUP, LhsCodes, MR, NR};
use crate::table::{AccI8, MicroKernelI8, RunI8};
use core::arch::aarch64::*;
use core::sync::atomic::{Ordering, compiler_fence};

pub(in super::super) const GEMM_I8: MicroKernelI8 = MicroKernelI8 {
    name: "i8_gemm_6x16c8_i8mm",
    lhs: LhsCodes::S8K8,
    offset: 0,
    run: RunI8::Tile(run),
    order: None,
    repack: Some(join_groups),
};

/// Consecutive `k` that one SMMLA multiplies.
const STEP: usize = 2 * K_GROUP;

/// `[j][i]` holds rows 2i, 2i + 1 of channels 2j, 2j + 1.
type Acc = [[int32x4_t; MR / 2]; NR / 2];

/// Turns `[k/4][channel][4]` into `[k/8][channel][8]`.
///
/// # Safety
/// `b` and `joined` hold `k` steps of a panel, `k` a multiple of 8; the CPU has i8mm.
#[target_feature(enable = "neon,i8mm")]
unsafe fn join_groups(k: usize, b: *const i8, _order: &[u8], joined: *mut i8) {
    for step in 0..k / STEP {
        for quarter in 0..NR / 4 {
            // SAFETY: two groups of four channels each, and the eight `k` of these channels, lie inside.
            unsafe {
                let b = b.add(step * STEP * NR + 16 * quarter);
                let joined = joined.add(step * STEP * NR + 32 * quarter);
                vst2q_s32(joined.cast(), int32x4x2_t(load(b), load(b.add(K_GROUP * NR))));
            }
        }
    }
}

/// # Safety
/// As [`RunI8::Tile`] says, the panel being one of [`join_groups`]; the CPU has i8mm.
#[target_feature(enable = "neon,i8mm")]
unsafe fn run(k: usize, a: *const u8, b: *const i8, out: &mut AccI8) {
    let mut acc: Acc = [[vdupq_n_s32(0); MR / 2]; NR / 2];
    for step in 0..k / K_ALIGN {
        // SAFETY: `k` is a multiple of 16, so two groups of eight of both panels start here.
        unsafe {
            let (a, b) = (a.add(step * K_ALIGN * MR), b.add(step * K_ALIGN * NR));
            add_group(&mut acc, a, b);
            add_group(&mut acc, a.add(STEP * MR), b.add(STEP * NR));
        }
    }
    for (i, out) in out.as_chunks_mut::<{ 2 * NR }>().0.iter_mut().enumerate() {
        for j in 0..NR / 4 {
            let [left, right] = [acc[2 * j][i], acc[2 * j + 1][i]].map(|pair| vreinterpretq_s64_s32(pair));
            // SAFETY: `out` has two rows of NR; four elements of each are written.
            unsafe {
                vst1q_s32(out.as_mut_ptr().add(4 * j), vreinterpretq_s32_s64(vzip1q_s64(left, right)));
                vst1q_s32(out.as_mut_ptr().add(NR + 4 * j), vreinterpretq_s32_s64(vzip2q_s64(left, right)));
            }
        }
    }
}

/// Adds the products of eight `k`.
///
/// # Safety
/// `a` holds a group of eight of MR rows, `b` one of NR channels.
#[inline]
#[target_feature(enable = "neon,i8mm")]
unsafe fn add_group(acc: &mut Acc, a: *const u8, b: *const i8) {
    // SAFETY: as the caller promises.
    unsafe {
        let a: [int8x16_t; MR / 2] = core::array::from_fn(|i| vld1q_s8(a.cast::<i8>().add(16 * i)));
        for (j, acc) in acc.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            // Eight channels at a time, loaded no earlier: the sums and `a` leave five registers.
            compiler_fence(Ordering::SeqCst);
            let b: [int8x16_t; 4] = core::array::from_fn(|i| vld1q_s8(b.add(64 * j + 16 * i)));
            for (acc, b) in acc.iter_mut().zip(b) {
                for (acc, &a) in acc.iter_mut().zip(&a) {
                    *acc = smmla(*acc, a, b);
                }
            }
        }
    }
}

/// Four channels' groups of four codes.
///
/// # Safety
/// `b` holds 16 bytes.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn load(b: *const i8) -> int32x4_t {
    // SAFETY: as the caller promises; a load of bytes needs no alignment.
    vreinterpretq_s32_s8(unsafe { vld1q_s8(b) })
}
