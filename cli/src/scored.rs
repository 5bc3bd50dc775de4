//! A label of a picture as reports and answers have it.

use ocelli::score::Scored;
use serde::Serialize;

/// A label and how well it fits.
#[derive(Serialize)]
pub(crate) struct ScoredLabel {
    pub(crate) label: String,
    pub(crate) score: f32,
    /// Cosine with the label's embedding, or
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) similarity: Option<f32>,
    /// what the model's own classifier says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) logit: Option<f32>,
    /// Left, top, width and height of the tile that it was found in.
    #[serde(rename = "box", skip_serializing_if = "Option::is_none")]
    pub(crate) part: Option<[u32; 4]>,
}

impl ScoredLabel {
    /// `is_class` says that it is one of the model's own classifier.
    pub(crate) fn new(scored: &Scored, label: &str, is_class: bool) -> ScoredLabel {
        ScoredLabel {
            label: label.to_owned(),
            score: scored.score,
            similarity: (!is_class).then_some(scored.similarity),
            logit: is_class.then_some(scored.similarity),
            part: None,
        }
    }
}
