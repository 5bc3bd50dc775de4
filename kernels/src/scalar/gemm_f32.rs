//! Float micro-kernel: `c[r][j] += Σₖ a[r][k] · b[k][j]`, k ascending.

use crate::pack::NR;
use crate::table::KC_F32;
use crate::table::MicroKernelFloat;

const ROWS: usize = 4;

pub(crate) const GEMM_F32: MicroKernelFloat<f32> =
    MicroKernelFloat { name: "f32_gemm_4x16_scalar", mr: ROWS, kc: KC_F32, run, run_1x2: None };

/// # Safety
/// As [`MicroKernelFloat::run`] says.
unsafe fn run(k: usize, a: *const f32, lda: usize, rows: usize, b: *const f32, c: *mut f32, ldc: usize) {
    // SAFETY: the caller's panel holds `k` rows of NR.
    let b = unsafe { core::slice::from_raw_parts(b, k * NR) };
    for row in 0..rows {
        // SAFETY: `a` has `rows` rows of `k` elements, `lda` apart; `c` as many of NR, `ldc` apart.
        let (a, c) = unsafe {
            (
                core::slice::from_raw_parts(a.add(row * lda), k),
                core::slice::from_raw_parts_mut(c.add(row * ldc), NR),
            )
        };
        for (a, b) in a.iter().zip(b.as_chunks::<NR>().0) {
            c.iter_mut().zip(b).for_each(|(c, b)| *c += a * b);
        }
    }
}
