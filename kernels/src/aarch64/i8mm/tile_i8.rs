//! int8 micro-kernel from SMMLA, which multiplies 2 rows × 8 `k` by 8 `k` × 2 channels. Two groups of four `k` of a
//! panel make the eight of two channels through one `zip`.

use super::super::asm::smmla;
use crate::activations::{I8Format, TILE_ROWS};
use crate::layout::{K_ALIGN, K_GROUP, NR};
use crate::table::{AccI8, TileI8};
use core::arch::aarch64::*;
use core::sync::atomic::{Ordering, compiler_fence};

pub(in super::super) const TILE_I8: TileI8 =
    TileI8 { name: "i8_gemm_6x16c8_i8mm", format: I8Format::S8K8, run: tile_i8, quad: None, prepare: None };

/// Consecutive `k` that one SMMLA multiplies.
const STEP: usize = 2 * K_GROUP;

/// `[j][i]` holds rows 2i, 2i + 1 of channels 2j, 2j + 1.
type Acc = [[int32x4_t; TILE_ROWS / 2]; NR / 2];

/// # Safety
/// As [`TileI8::run`] says; the CPU has i8mm.
#[target_feature(enable = "neon,i8mm")]
unsafe fn tile_i8(k: usize, a: *const u8, b: *const i8, out: &mut AccI8) {
    let mut acc: Acc = [[vdupq_n_s32(0); TILE_ROWS / 2]; NR / 2];
    for step in 0..k / K_ALIGN {
        for half in 0..2 {
            let step = 2 * step + half;
            // SAFETY: `k` is a multiple of 16, so a group of the tile and two of the panel start here.
            unsafe { add_group(&mut acc, a.add(step * STEP * TILE_ROWS), b.add(step * STEP * NR)) }
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
/// `a` holds a group of eight of TILE_ROWS rows, `b` two groups of four of NR channels.
#[inline]
#[target_feature(enable = "neon,i8mm")]
unsafe fn add_group(acc: &mut Acc, a: *const u8, b: *const i8) {
    // SAFETY: as the caller promises.
    unsafe {
        let a: [int8x16_t; TILE_ROWS / 2] = core::array::from_fn(|i| vld1q_s8(a.cast::<i8>().add(16 * i)));
        for (j, acc) in acc.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            // Eight channels at a time, loaded no earlier: the sums and `a` leave five registers.
            compiler_fence(Ordering::SeqCst);
            let b = b.add(32 * j);
            let b0 = [load(b), load(b.add(16))];
            let b1 = [load(b.add(64)), load(b.add(80))];
            for (i, acc) in acc.as_chunks_mut::<2>().0.iter_mut().enumerate() {
                let pairs = [vzip1q_s32(b0[i], b1[i]), vzip2q_s32(b0[i], b1[i])];
                for (acc, b) in acc.iter_mut().zip(pairs) {
                    for (acc, &a) in acc.iter_mut().zip(&a) {
                        *acc = smmla(*acc, a, vreinterpretq_s8_s32(b));
                    }
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
