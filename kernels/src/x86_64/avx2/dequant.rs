//! Between int8 codes and f32: the scalar results to the bit.

use crate::activations::{I8Format, TILE_ROWS};
use crate::layout::NR;
use crate::scalar;
use crate::table::{AccI8, Dequant};
use core::arch::x86_64::*;

/// `y[r][c] = (acc[r][c] − offset · sums[c]) · (rows[r] · cols[c]) + bias[c]`, unfused as in scalar code.
///
/// # Safety
/// As [`DequantTile`](crate::table::DequantTile) says; the CPU has AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn dequant(
    acc: &AccI8,
    by: &Dequant<'_>,
    rows: usize,
    add: bool,
    out: *mut f32,
    stride: usize,
) {
    let offset = _mm256_set1_epi32(by.offset);
    for at in [0, 8] {
        // SAFETY: `at + 8 <= NR`, the length of each.
        let (sums, cols, bias) = unsafe {
            (
                _mm256_loadu_si256(by.sums.as_ptr().add(at).cast()),
                _mm256_loadu_ps(by.col_scales.as_ptr().add(at)),
                _mm256_loadu_ps(by.bias.as_ptr().add(at)),
            )
        };
        let excess = _mm256_mullo_epi32(offset, sums);
        for row in 0..rows.min(TILE_ROWS) {
            let scale = _mm256_mul_ps(_mm256_set1_ps(by.row_scales[row]), cols);
            // SAFETY: `row · NR + at + 8 <= TILE_ROWS · NR`, the length of `acc`; `out` has `rows` rows of NR.
            unsafe {
                let sum = _mm256_loadu_si256(acc.as_ptr().add(row * NR + at).cast());
                let sum = _mm256_cvtepi32_ps(_mm256_sub_epi32(sum, excess));
                let y = _mm256_add_ps(_mm256_mul_ps(sum, scale), bias);
                let out = out.add(row * stride + at);
                _mm256_storeu_ps(out, if add { _mm256_add_ps(_mm256_loadu_ps(out), y) } else { y });
            }
        }
    }
}

/// `round_half_even(value · inverse)` in groups of four, `TILE_ROWS` groups apart.
///
/// # Safety
/// `values` is a multiple of 16 long; `out` reaches the end of its last group; the CPU has AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn quantize_row(format: I8Format, values: &[f32], inverse: f32, out: &mut [u8]) {
    let blocks = values.as_chunks::<16>().0;
    // SAFETY: as the caller promises; the bytes of a group are those of the format.
    unsafe {
        match format {
            I8Format::U8K4 => quantize_u8(blocks, inverse, out.as_mut_ptr()),
            I8Format::S16K4 => quantize_s16(blocks, inverse, out.as_mut_ptr()),
            I8Format::S8K4 | I8Format::S8K8 => scalar::quantize_row(format, values, inverse, out),
        }
    }
}

/// # Safety
/// Groups of four bytes, `TILE_ROWS` groups apart, may be written at `out`, four per block; the CPU has AVX2.
#[target_feature(enable = "avx2")]
unsafe fn quantize_u8(blocks: &[[f32; 16]], inverse: f32, out: *mut u8) {
    let low = _mm256_set1_epi8(-127);
    let flip = _mm256_set1_epi8(-128);
    let inverse = _mm256_set1_ps(inverse);
    for (i, values) in blocks.iter().enumerate() {
        let codes = codes_i16(values, inverse);
        // Saturates at 127 and −128, then −127; the halves hold groups 0, 2 and 1, 3.
        let codes = _mm256_max_epi8(_mm256_packs_epi16(codes, codes), low);
        let codes = _mm256_xor_si256(codes, flip);
        let (even, odd) = (_mm256_castsi256_si128(codes), _mm256_extracti128_si256::<1>(codes));
        // SAFETY: as the caller promises.
        unsafe {
            let out = out.cast::<[i32; TILE_ROWS]>().add(4 * i);
            out.cast::<i32>().write_unaligned(_mm_cvtsi128_si32(even));
            out.add(1).cast::<i32>().write_unaligned(_mm_cvtsi128_si32(odd));
            out.add(2).cast::<i32>().write_unaligned(_mm_extract_epi32::<1>(even));
            out.add(3).cast::<i32>().write_unaligned(_mm_extract_epi32::<1>(odd));
        }
    }
}

/// # Safety
/// Groups of four i16, `TILE_ROWS` groups apart, may be written at `out`, four per block; the CPU has AVX2.
#[target_feature(enable = "avx2")]
unsafe fn quantize_s16(blocks: &[[f32; 16]], inverse: f32, out: *mut u8) {
    let (low, high) = (_mm256_set1_epi16(-127), _mm256_set1_epi16(127));
    let inverse = _mm256_set1_ps(inverse);
    for (i, values) in blocks.iter().enumerate() {
        let codes = _mm256_max_epi16(_mm256_min_epi16(codes_i16(values, inverse), high), low);
        let (even, odd) = (_mm256_castsi256_si128(codes), _mm256_extracti128_si256::<1>(codes));
        // SAFETY: as the caller promises.
        unsafe {
            let out = out.cast::<[i64; TILE_ROWS]>().add(4 * i);
            _mm_storel_epi64(out.cast(), even);
            _mm_storel_epi64(out.add(1).cast(), odd);
            out.add(2).cast::<i64>().write_unaligned(_mm_extract_epi64::<1>(even));
            out.add(3).cast::<i64>().write_unaligned(_mm_extract_epi64::<1>(odd));
        }
    }
}

/// 16 rounded products as saturated i16, in the order of groups 0, 2, 1, 3.
#[target_feature(enable = "avx2")]
fn codes_i16(values: &[f32; 16], inverse: __m256) -> __m256i {
    // SAFETY: both loads lie inside `values`.
    let (first, second) =
        unsafe { (_mm256_loadu_ps(values.as_ptr()), _mm256_loadu_ps(values.as_ptr().add(8))) };
    // The conversion rounds ties to even: Rust never changes the rounding mode.
    let round = |x| _mm256_cvtps_epi32(_mm256_mul_ps(x, inverse));
    _mm256_packs_epi32(round(first), round(second))
}
