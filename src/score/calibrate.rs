//! What cosines with example pictures count in a score: one number, fitted to pictures that were left out in turn.

use crate::format::Scoring;
use std::vec::Vec;

/// The smallest and the largest scale that is considered.
const SCALES: [f64; 2] = [1.0, 1000.0];
/// Steps of the search: first a grid over the whole range, then ever finer around its best.
const GRID: usize = 48;
const REFINEMENTS: usize = 6;

/// A picture that was left out, against every label.
pub(super) struct Judged {
    /// Its own label.
    pub(super) label: usize,
    /// The largest cosine with other pictures of each label; −∞ where there is none.
    pub(super) pictures: Vec<f32>,
    /// The cosine with the words of each label; −∞ where there are none.
    pub(super) words: Vec<f32>,
}

/// Scales and biases of both kinds of cosines: logit = scale · cosine + bias.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calibration {
    pub(super) pictures: [f64; 2],
    pub(super) words: [f64; 2],
}

impl Calibration {
    /// The logit of `label` for a picture.
    pub(super) fn logit(&self, judged: &Judged, label: usize) -> f64 {
        let of = |[scale, bias]: [f64; 2], cosine: f32| scale * f64::from(cosine) + bias;
        of(self.pictures, judged.pictures[label]).max(of(self.words, judged.words[label]))
    }

    /// The label with the largest logit, the first of equals.
    pub(super) fn best(&self, judged: &Judged) -> usize {
        let mut best = (0, f64::NEG_INFINITY);
        for label in 0..judged.pictures.len() {
            let logit = self.logit(judged, label);
            if logit > best.1 {
                best = (label, logit);
            }
        }
        best.0
    }
}

/// What is fitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Free {
    /// The scale of pictures, for pictures alone: a bias that all labels share has no effect on a softmax.
    Scale,
    /// The bias of pictures: how they compare with words, or with the threshold of a sigmoid.
    Bias,
}

/// The calibration, from `start` on, under which the pictures' own labels are most likely.
///
/// Targets are Platt's (Advances in Large Margin Classifiers, 1999): with n pictures their own label is expected with a
/// probability of (n + 1) / (n + 2), not 1, so that pictures which are all told apart do not make it certain of others.
pub(super) fn fit(all: &[Judged], kind: Option<Scoring>, free: Free, start: Calibration) -> Calibration {
    let with = |value: f64| {
        let [scale, bias] = start.pictures;
        let pictures = if free == Free::Scale { [value.exp(), bias] } else { [scale, value] };
        Calibration { pictures, ..start }
    };
    let (mut low, mut high) = match free {
        Free::Scale => (SCALES[0].ln(), SCALES[1].ln()),
        Free::Bias => {
            // From where pictures never count to where nothing else does.
            let [reach, own] = [start.words, start.pictures].map(|[scale, bias]| scale + bias.abs());
            (-2.0 * (reach + own), 2.0 * (reach + own))
        }
    };
    let (from, to) = (low, high);
    let mut best = low;
    for _ in 0..REFINEMENTS {
        let step = (high - low) / GRID as f64;
        let grid = (0..=GRID).map(|i| low + step * i as f64);
        let losses = grid.map(|value| (value, loss(all, kind, with(value))));
        best =
            losses.fold((best, f64::INFINITY), |best, other| if other.1 < best.1 { other } else { best }).0;
        (low, high) = ((best - step).max(from), (best + step).min(to));
    }
    with(best)
}

