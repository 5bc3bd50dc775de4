//! From an embedding and a label bank to labels with scores.

mod bank;

pub use bank::OwnedBank;

use crate::format::{Bank, ScoreConfig, Scoring};

/// One label's result.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scored {
    /// Index into the label bank.
    pub label: usize,
    /// Cosine of the angle between image and label.
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
    match Scoring::from_stored(config.kind) {
        Some(Scoring::Softmax) => {
            let logit = |scored: &Scored| config.logit_scale * scored.similarity;
            let max = out.iter().map(logit).fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = out.iter().map(|scored| f64::from(logit(scored) - max).exp()).sum();
            out.iter_mut().for_each(|s| s.score = (f64::from(logit(s) - max).exp() / sum) as f32);
        }
        Some(Scoring::Sigmoid) => out.iter_mut().for_each(|s| {
            let logit = f64::from(config.logit_scale * s.similarity + config.logit_bias);
            s.score = (1.0 / (1.0 + (-logit).exp())) as f32;
        }),
        Some(Scoring::Embedding) | None => out.iter_mut().for_each(|s| s.score = s.similarity),
    }
    // Equal scores keep the labels' order.
    out.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.label.cmp(&b.label)));
}
