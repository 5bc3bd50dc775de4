//! From the sums of an int8 GEMM to f32.

use crate::pack::NR;
use crate::table::{AccI8, DequantizeBy};
use core::arch::aarch64::*;

/// `y[r][c] = (acc[r][c] − lhs[r].zero_point · rhs_sums[c]) · lhs[r].scale · rhs_scales[c] + bias[c]`, the last two fused.
///
/// # Safety
/// As [`DequantizeTile`](crate::table::DequantizeTile) says; the CPU has NEON.
#[target_feature(enable = "neon")]
pub(in super::super) unsafe fn dequantize_tile(
    acc: &AccI8,
    by: &DequantizeBy<'_>,
    rows: usize,
    add: bool,
    out: *mut f32,
    stride: usize,
) {
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
/// As [`dequantize_tile`].
#[inline]
#[target_feature(enable = "neon")]
unsafe fn dequant_rows<const ADD: bool>(
    acc: &AccI8,
    by: &DequantizeBy<'_>,
    rows: usize,
    mut out: *mut f32,
    stride: usize,
) {
    // SAFETY: sums, scales and bias hold NR elements.
    let (sums, cols, bias): ([_; NR / 4], [_; NR / 4], [_; NR / 4]) = unsafe {
        (
            core::array::from_fn(|j| vld1q_s32(by.rhs_sums.as_ptr().add(4 * j))),
            core::array::from_fn(|j| vld1q_f32(by.rhs_scales.as_ptr().add(4 * j))),
            core::array::from_fn(|j| vld1q_f32(by.bias.as_ptr().add(4 * j))),
        )
    };
    for (acc, lhs) in acc.as_chunks::<NR>().0.iter().zip(by.lhs).take(rows) {
        for j in 0..NR / 4 {
            // SAFETY: rows of `acc` and `out` hold NR elements.
            unsafe {
                let sum = vmlsq_n_s32(vld1q_s32(acc.as_ptr().add(4 * j)), sums[j], lhs.zero_point);
                let y = vfmaq_f32(bias[j], vmulq_n_f32(vcvtq_f32_s32(sum), lhs.scale), cols[j]);
                let out = out.add(4 * j);
                vst1q_f32(out, if ADD { vaddq_f32(vld1q_f32(out), y) } else { y });
            }
        }
        out = out.wrapping_add(stride);
    }
}
