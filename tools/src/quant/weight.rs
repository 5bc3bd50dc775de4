//! Symmetric int8 with one scale per output channel.

/// Largest magnitude of some values; 0 for none.
pub fn magnitude_of(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |most, value| most.max(value.abs()))
}

/// Quantizes one channel to codes in −`magnitude`..=`magnitude`, rounding half to even, and returns the scale:
/// `value ≈ code · scale`, within half a scale. Values must be finite. A channel of zeros, or one so small that its
/// scale underflows, has scale 0 and zero codes.
pub fn quantize_row(values: &[f32], magnitude: i8, codes: &mut [i8]) -> f32 {
    let limit = f32::from(magnitude);
    let scale = magnitude_of(values) / limit;
    for (code, value) in codes.iter_mut().zip(values) {
        // Division, not multiplication by a reciprocal, which would overflow for the smallest scales.
        *code = if scale > 0.0 { (value / scale).round_ties_even().clamp(-limit, limit) as i8 } else { 0 };
    }
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
