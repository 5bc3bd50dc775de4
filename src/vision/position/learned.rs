//! A learned table for another grid: every library resamples it in its own way.
//!
//! | [`Interpolation`] | filter | taps of output i |
//! |---|---|---|
//! | `Bicubic`: transformers (`interpolate(mode="bicubic", align_corners=False)`) | cubic, a = −0.75 | 4 inputs around `(i + ½)·in/out − ½`, border repeated |
//! | `BicubicAntialias`: timm, open_clip (the same with `antialias=True`) | cubic, a = −0.5 | `(i + ½)·in/out ± 2·max(in/out, 1)`, weights normalised |
//! | `BilinearAntialias`: SigLIP 2 NaFlex | triangle | `(i + ½)·in/out ± max(in/out, 1)`, weights normalised |
//!
//! The cubic is `(a+2)|x|³ − (a+3)x² + 1` up to 1 and `a|x|³ − 5a x² + 8a|x| − 4a` up to 2 (Keys, 1981). On its own
//! grid every one of them gives the table unchanged.

use crate::format::Interpolation;

/// Channels that are summed at once.
const CHUNK: usize = 64;

/// Resamples the rows of `table`, [from.0 · from.1, width], to the grid `to`, [to.0 · to.1, width]. `interpolation` is
/// a stored [`Interpolation`]; with one that cannot resample the grids must be equal.
///
/// # Panics
/// If a length does not fit, or the grids differ and cannot.
pub fn resample(
    interpolation: u32,
    table: &[f32],
    from: (usize, usize),
    to: (usize, usize),
    width: usize,
    out: &mut [f32],
) {
    assert_eq!((table.len(), out.len()), (from.0 * from.1 * width, to.0 * to.1 * width), "positions");
    if from == to {
        return out.copy_from_slice(table);
    }
    let filter = match Interpolation::from_stored(interpolation) {
        Some(Interpolation::Bicubic) => Filter::Cubic { a: -0.75, antialias: false },
        Some(Interpolation::BicubicAntialias) => Filter::Cubic { a: -0.5, antialias: true },
        Some(Interpolation::BilinearAntialias) => Filter::Triangle,
        _ => panic!("positions for {from:?} patches cannot become {to:?}"),
    };
    for (i, out) in out.chunks_exact_mut(width).enumerate() {
        let (rows, columns) = (filter.taps(i / to.1, from.0, to.0), filter.taps(i % to.1, from.1, to.1));
        for (chunk, out) in out.chunks_mut(CHUNK).enumerate() {
            let mut sums = [0.0f64; CHUNK];
            for row in rows.first..rows.end {
                for column in columns.first..columns.end {
                    let weight = rows.weight(row) * columns.weight(column);
                    let at = (rows.input(row) * from.1 + columns.input(column)) * width + chunk * CHUNK;
                    let values = &table[at..][..out.len()];
                    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * f64::from(*value));
                }
            }
            out.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum as f32);
        }
    }
}

#[derive(Clone, Copy)]
enum Filter {
    Cubic { a: f64, antialias: bool },
    Triangle,
}

impl Filter {
    fn at(self, x: f64) -> f64 {
        let x = x.abs();
        match self {
            Filter::Triangle => (1.0 - x).max(0.0),
            Filter::Cubic { a, .. } if x <= 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
            Filter::Cubic { a, .. } if x < 2.0 => ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a,
            Filter::Cubic { .. } => 0.0,
        }
    }

    /// What output `i` of `outputs` reads of `inputs`.
    fn taps(self, i: usize, inputs: usize, outputs: usize) -> Taps {
        let scale = inputs as f64 / outputs as f64;
        let centre = (i as f64 + 0.5) * scale - 0.5;
        let support = if matches!(self, Filter::Triangle) { 1.0 } else { 2.0 };
        let mut taps =
            Taps { filter: self, centre, stretch: scale.max(1.0), inputs, first: 0, end: 0, total: 1.0 };
        if let Filter::Cubic { antialias: false, .. } = self {
            let before = centre.floor() as i64;
            return Taps { stretch: 1.0, first: before - 1, end: before + 3, ..taps };
        }
        let reach = support * taps.stretch;
        taps.first = ((centre + 1.0 - reach) as i64).max(0);
        taps.end = ((centre + 1.0 + reach) as i64).min(inputs as i64);
        taps.total = (taps.first..taps.end).map(|input| taps.weight(input)).sum();
        taps
    }
}

/// The taps of one output along one axis, inputs with their weights; inputs outside the table repeat its border.
struct Taps {
    filter: Filter,
    centre: f64,
    stretch: f64,
    inputs: usize,
    first: i64,
    end: i64,
    total: f64,
}

impl Taps {
    fn weight(&self, input: i64) -> f64 {
        self.filter.at((input as f64 - self.centre) / self.stretch) / self.total
    }

    fn input(&self, input: i64) -> usize {
        input.clamp(0, self.inputs as i64 - 1) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Interpolation; 3] =
        [Interpolation::Bicubic, Interpolation::BicubicAntialias, Interpolation::BilinearAntialias];

    #[test]
    fn a_constant_stays_constant_on_every_grid() {
        let table = [2.5; 5 * 4 * 3];
        for kind in ALL {
            for to in [(5, 4), (1, 1), (7, 3), (2, 9), (40, 41)] {
                let mut out = std::vec![0.0; to.0 * to.1 * 3];
                resample(kind as u32, &table, (5, 4), to, 3, &mut out);
                assert!(out.iter().all(|value| (value - 2.5).abs() < 1e-6), "{kind:?} {to:?}");
            }
        }
    }

    #[test]
    fn known_values_of_each_filter() {
        // torch.nn.functional.interpolate of [0, 1, 4, 9] to 3 and to 8, float64.
        let table = [0.0, 1.0, 4.0, 9.0];
        let mut out = [0.0; 3];
        let near = |out: &[f32], expected: &[f32]| {
            assert!(out.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{out:?} {expected:?}");
        };
        resample(Interpolation::BilinearAntialias as u32, &table, (1, 4), (1, 3), 1, &mut out);
        // Weights of output 0: (1 − ⅛, 1 − ⅝)/1.25 = 0.7, 0.3; of output 1: 0.125, 0.375+0.25, ... symmetric.
        near(&out[..1], &[0.3]);
        near(&out[2..], &[0.3 * 4.0 + 0.7 * 9.0]);
        let mut out = [0.0; 8];
        resample(Interpolation::Bicubic as u32, &table, (1, 4), (1, 8), 1, &mut out);
        // src = 0.75 for output 2: a = −0.75, taps 0 (repeated), 0, 1, 4 at distances 1.75, 0.75, 0.25, 1.25.
        let cubic = |x: f64| Filter::Cubic { a: -0.75, antialias: false }.at(x);
        near(&out[2..3], &[(cubic(0.25) + 4.0 * cubic(1.25)) as f32]);
        assert!((cubic(0.25) - 0.878_906_25).abs() < 1e-12 && (cubic(1.25) + 0.105_468_75).abs() < 1e-12);
    }
}
