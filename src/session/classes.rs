//! Images through a session whose model has a classifier of its own.

use super::encode::{Source, encode_images};
use super::image::no_vision;
use super::{Parts, Session, check_finite, check_len, forward};
use crate::error::{Error, Result};
use crate::nn::Forward;
use crate::preprocess::PixelView;
use crate::score::{Scored, score_logits};
use crate::vision::Layer;

impl Session<'_> {
    /// Classes of the model's own classifier; 0 if it has none. [`File::labels`](crate::format::File::labels) names
    /// them.
    pub fn classes(&self) -> usize {
        self.config.score.classes as usize
    }

    /// The classifier's logits, one per class, for an `embedding` that is not normalised. Allocates nothing.
    ///
    /// # Errors
    /// No classifier, or a length does not fit.
    pub fn logits_into(&mut self, embedding: &[f32], logits: &mut [f32]) -> Result<()> {
        check_len(self.classes(), logits)?;
        check_len(self.dimensions.embed_dim, embedding)?;
        classify(self.parts(), embedding, logits)
    }

    /// Classifies `image` with the model's own classifier: every class, best first, to `out` (one element per class).
    /// Allocates nothing.
    ///
    /// # Errors
    /// No classifier, or `out` has another length.
    pub fn classify_own_into(&mut self, image: &PixelView<'_>, out: &mut [Scored]) -> Result<()> {
        self.preprocess(core::slice::from_ref(image))?;
        self.classify_frame_into(out)
    }

    /// The same for the session's first frame.
    ///
    /// # Errors
    /// As [`classify_own_into`](Self::classify_own_into).
    pub fn classify_frame_into(&mut self, out: &mut [Scored]) -> Result<()> {
        self.check_classes(out)?;
        let mut parts = self.parts();
        let dim = parts.dimensions.embed_dim;
        let embeddings = core::mem::take(&mut parts.buffers.embeddings);
        encode_images(parts, Source::Frames(1), Layer::Projected, &mut embeddings[..dim], None, None)?;
        // The same memory once more: the embedding is still there.
        let mut parts = self.parts();
        let embeddings = core::mem::take(&mut parts.buffers.embeddings);
        let logits = core::mem::take(&mut parts.buffers.logits);
        classify(parts, &embeddings[..dim], logits)?;
        score_logits(logits, out);
        Ok(())
    }

    /// There must be classes, and room for all of them.
    pub(super) fn check_classes(&self, out: &[Scored]) -> Result<()> {
        match self.classes() {
            0 => Err(no_classifier()),
            classes if out.len() == classes => Ok(()),
            classes => {
                let room = out.len();
                Err(Error::Message(std::format!("room for {room} classes; the model has {classes}")))
            }
        }
    }
}

fn no_classifier() -> Error {
    Error::Message("this model has no classifier of its own: score it against labels".into())
}

/// `logits = classifier(embedding)`
pub(super) fn classify(parts: Parts<'_, '_>, embedding: &[f32], logits: &mut [f32]) -> Result<()> {
    let classifier = parts.vision.ok_or_else(no_vision)?.classifier.as_ref();
    if classifier.is_none() {
        return Err(no_classifier());
    }
    let mut forward = forward!(parts, None);
    forward.project(classifier, embedding, logits);
    check_finite(logits)
}
