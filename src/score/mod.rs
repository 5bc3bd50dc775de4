//! From an embedding and a label bank to labels with scores.

use crate::format::{Bank, ScoreConfig, Scoring};

/// One label's result.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scored {
    /// Index into the label bank.
    pub label: usize,
    /// Cosine of the angle between image and label; of a classifier's class, its logit.
    pub similarity: f32,
    /// Probability: over all labels (softmax) or of this one alone (sigmoid); the cosine where the model knows none.
    pub score: f32,
}

/// Divides `x` by its Euclidean length. A vector of zeros stays as it is.
pub fn normalize(x: &mut [f32]) {
    let length = dot(x, x).sqrt();
    if length > 0.0 {
        x.iter_mut().for_each(|x| *x /= length);
    }
}

/// The inner product, summed in f64 so that its order does not show.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>() as f32
}

/// Scores the normalised `embedding` against every label of `bank` into `out`, best first.
///
/// CLIP (arXiv 2103.00020): softmax over `logit_scale · cosine`. SigLIP (arXiv 2303.15343):
/// `sigmoid(logit_scale · cosine + logit_bias)`.
///
/// # Panics
/// If `out` has not one element per label.
pub fn score(config: &ScoreConfig, embedding: &[f32], bank: &Bank<'_>, out: &mut [Scored]) {
    assert_eq!(out.len(), bank.len(), "one result per label");
    for (label, out) in out.iter_mut().enumerate() {
        *out = Scored { label, similarity: dot(embedding, bank.embedding(label)), score: 0.0 };
    }
    // In f64 no scale that f32 holds overflows.
    let (scale, bias) = (f64::from(config.logit_scale), f64::from(config.logit_bias));
    let scaled = |scored: &Scored| scale * f64::from(scored.similarity);
    match Scoring::from_stored(config.kind) {
        Some(Scoring::Softmax) => softmax(scale, out),
        Some(Scoring::Sigmoid) => out.iter_mut().for_each(|s| {
            s.score = (1.0 / (1.0 + (-(scaled(s) + bias)).exp())) as f32;
        }),
        Some(Scoring::Embedding | Scoring::Classifier) | None => {
            out.iter_mut().for_each(|s| s.score = s.similarity)
        }
    }
    sort(out);
}

/// The probabilities of a classifier's classes, softmax over its `logits`, into `out`, best first.
///
/// # Panics
/// If `out` has not one element per logit.
pub fn score_logits(logits: &[f32], out: &mut [Scored]) {
    assert_eq!(out.len(), logits.len(), "one result per class");
    for (label, (out, &similarity)) in out.iter_mut().zip(logits).enumerate() {
        *out = Scored { label, similarity, score: 0.0 };
    }
    softmax(1.0, out);
    sort(out);
}

/// Every score becomes its share of `exp(scale · similarity)`.
fn softmax(scale: f64, out: &mut [Scored]) {
    let scaled = |scored: &Scored| scale * f64::from(scored.similarity);
    let max = out.iter().map(scaled).fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = out.iter().map(|scored| (scaled(scored) - max).exp()).sum();
    out.iter_mut().for_each(|s| s.score = ((scaled(s) - max).exp() / sum) as f32);
}

/// Best first; equal scores keep the labels' order.
fn sort(out: &mut [Scored]) {
    out.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.label.cmp(&b.label)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{LabelBank, bank};
    use bytemuck::Zeroable;
    use std::vec::Vec;

    /// Cosines of `EMBEDDING` with the labels: 0.6, 0.8, 0.6, -0.8.
    const LABELS: [f32; 8] = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, -1.0];
    const EMBEDDING: [f32; 2] = [0.6, 0.8];

    fn scored(embedding: [f32; 2], kind: Scoring, logit_scale: f32, logit_bias: f32) -> Vec<Scored> {
        let bytes = bank::write(&["a", "b", "c", "d"], &["{}"], 2, &LABELS, [7; 16]).unwrap();
        let bank = LabelBank::new(&bytes).unwrap();
        let config =
            ScoreConfig { kind: kind as u32, embed_dim: 2, logit_scale, logit_bias, ..ScoreConfig::zeroed() };
        let mut out = std::vec![Scored::default(); 4];
        score(&config, &embedding, &bank.as_bank(), &mut out);
        out
    }

    fn assert_scores(found: &[Scored], labels: [usize; 4], scores: [f64; 4]) {
        for (found, (label, score)) in found.iter().zip(labels.into_iter().zip(scores)) {
            let off = (f64::from(found.score) - score).abs();
            assert!(found.label == label && off < 1e-6, "{found:?} instead of {label} with {score}");
        }
    }

    #[test]
    fn each_kind_of_score_is_its_formula_and_ties_keep_the_labels_order() {
        let order = [1, 0, 2, 3];
        let logits = [8.0f64, 6.0, 6.0, -8.0];
        let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
        let softmax = scored(EMBEDDING, Scoring::Softmax, 10.0, 0.0);
        assert_scores(&softmax, order, logits.map(|logit| logit.exp() / sum));
        assert_eq!(softmax.iter().map(|s| s.similarity).collect::<Vec<_>>(), [0.8, 0.6, 0.6, -0.8]);
        let sigmoid = scored(EMBEDDING, Scoring::Sigmoid, 10.0, -7.0);
        assert_scores(&sigmoid, order, logits.map(|logit| 1.0 / (1.0 + (7.0 - logit).exp())));
        let plain = scored(EMBEDDING, Scoring::Embedding, 10.0, -7.0);
        assert_scores(&plain, order, [0.8, 0.6, 0.6, -0.8]);
    }

    #[test]
    fn huge_logits_stay_probabilities() {
        // Cosines above 1, where rounding can take them: in f32 the largest scale would overflow.
        let long = |kind, scale, bias| scored([1.2, 1.6], kind, scale, bias);
        for scale in [f32::MAX, 1e30, 1e4] {
            assert_scores(&long(Scoring::Softmax, scale, 0.0), [1, 0, 2, 3], [1.0, 0.0, 0.0, 0.0]);
            assert_scores(&long(Scoring::Softmax, -scale, 0.0), [3, 0, 1, 2], [1.0, 0.0, 0.0, 0.0]);
            assert_scores(&long(Scoring::Sigmoid, scale, 1.0), [0, 1, 2, 3], [1.0, 1.0, 1.0, 0.0]);
            assert_scores(&long(Scoring::Sigmoid, -scale, -1.0), [3, 0, 1, 2], [1.0, 0.0, 0.0, 0.0]);
        }
        assert_scores(&long(Scoring::Softmax, 0.0, 0.0), [0, 1, 2, 3], [0.25; 4]);
    }

    #[test]
    fn normalizing_gives_length_1_and_leaves_zeros() {
        let mut x = [3.0, -4.0];
        normalize(&mut x);
        assert_eq!(x, [0.6, -0.8]);
        let mut zeros = [0.0; 3];
        normalize(&mut zeros);
        assert_eq!(zeros, [0.0; 3]);
    }
}
