//! From the sums of an int8 GEMM to f32: the scalar results to the bit.

use crate::pack::{MR, NR};
use crate::table::{AccI8, DequantizeBy};
use core::arch::x86_64::*;

/// `y[r][c] = (acc[r][c] − zero_point · rhs_sums[c]) · (lhs_scales[r] · rhs_scales[c]) + bias[c]`, unfused as in scalar code.
///
/// # Safety
/// As [`DequantizeTile`](crate::table::DequantizeTile) says; the CPU has AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn dequantize_tile(
    acc: &AccI8,
    by: &DequantizeBy<'_>,
    rows: usize,
    add: bool,
    out: *mut f32,
    stride: usize,
) {
    let factor = _mm256_set1_epi32(by.zero_point);
    for at in [0, 8] {
        // SAFETY: `at + 8 <= NR`, the length of each.
        let (sums, cols, bias) = unsafe {
            (
                _mm256_loadu_si256(by.rhs_sums.as_ptr().add(at).cast()),
                _mm256_loadu_ps(by.rhs_scales.as_ptr().add(at)),
                _mm256_loadu_ps(by.bias.as_ptr().add(at)),
            )
        };
        let zero_point = _mm256_mullo_epi32(factor, sums);
        for row in 0..rows.min(MR) {
            let scale = _mm256_mul_ps(_mm256_set1_ps(by.lhs_scales[row]), cols);
            // SAFETY: `row · NR + at + 8 <= MR · NR`, the length of `acc`; `out` has `rows` rows of NR.
            unsafe {
                let sum = _mm256_loadu_si256(acc.as_ptr().add(row * NR + at).cast());
                let sum = _mm256_cvtepi32_ps(_mm256_sub_epi32(sum, zero_point));
                let y = _mm256_add_ps(_mm256_mul_ps(sum, scale), bias);
                let out = out.add(row * stride + at);
                _mm256_storeu_ps(out, if add { _mm256_add_ps(_mm256_loadu_ps(out), y) } else { y });
            }
        }
    }
}
