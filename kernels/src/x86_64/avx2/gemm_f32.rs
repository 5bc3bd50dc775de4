//! Float micro-kernel: 6 × 16, 12 accumulators, k ascending.

use crate::pack::NR;
use crate::table::KC_F32;
use crate::table::MicroKernelFloat;
use crate::x86_64::unroll::unrolled;
use core::arch::x86_64::*;

const ROWS: usize = 6;

pub(super) const GEMM_F32: MicroKernelFloat<f32> =
    MicroKernelFloat { name: "f32_gemm_6x16_avx2_fma", mr: ROWS, kc: KC_F32, run, run_1x2: None };

/// # Safety
/// As [`MicroKernelFloat::run`] says; the CPU has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn run(k: usize, a: *const f32, lda: usize, rows: usize, b: *const f32, c: *mut f32, ldc: usize) {
    // Rows past the end repeat the last one; their sums are never read.
    // SAFETY: `a` has `rows` rows, `lda` apart.
    let a: [*const f32; ROWS] = core::array::from_fn(|row| unsafe { a.add(row.min(rows - 1) * lda) });
    // SAFETY: all ROWS rows of `c`, `ldc` apart, hold NR elements.
    let mut sums: [[__m256; 2]; ROWS] = core::array::from_fn(|row| unsafe {
        let c = c.add(row * ldc);
        [_mm256_loadu_ps(c), _mm256_loadu_ps(c.add(8))]
    });
    let multiply = |step: usize| {
        // SAFETY: the panel has `k` rows of NR.
        let b = unsafe {
            let b = b.add(step * NR);
            [_mm256_loadu_ps(b), _mm256_loadu_ps(b.add(8))]
        };
        for (sums, a) in sums.iter_mut().zip(a) {
            // SAFETY: every row has `k` elements.
            let a = _mm256_set1_ps(unsafe { *a.add(step) });
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = _mm256_fmadd_ps(a, b, *sum);
            }
        }
    };
    unrolled(k, multiply);
    for (row, [low, high]) in sums.into_iter().enumerate() {
        // SAFETY: as above, and all of them may be written.
        unsafe {
            let c = c.add(row * ldc);
            _mm256_storeu_ps(c, low);
            _mm256_storeu_ps(c.add(8), high);
        }
    }
}
