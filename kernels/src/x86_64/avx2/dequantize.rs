//! From the sums of an int8 GEMM to f32: the scalar results to the bit.

use crate::pack::NR;
use crate::table::{AccI8, DequantizeBy};
use core::arch::x86_64::*;

/// `y[r][c] = (acc[r][c] − lhs[r].zero_point · rhs_sums[c]) · (lhs[r].scale · rhs_scales[c]) + bias[c]`, unfused as in
/// scalar code.
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
    for at in [0, 8] {
        // SAFETY: `at + 8 <= NR`, the length of each.
        let (sums, cols, bias) = unsafe {
            (
                _mm256_loadu_si256(by.rhs_sums.as_ptr().add(at).cast()),
                _mm256_loadu_ps(by.rhs_scales.as_ptr().add(at)),
                _mm256_loadu_ps(by.bias.as_ptr().add(at)),
            )
        };
        for (row, lhs) in by.lhs.iter().enumerate().take(rows) {
            let scale = _mm256_mul_ps(_mm256_set1_ps(lhs.scale), cols);
            // SAFETY: `row · NR + at + 8 <= MR · NR`, the length of `acc`; `out` has `rows` rows of NR.
            unsafe {
                let zero = _mm256_mullo_epi32(_mm256_set1_epi32(lhs.zero_point), sums);
                let sum = _mm256_loadu_si256(acc.as_ptr().add(row * NR + at).cast());
                let sum = _mm256_cvtepi32_ps(_mm256_sub_epi32(sum, zero));
                let y = _mm256_add_ps(_mm256_mul_ps(sum, scale), bias);
                let out = out.add(row * stride + at);
                _mm256_storeu_ps(out, if add { _mm256_add_ps(_mm256_loadu_ps(out), y) } else { y });
            }
        }
    }
}
