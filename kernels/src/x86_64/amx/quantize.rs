//! From f32 to int8 codes in rows: the scalar results to the bit.

use crate::pack::{LhsCodes, MR};
use crate::table::QuantizeBy;
use crate::x86_64::avx2;
use core::arch::x86_64::*;

/// Rows of codes, `stride` apart.
///
/// # Safety
/// As [`QuantizePanel`](crate::table::QuantizePanel) says; the CPU has AVX-512 F, BW and VL.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) unsafe fn quantize_panel(
    form: LhsCodes,
    x: *const f32,
    width: usize,
    rows: usize,
    by: &[QuantizeBy; MR],
    out: &mut [u8],
    stride: usize,
) {
    if form != LhsCodes::S8Rows {
        // SAFETY: as the caller promises.
        return unsafe { avx2::quantize_panel(form, x, width, rows, by, out, stride) };
    }
    for (row, by) in by.iter().enumerate().take(rows) {
        let (inverse, zero_point) = (_mm512_set1_ps(by.inverse), _mm256_set1_epi16(by.zero_point as i16));
        for i in (0..width).step_by(16) {
            // SAFETY: `x` has `rows` rows of `width`, a multiple of 16, and `out` as many codes of each.
            unsafe {
                // The conversion rounds ties to even: Rust never changes the rounding mode.
                let code =
                    _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x.add(row * width + i)), inverse));
                let code = _mm256_adds_epi16(_mm512_cvtsepi32_epi16(code), zero_point);
                let code = _mm_max_epi8(_mm256_cvtsepi16_epi8(code), _mm_set1_epi8(-127));
                _mm_storeu_si128(out.as_mut_ptr().add(row * stride + i).cast(), code);
            }
        }
    }
}
