//! Images to labels with scores.

use super::input::{Input, Watch};
use super::parts::{Parts, no_classifier};
use super::{ImageEncoder, check_len, unfit};
use crate::error::Result;
use crate::format::LabelBank;
use crate::preprocess::{PixelView, TileBox, Tiles};
use crate::score::{Scored, normalize, score, score_logits};
use crate::vision::Layer;
use std::string::String;
use std::vec::Vec;

/// What images are scored against.
#[derive(Debug)]
#[non_exhaustive]
pub enum Labels {
    /// Texts, embedded.
    Bank(LabelBank),
    /// The classes of the model's own classifier, by name.
    Classes(Vec<String>),
}

impl Labels {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Labels::Bank(bank) => bank.as_bank().len(),
            Labels::Classes(names) => names.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Label `index`.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn name(&self, index: usize) -> &str {
        match self {
            Labels::Bank(bank) => bank.as_bank().label(index),
            Labels::Classes(names) => &names[index],
        }
    }

    /// Scores `embedding`, as the model gave it, with one result per label; normalises it if labels are texts.
    fn score(&self, mut parts: Parts<'_>, embedding: &mut [f32], out: &mut [Scored]) -> Result<()> {
        match self {
            Labels::Bank(bank) => {
                normalize(embedding);
                score(&parts.config.score, embedding, &bank.as_bank(), out);
            }
            Labels::Classes(_) => {
                let logits = core::mem::take(&mut parts.buffers.logits);
                parts.classify(embedding, logits)?;
                score_logits(logits, out);
            }
        }
        Ok(())
    }
}

/// An image encoder and the labels that it scores against. Classifying allocates nothing.
#[derive(Debug)]
pub struct Classifier {
    encoder: ImageEncoder,
    labels: Labels,
}

impl Classifier {
    /// Scores against the labels of `bank`.
    ///
    /// # Errors
    /// The bank was made with another checkpoint.
    pub fn new(encoder: ImageEncoder, bank: LabelBank) -> Result<Classifier> {
        bank.as_bank().check_fits(encoder.config())?;
        Ok(Classifier { encoder, labels: Labels::Bank(bank) })
    }

    /// Uses the classifier that the model has.
    ///
    /// # Errors
    /// It has none.
    pub fn of_classes(encoder: ImageEncoder) -> Result<Classifier> {
        if encoder.classes() == 0 {
            return Err(no_classifier());
        }
        let names = encoder.model().file().labels().map(String::from).collect();
        Ok(Classifier { encoder, labels: Labels::Classes(names) })
    }

    /// What images are scored against.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The encoder.
    pub fn encoder(&self) -> &ImageEncoder {
        &self.encoder
    }

    /// The encoder, for whatever else is wanted of an image.
    pub fn encoder_mut(&mut self) -> &mut ImageEncoder {
        &mut self.encoder
    }

    /// Scores `image` against every label, and writes the results, best first, to `out` (one element per label).
    ///
    /// # Errors
    /// `out` has another length.
    pub fn classify_into(&mut self, image: &PixelView<'_>, out: &mut [Scored]) -> Result<()> {
        self.encoder.preprocess(core::slice::from_ref(image))?;
        self.classify_frame_into(out)
    }

    /// The same for the encoder's first frame.
    ///
    /// # Errors
    /// As [`classify_into`](Self::classify_into).
    pub fn classify_frame_into(&mut self, out: &mut [Scored]) -> Result<()> {
        self.check(out)?;
        let dim = self.encoder.embed_dim();
        let mut parts = self.encoder.parts()?;
        let embeddings = core::mem::take(&mut parts.buffers.embeddings);
        parts.encode(Input::Frames(1), Layer::Projected, &mut embeddings[..dim], Watch::default())?;
        // `encode` has written the embedding into the arena; it is read back from there.
        let mut parts = self.encoder.parts()?;
        let embeddings = core::mem::take(&mut parts.buffers.embeddings);
        self.labels.score(parts, &mut embeddings[..dim], out)
    }

    /// Classifies `image` as a whole and tile by tile. Against a bank the mean of the normalised embeddings is scored
    /// ([`ImageEncoder::embed_tiles_into`]); a model's own classifier gives the mean of the logits. Every part of the
    /// image and its embedding, not normalised, is shown to `show`.
    ///
    /// # Errors
    /// As [`classify_into`](Self::classify_into); or more tiles than pixels.
    pub fn classify_tiles_into(
        &mut self,
        image: &PixelView<'_>,
        tiles: Tiles,
        out: &mut [Scored],
        show: &mut dyn FnMut(TileBox, &[f32]),
    ) -> Result<()> {
        self.check(out)?;
        // A classifier is linear: the mean of the logits is the logits of the mean.
        let each: fn(&mut [f32]) = if matches!(self.labels, Labels::Bank(_)) { normalize } else { |_| () };
        self.encoder.mean_of_tiles(image, tiles, each, show)?;
        let mut parts = self.encoder.parts()?;
        let mean = core::mem::take(&mut parts.buffers.mean);
        self.labels.score(parts, mean, out)
    }

    /// Scores an `embedding` as the model gave it; normalises it if labels are texts.
    ///
    /// # Errors
    /// A length does not fit.
    pub fn score_into(&mut self, embedding: &mut [f32], out: &mut [Scored]) -> Result<()> {
        self.check(out)?;
        check_len(self.encoder.embed_dim(), embedding)?;
        match &self.labels {
            // Needs no thread, so it does not wait for an encoder that is at work.
            Labels::Bank(bank) => {
                normalize(embedding);
                score(&self.encoder.config().score, embedding, &bank.as_bank(), out);
                Ok(())
            }
            Labels::Classes(_) => self.labels.score(self.encoder.parts()?, embedding, out),
        }
    }

    /// There must be room for every label.
    fn check(&self, out: &[Scored]) -> Result<()> {
        if out.len() == self.labels.len() {
            return Ok(());
        }
        Err(unfit("there must be room for one result for each label", self.labels.len(), out.len()))
    }
}
