//! From the sums of an int8 GEMM to f32: the scalar results to the bit.

use crate::pack::NR;
use crate::table::{AccI8, DequantizeBy};
use core::arch::x86_64::*;

/// `y[r][c] = (acc[r][c] − lhs[r].zero_point · rhs_sums[c]) · (lhs[r].scale · rhs_scales[c]) + bias[c]`, unfused as in
/// scalar code.
///
/// # Safety
/// As [`DequantizeTile`](crate::table::DequantizeTile) says; the CPU has AVX-512 F.
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn dequantize_tile(
    acc: &AccI8,
    by: &DequantizeBy<'_>,
    rows: usize,
    add: bool,
    out: *mut f32,
    stride: usize,
) {
    // SAFETY: NR elements each.
    let (sums, cols, bias) = unsafe {
        (
            _mm512_loadu_si512(by.rhs_sums.as_ptr().cast()),
            _mm512_loadu_ps(by.rhs_scales.as_ptr()),
            _mm512_loadu_ps(by.bias.as_ptr()),
        )
    };
    for (row, lhs) in by.lhs.iter().enumerate().take(rows) {
        let scale = _mm512_mul_ps(_mm512_set1_ps(lhs.scale), cols);
        // SAFETY: `acc` holds MR rows of NR, `out` `rows` of them, `stride` apart.
        unsafe {
            let zero = _mm512_mullo_epi32(_mm512_set1_epi32(lhs.zero_point), sums);
            let sum = _mm512_loadu_si512(acc.as_ptr().add(row * NR).cast());
            let sum = _mm512_cvtepi32_ps(_mm512_sub_epi32(sum, zero));
            let y = _mm512_add_ps(_mm512_mul_ps(sum, scale), bias);
            let out = out.add(row * stride);
            _mm512_storeu_ps(out, if add { _mm512_add_ps(_mm512_loadu_ps(out), y) } else { y });
        }
    }
}