/// Cross-entropy of the pictures' labels with Platt's targets.
fn loss(all: &[Judged], kind: Option<Scoring>, calibration: Calibration) -> f64 {
    let n = all.len() as f64;
    let mut sum = 0.0;
    for judged in all {
        let labels = judged.pictures.len();
        let logit = |label: usize| calibration.logit(judged, label);
        if kind == Some(Scoring::Sigmoid) {
            let (right, wrong) = ((n + 1.0) / (n + 2.0), 1.0 / (n * (labels as f64 - 1.0) + 2.0));
            for label in 0..labels {
                let target = if label == judged.label { right } else { wrong };
                sum += target * softplus(-logit(label)) + (1.0 - target) * softplus(logit(label));
            }
        } else {
            let rest = if labels > 1 { 1.0 / (n + 2.0) / (labels - 1) as f64 } else { 0.0 };
            let most = (0..labels).map(logit).fold(f64::NEG_INFINITY, f64::max);
            let total = (0..labels).map(|label| (logit(label) - most).exp()).sum::<f64>().ln() + most;
            for label in (0..labels).filter(|&label| logit(label).is_finite()) {
                let target = if label == judged.label { 1.0 - rest * (labels - 1) as f64 } else { rest };
                sum += target * (total - logit(label));
            }
        }
    }
    sum
}

/// ln(1 + eˣ).
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: f32 = f32::NEG_INFINITY;

    fn pictures(label: usize, pictures: &[f32]) -> Judged {
        Judged { label, pictures: pictures.into(), words: std::vec![NONE; pictures.len()] }
    }

    #[test]
    fn the_scale_makes_the_mean_probability_what_the_pictures_say() {
        // Three of four are told apart by the same margin of 0.1: Platt's targets are met where
        // mean(p right · ...) balances, that is sigmoid(0.1 s) = (3 · 5/6 + 1/6) / 4 = 2/3.
        let all = [(0, 0.1), (0, 0.1), (1, 0.1), (1, -0.1)];
        let all = all.map(|(label, margin): (usize, f32)| {
            let mut cosines = [0.5; 2];
            cosines[label] += margin;
            pictures(label, &cosines)
        });
        let start = Calibration { pictures: [7.0, 0.0], words: [7.0, 0.0] };
        let found = fit(&all, Some(Scoring::Softmax), Free::Scale, start);
        let right = 2f64.ln() / 0.1;
        assert!((found.pictures[0] - right).abs() < 1e-3 * right, "{found:?}, not {right}");
        assert_eq!(found.pictures[1], 0.0);
        // All told apart: finite, and less sure with fewer pictures.
        let sure = |n: usize| {
            let all: Vec<_> =
                (0..n).map(|i| pictures(i % 2, [[0.6, 0.5], [0.5, 0.6]][i % 2].as_slice())).collect();
            fit(&all, Some(Scoring::Embedding), Free::Scale, start).pictures[0]
        };
        assert!(sure(4) < sure(40) && sure(40) < SCALES[1], "{} {}", sure(4), sure(40));
    }

    #[test]
    fn the_bias_puts_pictures_and_words_on_one_scale() {
        // Cosines between pictures are 0.7, those with words 0.2: without a bias pictures would always win.
        let judged =
            |own: f32| Judged { label: 0, pictures: std::vec![own, NONE], words: std::vec![NONE, 0.2] };
        let all: Vec<Judged> = (0..10).map(|_| judged(0.7)).collect();
        let start = Calibration { pictures: [100.0, 0.0], words: [100.0, 0.0] };
        let found = fit(&all, Some(Scoring::Softmax), Free::Bias, start);
        // The examples' own label gets 11/12: a logit of ln 11 above the words' 20.
        let right = 20.0 + 11f64.ln() - 70.0;
        assert!((found.pictures[1] - right).abs() < 1e-2, "{found:?}, not {right}");
        assert_eq!((found.best(&judged(0.7)), found.best(&judged(0.6))), (0, 1));
    }

    #[test]
    fn a_sigmoids_threshold_lies_between_own_and_other_pictures() {
        let all: Vec<_> =
            (0..20).map(|i| pictures(i % 2, [[0.8, 0.4], [0.4, 0.8]][i % 2].as_slice())).collect();
        let start = Calibration { pictures: [100.0, -10.0], words: [100.0, -10.0] };
        let found = fit(&all, Some(Scoring::Sigmoid), Free::Bias, start);
        let threshold = -found.pictures[1] / 100.0;
        assert!((0.55..0.65).contains(&threshold), "{threshold}");
    }
}
