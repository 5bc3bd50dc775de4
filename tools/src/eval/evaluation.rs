//! What an evaluation found.

use super::metrics::{Bin, Difference};
use super::retrieval::Retrieval;
use crate::quant::{AccuracyReport, Cosine};
use serde::Serialize;

/// Accuracy over labels.
#[derive(Clone, Debug, Serialize)]
pub struct ZeroShot {
    /// The labels.
    pub labels: Vec<String>,
    /// Share of pictures whose best label is right.
    pub top1: f64,
    /// Share of pictures whose right label is among the five best.
    pub top5: f64,
    /// Pictures by right label (row) and answer (column).
    pub confusion: Vec<Vec<usize>>,
    /// Scores against accuracy, in tenths.
    pub reliability: [Bin; 10],
    /// The best label of every picture.
    #[serde(skip)]
    pub answers: Vec<usize>,
    /// Whether it is the right one.
    #[serde(skip)]
    pub right: Vec<bool>,
}

/// What two models differ in on the same pictures.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The other model.
    pub model: String,
    /// Cosines of picture embeddings.
    pub cosine: Cosine,
    /// Every cosine.
    #[serde(skip)]
    pub cosines: Vec<f64>,
    /// Share of pictures with the same answer.
    pub agreement: Option<f64>,
    /// Accuracy of the first less that of the other.
    pub difference: Option<Difference>,
}

/// The result.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// The model.
    pub model: String,
    /// Pictures.
    pub images: usize,
    /// Zero-shot classification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zero_shot: Option<ZeroShot>,
    /// Retrieval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retrieval: Option<Retrieval>,
    /// Comparison with another model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<Comparison>,
    /// What the file says about its own accuracy.
    #[serde(skip)]
    pub accuracy: Option<AccuracyReport>,
}

impl Evaluation {
    /// For people.
    pub fn render(&self) -> String {
        use std::fmt::Write;
        let mut out = format!("{}: {} images\n", self.model, self.images);
        if let Some(result) = &self.zero_shot {
            let (top1, top5) = (result.top1 * 100.0, result.top5 * 100.0);
            let _ = writeln!(
                out,
                "zero-shot top-1 {top1:.2} %, top-5 {top5:.2} %, {} labels",
                result.labels.len()
            );
            if result.labels.len() <= 24 {
                let _ = writeln!(out, "right label, and the number of answers of each:");
                for (label, row) in result.labels.iter().zip(&result.confusion) {
                    let cells: String = row.iter().map(|count| format!("{count:>6}")).collect();
                    let _ = writeln!(out, "  {label:<16.16}{cells}");
                }
            }
        }
        if let Some(result) = &self.retrieval {
            for (name, recall) in
                [("image to text", result.image_to_text), ("text to image", result.text_to_image)]
            {
                let [one, five, ten] = recall.map(|share| share * 100.0);
                let _ = writeln!(out, "{name}: recall@1 {one:.2} %, @5 {five:.2} %, @10 {ten:.2} %");
            }
            if let Some(loss) = result.loss {
                let _ = writeln!(out, "{}: {loss:.6}", result.loss_name);
            }
        }
        if let Some(other) = &self.against {
            let Cosine { mean, min } = other.cosine;
            let _ = writeln!(out, "against {}: cosine mean {mean:.6}, min {min:.6}", other.model);
            if let (Some(agreement), Some(difference)) = (other.agreement, other.difference) {
                let [low, high] = difference.interval;
                let _ = writeln!(
                    out,
                    "  same answer {:.2} %, top-1 {:+.2} points (95 % interval {low:+.2} to {high:+.2})",
                    agreement * 100.0,
                    difference.points
                );
            }
        }
        out
    }
}
