//! f16 ↔ f32 by F16C.

use crate::scalar;
use core::arch::x86_64::*;
use half::f16;

/// # Safety
/// The slices have the same length; the CPU has AVX2 and F16C.
#[target_feature(enable = "avx2,f16c")]
pub(super) unsafe fn widen_f16(from: &[f16], to: &mut [f32]) {
    let (from, from_tail) = from.as_chunks::<8>();
    let (to, to_tail) = to.as_chunks_mut::<8>();
    for (from, to) in from.iter().zip(to) {
        // SAFETY: both hold 8 elements.
        unsafe {
            let values = _mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().cast()));
            _mm256_storeu_ps(to.as_mut_ptr(), values);
        }
    }
    scalar::widen_f16(from_tail, to_tail);
}

/// # Safety
/// The slices have the same length; the CPU has AVX2 and F16C.
#[target_feature(enable = "avx2,f16c")]
pub(super) unsafe fn narrow_f16(from: &[f32], to: &mut [f16]) {
    let (from, from_tail) = from.as_chunks::<8>();
    let (to, to_tail) = to.as_chunks_mut::<8>();
    for (from, to) in from.iter().zip(to) {
        // SAFETY: both hold 8 elements.
        unsafe {
            let values = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm256_loadu_ps(from.as_ptr()));
            _mm_storeu_si128(to.as_mut_ptr().cast(), values);
        }
    }
    scalar::narrow_f16(from_tail, to_tail);
}
