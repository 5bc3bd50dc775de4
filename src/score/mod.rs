//! From an embedding and a label bank to labels with scores; and from example pictures to a label bank.

mod calibrate;
mod cluster;
mod examples;

use crate::format::{Bank, ScoreConfig, Scoring};

pub use examples::{Confusion, Examples, LeftOut, UNFITTED_SCALE};

/// One label's result.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scored {
    /// Index into the label bank.
    pub label: usize,
    /// Cosine of the angle between image and label, where a label has several embeddings that of the one which decides its
    /// score; of a classifier's class, its logit.
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
/// `sigmoid(logit_scale · cosine + logit_bias)`. Where the bank has scales and biases of its own, a label's logit is the
/// largest of its embeddings', and models without a `logit_scale` get a softmax over these logits too.
///
/// # Panics
/// If `out` has not one element per label.
pub fn score(config: &ScoreConfig, embedding: &[f32], bank: &Bank<'_>, out: &mut [Scored]) {
    assert_eq!(out.len(), bank.len(), "one result per label");
    for (label, out) in out.iter_mut().enumerate() {
        *out = best_prototype(embedding, bank, label);
    }
    let kind = Scoring::from_stored(config.kind);
    if bank.has_logits() {
        let logit = |scored: &Scored| f64::from(scored.score);
        match kind {
            Some(Scoring::Sigmoid) => sigmoids(logit, out),
            _ => softmax(logit, out),
        }
    } else {
        // In f64 no scale that f32 holds overflows.
        let (scale, bias) = (f64::from(config.logit_scale), f64::from(config.logit_bias));
        let scaled = |scored: &Scored| scale * f64::from(scored.similarity);
        match kind {
            Some(Scoring::Softmax) => softmax(scaled, out),
            Some(Scoring::Sigmoid) => sigmoids(|scored| scaled(scored) + bias, out),
            Some(Scoring::Embedding | Scoring::Classifier) | None => {
                out.iter_mut().for_each(|s| s.score = s.similarity)
            }
        }
    }
    sort(out);
}

/// The cosine of a label's best embedding and, in place of the score, its logit: the cosine itself where the bank has no
/// scales.
fn best_prototype(embedding: &[f32], bank: &Bank<'_>, label: usize) -> Scored {
    let scored = bank.prototypes(label).map(|prototype| {
        let similarity = dot(embedding, prototype.embedding);
        let score = match prototype.logit {
            Some(logit) => logit.scale * similarity + logit.bias,
            None => similarity,
        };
        Scored { label, similarity, score }
    });
    let best = scored.reduce(|best, other| if other.score > best.score { other } else { best });
    best.unwrap_or(Scored { label, ..Scored::default() })
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
    softmax(|scored| f64::from(scored.similarity), out);
    sort(out);
}

/// Every score becomes its share of `exp(logit)`.
fn softmax(logit: impl Fn(&Scored) -> f64, out: &mut [Scored]) {
    let max = out.iter().map(&logit).fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = out.iter().map(|scored| (logit(scored) - max).exp()).sum();
    out.iter_mut().for_each(|s| s.score = ((logit(s) - max).exp() / sum) as f32);
}

/// Every score becomes the probability of its own label.
fn sigmoids(logit: impl Fn(&Scored) -> f64, out: &mut [Scored]) {
    out.iter_mut().for_each(|s| s.score = (1.0 / (1.0 + (-logit(s)).exp())) as f32);
}

/// Best first; equal scores keep the labels' order.
fn sort(out: &mut [Scored]) {
    out.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.label.cmp(&b.label)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::LabelBank;
    use crate::format::bank::{self, Logit};
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

    #[test]
    fn a_label_with_several_embeddings_counts_once_by_the_best_of_them() {
        // Cosines: 0.6 and 0.8 for "two ways", 0.6 for "one"; logits 6 and 9, 7.
        let logits = [(10.0, 0.0), (10.0, 1.0), (5.0, 4.0)].map(|(scale, bias)| Logit { scale, bias });
        let embeddings = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0];
        let none: [&str; 0] = [];
        let rows = (&[2, 1][..], &logits[..]);
        let bytes =
            bank::write_prototypes(&["two ways", "one"], &none, 2, &embeddings, rows, [7; 16]).unwrap();
        let bank = LabelBank::new(&bytes).unwrap();
        let odds = |x: f64| 1.0 / (1.0 + (-x).exp());
        for (kind, scores) in [
            (Scoring::Softmax, [odds(2.0), odds(-2.0)]),
            (Scoring::Embedding, [odds(2.0), odds(-2.0)]),
            (Scoring::Sigmoid, [odds(9.0), odds(7.0)]),
        ] {
            // The model's own scale does not count.
            let config =
                ScoreConfig { kind: kind as u32, embed_dim: 2, logit_scale: 50.0, ..ScoreConfig::zeroed() };
            let mut out = [Scored::default(); 2];
            score(&config, &EMBEDDING, &bank.as_bank(), &mut out);
            assert_eq!(out.map(|scored| (scored.label, scored.similarity)), [(0, 0.8), (1, 0.6)]);
            for (found, right) in out.iter().zip(scores) {
                assert!((f64::from(found.score) - right).abs() < 1e-6, "{kind:?}: {found:?}, not {right}");
            }
        }
    }

    /// Of two embeddings that score the same, the first gives the similarity.
    #[test]
    fn the_first_of_equal_embeddings_counts() {
        let logits = [Logit { scale: 4.0, bias: 1.0 }, Logit { scale: 8.0, bias: 0.0 }];
        let none: [&str; 0] = [];
        let embeddings = [0.0, 1.0, 1.0, 0.0];
        let bytes =
            bank::write_prototypes(&["both"], &none, 2, &embeddings, (&[2][..], &logits[..]), [7; 16])
                .unwrap();
        let bank = LabelBank::new(&bytes).unwrap();
        let mut out = [Scored::default()];
        let config = ScoreConfig { kind: Scoring::Sigmoid as u32, embed_dim: 2, ..ScoreConfig::zeroed() };
        // 4 · 0.75 + 1 and 8 · 0.5 are both 4.
        score(&config, &[0.5, 0.75], &bank.as_bank(), &mut out);
        assert_eq!((out[0].label, out[0].similarity), (0, 0.75));
    }

    #[test]
    fn a_classifiers_probabilities_are_the_softmax_of_its_logits_best_first() {
        let mut out = [Scored::default(); 4];
        score_logits(&[8.0, 10.0, 8.0, 3.0], &mut out);
        let sum: f64 = [8.0f64, 10.0, 8.0, 3.0].iter().map(|logit| logit.exp()).sum();
        assert_scores(&out, [1, 0, 2, 3], [10.0f64, 8.0, 8.0, 3.0].map(|logit| logit.exp() / sum));
        assert_eq!(out.map(|scored| scored.similarity), [10.0, 8.0, 8.0, 3.0]);
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
