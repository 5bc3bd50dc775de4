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
    debug_assert_eq!(by.offset, 0);
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

/// As [`scalar::quantize_row`], to the bit.
///
/// # Safety
/// `values` holds whole groups and `out` reaches the end of the last one; the CPU has NEON.
#[target_feature(enable = "neon")]
pub(in super::super) unsafe fn quantize_row(format: I8Format, values: &[f32], inverse: f32, out: &mut [u8]) {
    let group = format.group();
    match format {
        I8Format::S8K4 | I8Format::S8K8 => {}
        // No AArch64 kernel reads these.
        I8Format::U8K4 | I8Format::S16K4 => return scalar::quantize_row(format, values, inverse, out),
    }
    let step = TILE_ROWS * group;
    assert!(out.len() + step >= values.len() / group * step + group, "room for every group");
    let (blocks, rest) = values.as_chunks::<16>();
    debug_assert!(rest.is_empty(), "padded to a multiple of 16");
    for (i, block) in blocks.iter().enumerate() {
        // SAFETY: a block holds 16 values; its groups end within `out`, as asserted.
        unsafe {
            let codes = codes(block, inverse);
            let out = out.as_mut_ptr().add(i * 16 / group * step);
            if group == 4 {
                let codes = vreinterpretq_u32_s8(codes);
                out.cast::<u32>().write_unaligned(vgetq_lane_u32::<0>(codes));
                out.add(step).cast::<u32>().write_unaligned(vgetq_lane_u32::<1>(codes));
                out.add(2 * step).cast::<u32>().write_unaligned(vgetq_lane_u32::<2>(codes));
                out.add(3 * step).cast::<u32>().write_unaligned(vgetq_lane_u32::<3>(codes));
            } else {
                let codes = vreinterpretq_u64_s8(codes);
                out.cast::<u64>().write_unaligned(vgetq_lane_u64::<0>(codes));
                out.add(step).cast::<u64>().write_unaligned(vgetq_lane_u64::<1>(codes));
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
