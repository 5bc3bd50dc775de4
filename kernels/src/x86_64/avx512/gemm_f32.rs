//! Float micro-kernels: 12 × 16, and 12 × 32 where there are two panels: 24 accumulators, and 14 loads for 24
//! multiplications. k ascending.

use crate::pack::NR;
use crate::table::KC_F32;
use crate::table::MicroKernelFloat;
use crate::x86_64::unroll::unrolled;
use core::arch::x86_64::*;

const ROWS: usize = 12;

pub(crate) const GEMM_F32: MicroKernelFloat<f32> =
    MicroKernelFloat { name: "f32_gemm_12x32_avx512_fma", mr: ROWS, kc: KC_F32, run, run_1x2: Some(run_1x2) };

/// # Safety
/// As [`MicroKernelFloat::run`] says; the CPU has AVX-512 F.
#[target_feature(enable = "avx512f")]
unsafe fn run(k: usize, a: *const f32, lda: usize, rows: usize, b: *const f32, c: *mut f32, ldc: usize) {
    // SAFETY: as the caller promises.
    unsafe { by_rows(k, a, lda, rows, [b], c, ldc) }
}

/// # Safety
/// As [`MicroKernelFloat::run_1x2`] says; the CPU has AVX-512 F.
#[target_feature(enable = "avx512f")]
unsafe fn run_1x2(
    k: usize,
    a: *const f32,
    lda: usize,
    rows: usize,
    b: [*const f32; 2],
    c: *mut f32,
    ldc: usize,
) {
    // SAFETY: as the caller promises.
    unsafe { by_rows(k, a, lda, rows, b, c, ldc) }
}

/// The last rows of ViT-B/16's 197 are five: half a tile will do.
///
/// # Safety
/// As [`MicroKernelFloat::run`] says, for `PANELS` panels side by side; the CPU has AVX-512 F.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn by_rows<const PANELS: usize>(
    k: usize,
    a: *const f32,
    lda: usize,
    rows: usize,
    b: [*const f32; PANELS],
    c: *mut f32,
    ldc: usize,
) {
    // SAFETY: as the caller promises; `c` has more rows than half a tile.
    unsafe {
        if rows <= ROWS / 2 {
            tile::<PANELS, { ROWS / 2 }>(k, a, lda, rows, b, c, ldc)
        } else {
            tile::<PANELS, ROWS>(k, a, lda, rows, b, c, ldc)
        }
    }
}

/// # Safety
/// As [`MicroKernelFloat::run`] says, for `PANELS` panels side by side and at most `ROWS` rows; the CPU has AVX-512 F.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn tile<const PANELS: usize, const ROWS: usize>(
    k: usize,
    a: *const f32,
    lda: usize,
    rows: usize,
    b: [*const f32; PANELS],
    c: *mut f32,
    ldc: usize,
) {
    // Rows past the end repeat the last one; their sums are never read.
    // SAFETY: `a` has `rows` rows, `lda` apart.
    let a: [*const f32; ROWS] = core::array::from_fn(|row| unsafe { a.add(row.min(rows - 1) * lda) });
    let mut sums: [[__m512; PANELS]; ROWS] = core::array::from_fn(|row| {
        // SAFETY: all ROWS rows of `c`, `ldc` apart, hold PANELS · NR elements.
        core::array::from_fn(|panel| unsafe { _mm512_loadu_ps(c.add(row * ldc + panel * NR)) })
    });
    let multiply = |step: usize| {
        // SAFETY: each panel has `k` rows of NR.
        let b = b.map(|b| unsafe { _mm512_loadu_ps(b.add(step * NR)) });
        for (sums, a) in sums.iter_mut().zip(a) {
            // SAFETY: every row has `k` elements.
            let a = _mm512_set1_ps(unsafe { *a.add(step) });
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = _mm512_fmadd_ps(a, b, *sum);
            }
        }
    };
    unrolled(k, multiply);
    for (row, sums) in sums.into_iter().enumerate() {
        for (panel, sum) in sums.into_iter().enumerate() {
            // SAFETY: as above, and all of them may be written.
            unsafe { _mm512_storeu_ps(c.add(row * ldc + panel * NR), sum) };
        }
    }
}
