//! Between int8 codes and f32.

use crate::activations::{I8Format, TILE_ROWS};
use crate::layout::NR;
use crate::scalar;
use crate::table::{AccI8, Dequant};
use core::arch::aarch64::*;

/// `y[r][c] = acc[r][c] · rows[r] · cols[c] + bias[c]`. No AArch64 kernel adds an offset to its codes.
///
/// # Safety
/// As [`DequantTile`](crate::table::DequantTile) says; the CPU has NEON.
#[target_feature(enable = "neon")]
pub(in super::super) unsafe fn dequant(
    acc: &AccI8,
    by: &Dequant<'_>,
    rows: usize,
    add: bool,
    out: *mut f32,
    stride: usize,
) {
    debug_assert_eq!(by.excess, 0);
    // SAFETY: as the caller promises.
    unsafe {
        if add {
            dequant_rows::<true>(acc, by, rows, out, stride);
        } else {
            dequant_rows::<false>(acc, by, rows, out, stride);
        }
    }
}

/// # Safety
/// As [`dequant`].
#[inline]
#[target_feature(enable = "neon")]
unsafe fn dequant_rows<const ADD: bool>(
    acc: &AccI8,
    by: &Dequant<'_>,
    rows: usize,
    mut out: *mut f32,
    stride: usize,
) {
    // SAFETY: scales and bias hold NR elements.
    let (cols, bias): ([_; NR / 4], [_; NR / 4]) = unsafe {
        (
            core::array::from_fn(|j| vld1q_f32(by.col_scales.as_ptr().add(4 * j))),
            core::array::from_fn(|j| vld1q_f32(by.bias.as_ptr().add(4 * j))),
        )
    };
    for (acc, &scale) in acc.as_chunks::<NR>().0.iter().zip(by.row_scales).take(rows) {
        for j in 0..NR / 4 {
            // SAFETY: rows of `acc` and `out` hold NR elements.
            unsafe {
                let sum = vcvtq_f32_s32(vld1q_s32(acc.as_ptr().add(4 * j)));
                let y = vfmaq_f32(bias[j], vmulq_n_f32(sum, scale), cols[j]);
                let out = out.add(4 * j);
                vst1q_f32(out, if ADD { vaddq_f32(vld1q_f32(out), y) } else { y });
            }
        }
        out = out.wrapping_add(stride);
    }
}

/// Steps of a tile: `[width/group][row][group]`. Rows that are missing repeat the last one.
///
/// # Safety
/// As [`QuantizeTile`](crate::table::QuantizeTile) says; the CPU has NEON.
#[target_feature(enable = "neon")]
pub(in super::super) unsafe fn quantize_tile(
    format: I8Format,
    x: *const f32,
    width: usize,
    rows: usize,
    inverses: &[f32; TILE_ROWS],
    out: &mut [u8],
) {
    if !matches!(format, I8Format::S8K4 | I8Format::S8K8) {
        // No AArch64 kernel reads the others.
        // SAFETY: as the caller promises.
        return unsafe { scalar::quantize_tile(format, x, width, rows, inverses, out) };
    }
    for (i, out) in out.as_chunks_mut::<{ TILE_ROWS * 16 }>().0.iter_mut().enumerate() {
        let codes: [int8x16_t; TILE_ROWS] = core::array::from_fn(|row| {
            let row = row.min(rows - 1);
            // SAFETY: `x` has `rows` rows of `width`, a multiple of 16.
            let values = unsafe { &*x.add(row * width + 16 * i).cast::<[f32; 16]>() };
            codes(values, inverses[row])
        });
        if format == I8Format::S8K4 { write_k4(codes, out) } else { write_k8(codes, out) }
    }
}

/// Four groups of four codes of each row.
#[inline]
#[target_feature(enable = "neon")]
fn write_k4(codes: [int8x16_t; TILE_ROWS], out: &mut [u8; TILE_ROWS * 16]) {
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
            let at = (2 * half + odd) * TILE_ROWS * 4;
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
fn write_k8(codes: [int8x16_t; TILE_ROWS], out: &mut [u8; TILE_ROWS * 16]) {
    for (pair, [a, b]) in codes.as_chunks().0.iter().enumerate() {
        let (a, b) = (vreinterpretq_s64_s8(*a), vreinterpretq_s64_s8(*b));
        for (group, two) in [vtrn1q_s64(a, b), vtrn2q_s64(a, b)].into_iter().enumerate() {
            // SAFETY: the last group ends at the end of `out`.
            unsafe {
                vst1q_u8(out.as_mut_ptr().add(group * TILE_ROWS * 8 + 16 * pair), vreinterpretq_u8_s64(two));
            }
        }
    }
}

/// `round_half_even(value · inverse)`, saturated to ±127.
#[inline]
#[target_feature(enable = "neon")]
fn codes(values: &[f32; 16], inverse: f32) -> int8x16_t {
    let [a, b, c, d] = core::array::from_fn(|i| {
        // SAFETY: four values each.
        let values = unsafe { vld1q_f32(values.as_ptr().add(4 * i)) };
        vqmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(values, inverse)))
    });
    let codes = vcombine_s8(vqmovn_s16(vcombine_s16(a, b)), vqmovn_s16(vcombine_s16(c, d)));
    vmaxq_s8(codes, vdupq_n_s8(-127))
}
