//! Float micro-kernels on their own: any row count, any strides, and sums that were there before.

use super::{Failures, UNIT};
use crate::pack::NR;
use crate::table::MicroKernelFloat;
use crate::testing::{Rng, each_isa};
use half::f16;
use std::format;
use std::vec::Vec;

/// Runs one tile over operands of exactly the promised size; the largest error relative to Σ|a·b| + |c|.
fn worst_error<T: Copy>(
    kernel: &MicroKernelFloat<T>,
    rng: &mut Rng,
    rows: usize,
    k: usize,
    of: fn(f32) -> T,
    to: fn(T) -> f64,
) -> f64 {
    let (lda, ldc) = (k + 3, NR + 5);
    let a: Vec<T> = rng.floats((rows - 1) * lda + k, 1.0).into_iter().map(of).collect();
    let b: Vec<T> = rng.floats(k * NR, 1.0).into_iter().map(of).collect();
    let before = rng.floats((kernel.mr - 1) * ldc + NR, 1.0);
    let mut c = before.clone();
    // SAFETY: the operands have the sizes that `MicroKernelFloat::run` names; `each_isa` makes only tables that this CPU runs.
    unsafe { (kernel.run)(k, a.as_ptr(), lda, rows, b.as_ptr(), c.as_mut_ptr(), ldc) };
    let mut errors = Vec::new();
    for row in 0..kernel.mr {
        for j in 0..ldc.min(c.len() - row * ldc) {
            let at = row * ldc + j;
            if j >= NR {
                // Between the rows of `c` nothing may change.
                errors.push(if c[at] == before[at] { 0.0 } else { f64::INFINITY });
            } else if row < rows {
                let terms = (0..k).map(|i| to(a[row * lda + i]) * to(b[i * NR + j]));
                let start = f64::from(before[at]);
                let (sum, size) =
                    terms.fold((start, start.abs()), |(sum, size), t| (sum + t, size + t.abs()));
                errors.push((f64::from(c[at]) - sum).abs() / size);
            }
        }
    }
    // `total_cmp` ranks NaN above everything.
    errors.into_iter().max_by(f64::total_cmp).expect("some")
}

#[test]
fn float_micro_kernels_take_any_shape() {
    let mut failures = Failures::default();
    let mut rng = Rng::new(7);
    for kernels in each_isa() {
        for k in [1, 2, 3, 4, 5, 7, 8, 9, 15, 17, 63, 64, 65, 71, 130] {
            for rows in 1..=kernels.table.gemm_f32.mr {
                let error = worst_error(&kernels.table.gemm_f32, &mut rng, rows, k, |x| x, f64::from);
                // Each of k additions rounds a partial sum once.
                let right = error <= (k + 1) as f64 * UNIT;
                failures
                    .check(right, || format!("{} {rows} rows k={k}: {error:e}", kernels.table.gemm_f32.name));
            }
        }
        // `MicroKernelFloat<f16>` promises less.
        for k in [16, 32, 48, 112, 128, 144, 272] {
            let Some(kernel) = &kernels.table.gemm_f16 else { continue };
            for rows in 1..=kernel.mr {
                let error = worst_error(kernel, &mut rng, rows, k, f16::from_f32, f16::to_f64);
                // 2⁻¹¹ for a product, and for each of a few partial sums that are as large as the whole.
                let right = error <= 4.0 / f64::from(1 << 11);
                failures.check(right, || format!("{} {rows} rows k={k}: {error:e}", kernel.name));
            }
        }
    }
    failures.report();
}

/// 15 · 136 = 2040 is the last of these sums that half precision is sure to hold: beyond 2048 it has no odd numbers.
#[test]
fn half_precision_sums_at_most_136_products() {
    for kernels in each_isa() {
        let Some(kernel) = &kernels.table.gemm_f16 else { continue };
        let k = 4096;
        let a = std::vec![f16::from_f32(15.0); kernel.mr * k];
        let b = std::vec![f16::ONE; k * NR];
        let mut c = std::vec![0.0; kernel.mr * NR];
        // SAFETY: whole operands; `each_isa` makes only tables that this CPU runs.
        unsafe { (kernel.run)(k, a.as_ptr(), k, kernel.mr, b.as_ptr(), c.as_mut_ptr(), NR) };
        assert!(c.iter().all(|&sum| sum == 15.0 * 4096.0), "{}: {}", kernel.name, c[0]);
    }
}
