//! From f32 to int8 codes: the scalar results to the bit.

use crate::pack::{LhsCodes, MR};
use crate::scalar;
use crate::table::QuantizeBy;
use core::arch::aarch64::*;

/// Steps of an LHS panel: `[width/group][row][group]`. Rows that are missing repeat the last one.
///
/// # Safety
/// As [`QuantizePanel`](crate::table::QuantizePanel) says; the CPU has NEON.
#[target_feature(enable = "neon")]
pub(in super::super) unsafe fn quantize_panel(
    form: LhsCodes,
    x: *const f32,
    width: usize,
    rows: usize,
    by: &[QuantizeBy; MR],
    out: &mut [u8],
    stride: usize,
) {
    // SAFETY: as the caller promises, in each.
    unsafe {
        match form {
            LhsCodes::S8K4 => quantize_by(x, width, rows, by, out, |codes, out| write_k4(codes, out)),
            LhsCodes::S8K8 => quantize_by(x, width, rows, by, out, |codes, out| write_k8(codes, out)),
            LhsCodes::S8K16 => quantize_by(x, width, rows, by, out, |codes, out| write_k16(codes, out)),
            // No AArch64 kernel reads the others.
            LhsCodes::U8K4 | LhsCodes::S8Rows | LhsCodes::BothK4 => {
                scalar::quantize_panel(form, x, width, rows, by, out, stride)
            }
        }
    }
}

/// Sixteen columns of all rows at a time, each written by `write`.
///
/// # Safety
/// As [`quantize_panel`].
#[inline]
#[target_feature(enable = "neon")]
unsafe fn quantize_by(
    x: *const f32,
    width: usize,
    rows: usize,
    by: &[QuantizeBy; MR],
    out: &mut [u8],
    write: impl Fn([int8x16_t; MR], &mut [u8; MR * 16]),
) {
    for (i, out) in out.as_chunks_mut::<{ MR * 16 }>().0.iter_mut().enumerate() {
        let codes: [int8x16_t; MR] = core::array::from_fn(|row| {
            let row = row.min(rows - 1);
            // SAFETY: `x` has `rows` rows of `width`, a multiple of 16.
            let values = unsafe { &*x.add(row * width + 16 * i).cast::<[f32; 16]>() };
            codes(values, &by[row])
        });
        write(codes, out);
    }
}

/// Four groups of four codes of each row.
#[inline]
#[target_feature(enable = "neon")]
fn write_k4(codes: [int8x16_t; MR], out: &mut [u8; MR * 16]) {
    let [a, b, c, d, e, f] = codes.map(|codes| vreinterpretq_s32_s8(codes));
    // A transposition of 4 × 4 groups, then of 2 × 4.
    let (ab, cd, ef) = (
        [vtrn1q_s32(a, b), vtrn2q_s32(a, b)].map(|x| vreinterpretq_s64_s32(x)),
        [vtrn1q_s32(c, d), vtrn2q_s32(c, d)].map(|x| vreinterpretq_s64_s32(x)),
        [vtrn1q_s32(e, f), vtrn2q_s32(e, f)].map(|x| vreinterpretq_s64_s32(x)),
    );
    for odd in 0..2 {
        let four = [vtrn1q_s64(ab[odd], cd[odd]), vtrn2q_s64(ab[odd], cd[odd])];
        let two = [vget_low_s64(ef[odd]), vget_high_s64(ef[odd])];
        for (half, (four, two)) in four.into_iter().zip(two).enumerate() {
            let at = (2 * half + odd) * MR * 4;
            // SAFETY: the last group ends at the end of `out`.
            unsafe {
                vst1q_u8(out.as_mut_ptr().add(at), vreinterpretq_u8_s64(four));
                vst1_u8(out.as_mut_ptr().add(at + 16), vreinterpret_u8_s64(two));
            }
        }
    }
}

/// Two groups of eight codes of each row.
#[inline]
#[target_feature(enable = "neon")]
fn write_k8(codes: [int8x16_t; MR], out: &mut [u8; MR * 16]) {
    for (pair, [a, b]) in codes.as_chunks().0.iter().enumerate() {
        let (a, b) = (vreinterpretq_s64_s8(*a), vreinterpretq_s64_s8(*b));
        for (group, two) in [vtrn1q_s64(a, b), vtrn2q_s64(a, b)].into_iter().enumerate() {
            // SAFETY: the last group ends at the end of `out`.
            unsafe {
                vst1q_u8(out.as_mut_ptr().add(group * MR * 8 + 16 * pair), vreinterpretq_u8_s64(two));
            }
        }
    }
}

/// A group of sixteen codes of each row.
#[inline]
#[target_feature(enable = "neon")]
fn write_k16(codes: [int8x16_t; MR], out: &mut [u8; MR * 16]) {
    for (codes, out) in codes.into_iter().zip(out.as_chunks_mut::<16>().0) {
        // SAFETY: sixteen bytes to write.
        unsafe { vst1q_u8(out.as_mut_ptr(), vreinterpretq_u8_s8(codes)) };
    }
}

/// `round_half_even(value · inverse) + zero_point`, saturated to ±127.
#[inline]
#[target_feature(enable = "neon")]
fn codes(values: &[f32; 16], by: &QuantizeBy) -> int8x16_t {
    let [a, b, c, d] = core::array::from_fn(|i| {
        // SAFETY: four values each.
        let values = unsafe { vld1q_f32(values.as_ptr().add(4 * i)) };
        vqmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(values, by.inverse)))
    });
    let zero_point = vdupq_n_s16(by.zero_point as i16);
    let half = |a, b| vqmovn_s16(vqaddq_s16(vcombine_s16(a, b), zero_point));
    let codes = vcombine_s8(half(a, b), half(c, d));
    vmaxq_s8(codes, vdupq_n_s8(-127))
}
