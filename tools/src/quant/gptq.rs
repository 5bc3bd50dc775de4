//! Error-compensated rounding (GPTQ, arXiv 2210.17323): weights are rounded one input after the other, and what
//! rounding one changes in the product is made up for by those still to come, as far as the inputs correlate.

use crate::codes::Codes;
use rayon::prelude::*;

/// Rows (or columns) that share one pass over a factor.
const GROUP: usize = 16;
/// Columns of a Cholesky factor that are found together.
const BLOCK: usize = 64;

/// Rounds `values`, [n, k], to codes with the scales of `start`, for inputs like the rows of `sample`, [rows, k], each of
/// which counts as often as `counts` says. `None` if the inputs' second moments can't be factored.
pub(super) fn compensated(
    values: &[f32],
    start: &Codes,
    magnitude: i8,
    sample: &[f32],
    counts: &[f32],
) -> Option<Codes> {
    let k = values.len() / start.scales.len();
    let factor = factor(sample, counts, k)?;
    let mut codes = start.clone();
    let limit = f32::from(magnitude);
    let groups = values.par_chunks(GROUP * k).zip(codes.codes.par_chunks_mut(GROUP * k));
    groups.zip(start.scales.par_chunks(GROUP)).for_each(|((values, codes), scales)| {
        let mut rest = values.to_vec();
        for i in 0..k {
            let row = &factor[i * k..][..k];
            for ((rest, codes), &scale) in rest.chunks_exact_mut(k).zip(codes.chunks_exact_mut(k)).zip(scales)
            {
                let code =
                    if scale > 0.0 { (rest[i] / scale).round_ties_even().clamp(-limit, limit) } else { 0.0 };
                codes[i] = code as i8;
                let error = (rest[i] - code * scale) / row[i];
                for (rest, step) in rest[i + 1..].iter_mut().zip(&row[i + 1..]) {
                    *rest -= error * step;
                }
            }
        }
    });
    Some(codes)
}

/// The upper triangular U with (XᵀX + damping)⁻¹ = Uᵀ·U, row-major.
fn factor(sample: &[f32], counts: &[f32], k: usize) -> Option<Vec<f32>> {
    // With the order of the inputs reversed, U is the inverse of the Cholesky factor of XᵀX itself.
    let mut moments = vec![0f64; k * k];
    moments.par_chunks_mut(k).enumerate().for_each(|(i, out)| {
        for (x, count) in sample.chunks_exact(k).zip(counts) {
            let a = f64::from(x[k - 1 - i] * count);
            for (out, x) in out[..=i].iter_mut().zip(x.iter().rev()) {
                *out += a * f64::from(*x);
            }
        }
    });
    let mean = (0..k).map(|i| moments[i * k + i]).sum::<f64>() / k as f64;
    for i in 0..k {
        moments[i * k + i] += 0.01 * moments[i * k + i] + 1e-3 * mean + f64::MIN_POSITIVE;
    }
    let lower = cholesky(moments, k)?;
    let inverse = invert(&lower, k);
    let mut factor = vec![0f32; k * k];
    for i in 0..k {
        for j in i..k {
            factor[i * k + j] = inverse[(k - 1 - i) * k + (k - 1 - j)] as f32;
        }
    }
    Some(factor)
}

/// The lower triangular L with L·Lᵀ = `a`, whose lower half is given. Columns are taken in blocks, so that the rows below
/// are read once per block and not once per column.
fn cholesky(mut a: Vec<f64>, k: usize) -> Option<Vec<f64>> {
    for start in (0..k).step_by(BLOCK) {
        let end = k.min(start + BLOCK);
        let (above, below) = a.split_at_mut(end * k);
        let block = &mut above[start * k..];
        for j in start..end {
            let (before, row) = block.split_at_mut((j - start) * k);
            for (c, other) in (start..j).zip(before.chunks_exact(k)) {
                row[c] = (row[c] - dot(&row[..c], &other[..c])) / other[c];
            }
            let pivot = row[j] - dot(&row[..j], &row[..j]);
            if !(pivot > 0.0 && pivot.is_finite()) {
                return None;
            }
            row[j] = pivot.sqrt();
        }
        let block = &*block;
        below.par_chunks_mut(k).for_each(|row| {
            for (c, other) in (start..end).zip(block.chunks_exact(k)) {
                row[c] = (row[c] - dot(&row[..c], &other[..c])) / other[c];
            }
        });
    }
    Some(a)
}

