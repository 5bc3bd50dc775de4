//! From f32 to int8 codes: the scalar results to the bit.

use crate::pack::{LhsCodes, MR, SIGNED_OFFSET};
use crate::scalar;
use crate::table::QuantizeBy;
use core::arch::x86_64::*;

/// Steps of an LHS panel: `[width/4][row][4]`. Rows that are missing repeat the last one.
///
/// # Safety
/// As [`QuantizePanel`](crate::table::QuantizePanel) says; the CPU has AVX2.
#[target_feature(enable = "avx2")]
pub(in super::super) unsafe fn quantize_panel(
    form: LhsCodes,
    x: *const f32,
    width: usize,
    rows: usize,
    by: &[QuantizeBy; MR],
    out: &mut [u8],
    stride: usize,
) {
    if !matches!(form, LhsCodes::U8K4 | LhsCodes::BothK4) {
        // No kernel for AVX2 or VNNI reads another.
        // SAFETY: as the caller promises.
        return unsafe { scalar::quantize_panel(form, x, width, rows, by, out, stride) };
    }
    for (i, out) in out.chunks_exact_mut(SIGNED_OFFSET * form.bytes()).enumerate() {
        let codes = core::array::from_fn(|row| {
            let row = row.min(rows - 1);
            // SAFETY: `x` has `rows` rows of `width`, a multiple of 16.
            let values = unsafe { &*x.add(row * width + 16 * i).cast::<[f32; 16]>() };
            codes_i16(values, &by[row])
        });
        // SAFETY: `out` has the 16 codes of each row.
        unsafe { write_u8(&codes, out.as_mut_ptr()) };
        if let Some((unsigned, signed)) = out.split_first_chunk_mut::<SIGNED_OFFSET>() {
            signed.iter_mut().zip(unsigned).for_each(|(signed, code)| *signed = *code ^ 0x80);
        }
    }
}

/// Four groups of four codes + 128 of each row.
///
/// # Safety
/// 96 bytes may be written at `out`; the CPU has AVX2.
#[target_feature(enable = "avx2")]
unsafe fn write_u8(codes: &[__m256i; MR], out: *mut u8) {
    let (low, flip) = (_mm256_set1_epi8(-127), _mm256_set1_epi8(-128));
    // Two rows in a register, saturated at 127 and −128, then −127: groups 0 and 2 of each in the lower half, 1 and 3
    // in the upper.
    let [a, b, c] = core::array::from_fn(|i| {
        let codes = _mm256_packs_epi16(codes[2 * i], codes[2 * i + 1]);
        _mm256_castsi256_ps(_mm256_xor_si256(_mm256_max_epi8(codes, low), flip))
    });
    // One group of the first four rows in each half, then of the last two.
    let (first, second) =
        (_mm256_shuffle_ps::<0b10_00_10_00>(a, b), _mm256_shuffle_ps::<0b11_01_11_01>(a, b));
    let last = _mm256_castps_pd(_mm256_permute_ps::<0b11_01_10_00>(c));
    let groups = [(first, 0), (second, 2)];
    for (rows, group) in groups {
        // SAFETY: the last group ends at 4 · 24 bytes.
        unsafe {
            _mm_storeu_ps(out.add(group * 24).cast(), _mm256_castps256_ps128(rows));
            _mm_storeu_ps(out.add((group + 1) * 24).cast(), _mm256_extractf128_ps::<1>(rows));
        }
    }
    let (even, odd) = (_mm256_castpd256_pd128(last), _mm256_extractf128_pd::<1>(last));
    // SAFETY: as above.
    unsafe {
        _mm_storel_pd(out.add(16).cast(), even);
        _mm_storel_pd(out.add(24 + 16).cast(), odd);
        _mm_storeh_pd(out.add(48 + 16).cast(), even);
        _mm_storeh_pd(out.add(72 + 16).cast(), odd);
    }
}

/// 16 codes as saturated i16, in the order of groups 0, 2, 1, 3.
#[target_feature(enable = "avx2")]
fn codes_i16(values: &[f32; 16], by: &QuantizeBy) -> __m256i {
    let inverse = _mm256_set1_ps(by.inverse);
    // SAFETY: both loads lie inside `values`.
    let (first, second) =
        unsafe { (_mm256_loadu_ps(values.as_ptr()), _mm256_loadu_ps(values.as_ptr().add(8))) };
    // The conversion rounds ties to even: Rust never changes the rounding mode.
    let round = |x| _mm256_cvtps_epi32(_mm256_mul_ps(x, inverse));
    let zero_point = _mm256_set1_epi16(by.zero_point as i16);
    _mm256_adds_epi16(_mm256_packs_epi32(round(first), round(second)), zero_point)
}
