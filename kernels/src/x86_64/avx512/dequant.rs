//! Between int8 codes and f32: the scalar results to the bit.

use crate::activations::TILE_ROWS;
use crate::layout::NR;
use crate::table::{AccI8, Dequant};
use core::arch::x86_64::*;

/// `y[r][c] = (acc[r][c] − excess · sums[c]) · (rows[r] · cols[c]) + bias[c]`, unfused as in scalar code.
///
/// # Safety
/// As [`DequantTile`](crate::table::DequantTile) says; the CPU has AVX-512 F.
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn dequant(
    acc: &AccI8,
    by: &Dequant<'_>,
    rows: usize,
    add: bool,
    out: *mut f32,
    stride: usize,
) {
    // SAFETY: NR elements each.
    let (sums, cols, bias) = unsafe {
        (
            _mm512_loadu_si512(by.sums.as_ptr().cast()),
            _mm512_loadu_ps(by.col_scales.as_ptr()),
            _mm512_loadu_ps(by.bias.as_ptr()),
        )
    };
    let excess = _mm512_mullo_epi32(_mm512_set1_epi32(by.excess), sums);
    for row in 0..rows.min(TILE_ROWS) {
        let scale = _mm512_mul_ps(_mm512_set1_ps(by.row_scales[row]), cols);
        // SAFETY: `acc` holds TILE_ROWS rows of NR, `out` `rows` of them, `stride` apart.
        unsafe {
            let sum = _mm512_loadu_si512(acc.as_ptr().add(row * NR).cast());
            let sum = _mm512_cvtepi32_ps(_mm512_sub_epi32(sum, excess));
            let y = _mm512_add_ps(_mm512_mul_ps(sum, scale), bias);
            let out = out.add(row * stride);
            _mm512_storeu_ps(out, if add { _mm512_add_ps(_mm512_loadu_ps(out), y) } else { y });
        }
    }
}
