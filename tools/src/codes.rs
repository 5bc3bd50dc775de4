//! Symmetric int8 with one scale per output channel.

/// Largest magnitude of some values; 0 for none.
pub fn magnitude_of(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |most, value| most.max(value.abs()))
}

/// An int8 matrix with its scales: `value ≈ code · scale[row]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Codes {
    /// [n, k], row-major.
    pub codes: Vec<i8>,
    /// One per row.
    pub scales: Vec<f32>,
}

impl Codes {
    /// Every row of `values`, [n, k], by [`quantize_row`].
    pub fn plain(values: &[f32], k: usize, magnitude: i8) -> Codes {
        let mut codes = vec![0; values.len()];
        let rows = values.chunks_exact(k).zip(codes.chunks_exact_mut(k));
        let scales = rows.map(|(row, codes)| quantize_row(row, magnitude, codes)).collect();
        Codes { codes, scales }
    }

    /// Every row with the scale, of those that clip at 50 to 100 % of the row's peak, that makes
    /// `Σ importance[j] · (value[j] − code[j] · scale)²` least: what a few large weights lose against what all others
    /// gain in resolution. `importance` is the mean square of each input.
    pub fn clipped(values: &[f32], k: usize, magnitude: i8, importance: &[f32]) -> Codes {
        let mut all = Codes { codes: vec![0; values.len()], scales: Vec::new() };
        let mut trial = vec![0; k];
        for (row, codes) in values.chunks_exact(k).zip(all.codes.chunks_exact_mut(k)) {
            let mut scale = quantize_row(row, magnitude, codes);
            let mut least = row_error(row, codes, scale, importance);
            let peak = scale;
            for step in 1..=25 {
                let smaller = peak * (1.0 - 0.02 * step as f32);
                round_row(row, smaller, magnitude, &mut trial);
                let error = row_error(row, &trial, smaller, importance);
                if error < least {
                    (least, scale) = (error, smaller);
                    codes.copy_from_slice(&trial);
                }
            }
            all.scales.push(scale);
        }
        all
    }

    /// The values that the codes stand for.
    pub fn values(&self) -> Vec<f32> {
        let k = self.codes.len() / self.scales.len().max(1);
        let rows = self.codes.chunks_exact(k.max(1)).zip(&self.scales);
        rows.flat_map(|(row, scale)| row.iter().map(move |&code| f32::from(code) * scale)).collect()
    }
}

fn row_error(row: &[f32], codes: &[i8], scale: f32, importance: &[f32]) -> f64 {
    let mut sum = 0.0;
    for ((value, &code), importance) in row.iter().zip(codes).zip(importance) {
        let error = value - f32::from(code) * scale;
        sum += f64::from(importance * error * error);
    }
    sum
}

/// Codes of one channel for a scale that was chosen: rounded half to even, clamped to the magnitude.
pub fn round_row(values: &[f32], scale: f32, magnitude: i8, codes: &mut [i8]) {
    let limit = f32::from(magnitude);
    for (code, value) in codes.iter_mut().zip(values) {
        // Division, not multiplication by a reciprocal, which would overflow for the smallest scales.
        *code = if scale > 0.0 { (value / scale).round_ties_even().clamp(-limit, limit) as i8 } else { 0 };
    }
}

/// Quantizes one channel to codes in −`magnitude`..=`magnitude`, rounding half to even, and returns the scale:
/// `value ≈ code · scale`, within half a scale. Values must be finite. A channel of zeros, or one so small that its
/// scale underflows, has scale 0 and zero codes.
pub fn quantize_row(values: &[f32], magnitude: i8, codes: &mut [i8]) -> f32 {
    let scale = magnitude_of(values) / f32::from(magnitude);
    round_row(values, scale, magnitude, codes);
    scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_reach_the_magnitude_and_round_half_to_even() {
        let mut codes = [0; 6];
        let scale = quantize_row(&[127.0, -127.0, 0.5, 1.5, -2.5, 0.0], 127, &mut codes);
        assert_eq!((scale, codes), (1.0, [127, -127, 0, 2, -2, 0]));
        let scale = quantize_row(&[127.0, -127.0, 1.0, 0.0, 64.0, -3.0], 64, &mut codes);
        assert_eq!((scale, codes[0], codes[1], codes[4]), (127.0 / 64.0, 64, -64, 32));
    }

    #[test]
    fn clipping_gives_up_a_weight_that_hardly_matters_and_only_then() {
        // Sixty-three small weights and a large one whose input is nearly always zero.
        let mut row: Vec<f32> = (0..64).map(|i| (i as f32 * 0.7).sin() * 0.1).collect();
        row[5] = 1.0;
        let mut importance = vec![1.0; 64];
        importance[5] = 1e-6;
        let error =
            |codes: &Codes, importance: &[f32]| row_error(&row, &codes.codes, codes.scales[0], importance);
        let (plain, clipped) = (Codes::plain(&row, 64, 127), Codes::clipped(&row, 64, 127, &importance));
        assert!(clipped.scales[0] < plain.scales[0]);
        assert!(error(&clipped, &importance) < 0.5 * error(&plain, &importance));
        assert_eq!(clipped.codes[5], 127);
        // Where it matters as much as the others, clipping it would cost far more than it brings.
        let clipped = Codes::clipped(&row, 64, 127, &[1.0; 64]);
        assert!(clipped.scales[0] > 0.99 * plain.scales[0]);
        assert!(error(&clipped, &[1.0; 64]) <= error(&plain, &[1.0; 64]));
    }

    #[test]
    fn zeros_and_the_smallest_numbers_stay_in_range() {
        let mut codes = [1; 2];
        assert_eq!((quantize_row(&[0.0, -0.0], 127, &mut codes), codes), (0.0, [0, 0]));
        for tiny in [1e-45, 1e-43, 1e-40, f32::MIN_POSITIVE] {
            let scale = quantize_row(&[tiny, -tiny], 127, &mut codes);
            assert!(scale.is_finite() && (codes[0] as f32 * scale - tiny).abs() <= tiny, "{tiny}: {codes:?}");
        }
        let scale = quantize_row(&[f32::MAX, -f32::MAX], 127, &mut codes);
        assert!(scale.is_finite() && codes == [127, -127]);
    }
}
