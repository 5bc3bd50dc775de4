//! Figures of merit, each as its paper defines it.

use serde::Serialize;

/// Similarities of pictures (rows) and texts (columns), `[pictures][texts]`.
pub type Matrix = Vec<Vec<f64>>;

/// Symmetric InfoNCE (CLIP, arXiv 2103.00020, figure 3): the mean of the cross-entropies over rows and over columns;
/// row i belongs to column i.
pub fn info_nce(logits: &Matrix) -> f64 {
    let n = logits.len();
    let entropy = |at: &dyn Fn(usize, usize) -> f64| {
        let one = |i: usize| {
            let max = (0..n).map(|j| at(i, j)).fold(f64::NEG_INFINITY, f64::max);
            (0..n).map(|j| (at(i, j) - max).exp()).sum::<f64>().ln() + max - at(i, i)
        };
        (0..n).map(one).sum::<f64>() / n as f64
    };
    (entropy(&|i, j| logits[i][j]) + entropy(&|i, j| logits[j][i])) / 2.0
}

/// The sigmoid loss (SigLIP, arXiv 2303.15343, equation 1): −1/n Σᵢⱼ log σ(z·logit), z = 1 on the diagonal, −1 elsewhere.
pub fn sigmoid_loss(logits: &Matrix) -> f64 {
    // −log σ(x) = log(1 + e⁻ˣ), without overflow.
    let soft = |x: f64| (-x.abs()).exp().ln_1p() + (-x).max(0.0);
    let row = |(i, row): (usize, &Vec<f64>)| -> f64 {
        row.iter().enumerate().map(|(j, &logit)| soft(if i == j { logit } else { -logit })).sum()
    };
    logits.iter().enumerate().map(row).sum::<f64>() / logits.len() as f64
}

/// Share of queries whose best right answer is among the k best, for k = 1, 5, 10. Among equals the right one comes
/// last: a model that cannot tell answers apart gets no credit.
pub fn recall(scores: &Matrix, right: impl Fn(usize, usize) -> bool) -> [f64; 3] {
    let mut hits = [0usize; 3];
    for (i, row) in scores.iter().enumerate() {
        let split = row.iter().enumerate().partition::<Vec<_>, _>(|(j, _)| right(i, *j));
        let best = split.0.iter().map(|(_, score)| **score).fold(f64::NEG_INFINITY, f64::max);
        let before = split.1.iter().filter(|(_, score)| **score >= best).count();
        for (hits, k) in hits.iter_mut().zip([1, 5, 10]) {
            *hits += usize::from(before < k);
        }
    }
    hits.map(|hits| hits as f64 / scores.len().max(1) as f64)
}

/// A difference of accuracies on the same pictures.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Difference {
    /// Points by which the first model is ahead.
    pub points: f64,
    /// 95 % confidence interval, from the paired differences.
    pub interval: [f64; 2],
}

/// From whether each of two models got each picture right.
pub fn difference(a: &[bool], b: &[bool]) -> Difference {
    let n = a.len().max(1) as f64;
    let each: Vec<f64> = a.iter().zip(b).map(|(a, b)| f64::from(*a) - f64::from(*b)).collect();
    let mean = each.iter().sum::<f64>() / n;
    let variance = each.iter().map(|d| (d - mean) * (d - mean)).sum::<f64>() / (n - 1.0).max(1.0);
    let half = 1.96 * (variance / n).sqrt();
    Difference { points: mean * 100.0, interval: [(mean - half) * 100.0, (mean + half) * 100.0] }
}

/// One bin of a reliability diagram: answers whose score lies in a tenth of 0..1.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Bin {
    /// Predictions.
    pub count: usize,
    /// Their mean score.
    pub score: f64,
    /// Share that is right.
    pub accuracy: f64,
}

/// Ten bins of (score, right).
pub fn reliability(answers: impl Iterator<Item = (f64, bool)>) -> [Bin; 10] {
    let mut bins = [Bin::default(); 10];
    for (score, right) in answers {
        let bin = &mut bins[((score * 10.0) as usize).min(9)];
        bin.count += 1;
        bin.score += score;
        bin.accuracy += f64::from(right);
    }
    for bin in bins.iter_mut().filter(|bin| bin.count > 0) {
        bin.score /= bin.count as f64;
        bin.accuracy /= bin.count as f64;
    }
    bins
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_of_matrices_that_can_be_done_by_hand() {
        let flat = vec![vec![0.0; 2]; 2];
        assert!((info_nce(&flat) - 2f64.ln()).abs() < 1e-12);
        assert!((sigmoid_loss(&flat) - 2.0 * 2f64.ln()).abs() < 1e-12);
        let sure = vec![vec![1000.0, -1000.0], vec![-1000.0, 1000.0]];
        assert_eq!((info_nce(&sure), sigmoid_loss(&sure)), (0.0, 0.0));
        // A sum over the other axis, not a mean, and no overflow where it is all wrong.
        assert_eq!(sigmoid_loss(&vec![vec![-1000.0, 1000.0], vec![1000.0, -1000.0]]), 2000.0);
    }

    #[test]
    fn recall_counts_ranks_and_gives_no_credit_for_ties() {
        let scores = vec![(0..12).map(f64::from).collect::<Vec<f64>>(); 12];
        let [one, five, ten] = recall(&scores, |i, j| i == j);
        assert_eq!((one * 12.0, five * 12.0, ten * 12.0), (1.0, 5.0, 10.0));
        assert_eq!(recall(&vec![vec![0.0; 4]; 4], |i, j| i == j), [0.0, 1.0, 1.0]);
    }

    #[test]
    fn differences_have_an_interval_and_bins_add_up() {
        let (a, b) = ([true, true, true, false], [true, false, true, false]);
        let difference = difference(&a, &b);
        assert_eq!(difference.points, 25.0);
        assert!(difference.interval[0] < 0.0 && difference.interval[1] > 25.0);
        let bins = reliability([(0.05, false), (0.95, true), (1.0, false)].into_iter());
        assert_eq!((bins[0].count, bins[9].count, bins[9].accuracy), (1, 2, 0.5));
    }
}
