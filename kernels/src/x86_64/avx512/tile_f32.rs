//! Float micro-kernel: 8 × 16. Eight accumulators are as many as two multipliers with four cycles of latency keep in
//! flight, so odd `k` have a second set, added at the end.

use crate::layout::NR;
use crate::table::TileFloat;
use core::arch::x86_64::*;

const ROWS: usize = 8;

pub(crate) const TILE_F32: TileFloat<f32> =
    TileFloat { name: "f32_gemm_8x16_avx512_fma", tile_rows: ROWS, run: tile_f32 };

/// # Safety
/// As [`TileFloat::run`] says; the CPU has AVX-512 F.
#[target_feature(enable = "avx512f")]
unsafe fn tile_f32(k: usize, a: *const f32, lda: usize, rows: usize, b: *const f32, c: *mut f32, ldc: usize) {
    // Rows past the end repeat the last one; their sums are never read.
    // SAFETY: `a` has `rows` rows, `lda` apart.
    let a: [*const f32; ROWS] = core::array::from_fn(|row| unsafe { a.add(row.min(rows - 1) * lda) });
    // SAFETY: all ROWS rows of `c`, `ldc` apart, hold NR elements.
    let mut even: [__m512; ROWS] = core::array::from_fn(|row| unsafe { _mm512_loadu_ps(c.add(row * ldc)) });
    let mut odd = [_mm512_setzero_ps(); ROWS];
    let step = |k: usize, sums: &mut [__m512; ROWS]| {
        // SAFETY: the panel has `k` rows of NR.
        let b = unsafe { _mm512_loadu_ps(b.add(k * NR)) };
        for (sum, a) in sums.iter_mut().zip(a) {
            // SAFETY: every row has `k` elements.
            *sum = _mm512_fmadd_ps(_mm512_set1_ps(unsafe { *a.add(k) }), b, *sum);
        }
    };
    for pair in 0..k / 2 {
        step(2 * pair, &mut even);
        step(2 * pair + 1, &mut odd);
    }
    if !k.is_multiple_of(2) {
        step(k - 1, &mut even);
    }
    for (row, (even, odd)) in even.into_iter().zip(odd).enumerate() {
        // SAFETY: as above, and all of them may be written.
        unsafe { _mm512_storeu_ps(c.add(row * ldc), _mm512_add_ps(even, odd)) };
    }
}
