//! Scan micro-kernel: codes are widened to i16, whose products `vpmaddwd` adds in pairs, in i32. One widened query serves
//! four rows, and one widened row both queries.

use crate::pack::K_ALIGN;
use crate::table::{MicroKernelScan, SCAN_ROWS};
use core::arch::x86_64::*;

pub(super) const SCAN_I8: MicroKernelScan =
    MicroKernelScan { name: "i8_scan_4x2_avx2", run_4x1: run, run_4x2: run };

/// # Safety
/// As [`MicroKernelScan`] says; the CPU has AVX2.
#[target_feature(enable = "avx2")]
unsafe fn run<const Q: usize>(
    k: usize,
    rows: [*const i8; SCAN_ROWS],
    queries: [*const i8; Q],
    sums: &mut [[i32; SCAN_ROWS]; Q],
) {
    let mut partial = [[_mm256_setzero_si256(); SCAN_ROWS]; Q];
    for at in (0..k).step_by(K_ALIGN) {
        // SAFETY: rows and queries hold `k` codes, a multiple of 16.
        let widened =
            |codes: *const i8| unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(codes.add(at).cast())) };
        let queries = queries.map(widened);
        for (r, row) in rows.into_iter().enumerate() {
            let row = widened(row);
            for (partial, query) in partial.iter_mut().zip(queries) {
                partial[r] = _mm256_add_epi32(partial[r], _mm256_madd_epi16(row, query));
            }
        }
    }
    for (sums, [a, b, c, d]) in sums.iter_mut().zip(partial) {
        // Sums of a to d from the lower four elements of each, then from the upper four.
        let halves = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
        let (low, high) = (_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves));
        // SAFETY: the array holds the 16 bytes that are stored.
        unsafe { _mm_storeu_si128(sums.as_mut_ptr().cast(), _mm_add_epi32(low, high)) };
    }
}
