//! Between f16 and f32. ARMv8.0 converts although it does not calculate in f16.

use crate::scalar;
use core::arch::aarch64::*;
use half::f16;

/// # Safety
/// The lengths agree; the CPU has NEON.
#[target_feature(enable = "neon")]
pub(in super::super) unsafe fn widen_f16(from: &[f16], to: &mut [f32]) {
    let (from, from_rest) = from.as_chunks::<8>();
    let (to, to_rest) = to.as_chunks_mut::<8>();
    for (from, to) in from.iter().zip(to) {
        // SAFETY: eight elements each.
        unsafe {
            let halves = vreinterpretq_f16_u16(vld1q_u16(from.as_ptr().cast()));
            vst1q_f32(to.as_mut_ptr(), vcvt_f32_f16(vget_low_f16(halves)));
            vst1q_f32(to.as_mut_ptr().add(4), vcvt_high_f32_f16(halves));
        }
    }
    scalar::widen_f16(from_rest, to_rest);
}

/// # Safety
/// The lengths agree; the CPU has NEON.
#[target_feature(enable = "neon")]
pub(in super::super) unsafe fn narrow_f16(from: &[f32], to: &mut [f16]) {
    let (from, from_rest) = from.as_chunks::<8>();
    let (to, to_rest) = to.as_chunks_mut::<8>();
    for (from, to) in from.iter().zip(to) {
        // SAFETY: eight elements each.
        unsafe {
            let low = vcvt_f16_f32(vld1q_f32(from.as_ptr()));
            let halves = vcvt_high_f16_f32(low, vld1q_f32(from.as_ptr().add(4)));
            vst1q_u16(to.as_mut_ptr().cast(), vreinterpretq_u16_f16(halves));
        }
    }
    scalar::narrow_f16(from_rest, to_rest);
}