/// The inverse of a lower triangular matrix.
fn invert(lower: &[f64], k: usize) -> Vec<f64> {
    // Columns are independent: column c of the inverse solves L·x = e_c. Stored transposed, each is contiguous; those of
    // a group share the reading of L.
    let mut columns = vec![0f64; k * k];
    columns.par_chunks_mut(GROUP * k).enumerate().for_each(|(group, columns)| {
        for i in group * GROUP..k {
            let row = &lower[i * k..][..k];
            for (c, x) in (group * GROUP..=i).zip(columns.chunks_exact_mut(k)) {
                x[i] = if i == c { 1.0 / row[i] } else { -dot(&row[c..i], &x[c..i]) / row[i] };
            }
        }
    });
    let mut inverse = vec![0f64; k * k];
    for c in 0..k {
        for i in c..k {
            inverse[i * k + c] = columns[c * k + i];
        }
    }
    inverse
}

/// An inner product in eight partial sums, which the compiler turns into vector arithmetic.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a8, a1) = a.as_chunks::<8>();
    let (b8, b1) = b.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (a, b) in a8.iter().zip(b8) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f64>() + a1.iter().zip(b1).map(|(a, b)| a * b).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Correlated inputs: a few hidden causes and a little noise of their own.
    fn sample(rows: usize, k: usize) -> Vec<f32> {
        let noise = |i: usize| ((i * 2_654_435_761) % 1_000_003) as f32 / 500_001.5 - 1.0;
        (0..rows * k)
            .map(|i| {
                let (row, column) = (i / k, i % k);
                let causes =
                    (0..3).map(|c| noise(row * 3 + c + 7) * noise(column * 5 + c + 1_000)).sum::<f32>();
                causes + 0.1 * noise(i + 77_777)
            })
            .collect()
    }

    fn product_error(values: &[f32], codes: &Codes, sample: &[f32], k: usize) -> f64 {
        let rounded = codes.values();
        let mut sum = 0.0;
        for x in sample.chunks_exact(k) {
            for (a, b) in values.chunks_exact(k).zip(rounded.chunks_exact(k)) {
                let error: f64 = x.iter().zip(a).zip(b).map(|((x, a), b)| f64::from(x * (a - b))).sum();
                sum += error * error;
            }
        }
        sum
    }

    #[test]
    fn the_factor_is_that_of_the_inverse() {
        // The larger one takes more than a block.
        for k in [9, BLOCK + 5] {
            assert_factor(k);
        }
    }

    fn assert_factor(k: usize) {
        let sample = sample(4 * k, k);
        let counts: Vec<f32> = (0..4 * k).map(|row| if row % 5 == 0 { 16.0 } else { 1.0 }).collect();
        let u = factor(&sample, &counts, k).unwrap();
        // (H · UᵀU) must be the identity, up to the damping that H got.
        let mut h = vec![0f64; k * k];
        for (x, count) in sample.chunks_exact(k).zip(&counts) {
            for i in 0..k {
                for j in 0..k {
                    h[i * k + j] += f64::from(*count) * f64::from(x[i]) * f64::from(x[j]);
                }
            }
        }
        let mean = (0..k).map(|i| h[i * k + i]).sum::<f64>() / k as f64;
        for i in 0..k {
            h[i * k + i] = 1.01 * h[i * k + i] + 1e-3 * mean;
        }
        for i in 0..k {
            for j in 0..k {
                let inverse = |a: usize, b: usize| {
                    (0..k).map(|c| f64::from(u[c * k + a]) * f64::from(u[c * k + b])).sum::<f64>()
                };
                let product: f64 = (0..k).map(|c| h[i * k + c] * inverse(c, j)).sum();
                let expected = f64::from(u8::from(i == j));
                assert!((product - expected).abs() < 1e-3, "({i}, {j}): {product}");
                assert!(j >= i || u[i * k + j] == 0.0);
            }
        }
    }

    #[test]
    fn compensation_makes_the_product_better_than_rounding() {
        let (n, k, magnitude) = (20, 24, 7);
        let sample = sample(200, k);
        let values: Vec<f32> = (0..n * k).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
        let plain = Codes::plain(&values, k, magnitude);
        let better = compensated(&values, &plain, magnitude, &sample, &[1.0; 200]).unwrap();
        let (before, after) =
            (product_error(&values, &plain, &sample, k), product_error(&values, &better, &sample, k));
        assert!(after < 0.5 * before, "{before} -> {after}");
        assert!(better.codes.iter().all(|code| code.unsigned_abs() <= 7));
    }
}
