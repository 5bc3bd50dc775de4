//! A quantized model against the f32 one: embeddings of the pictures and texts that no repair was fitted to.

use super::calibration::{Calibration, Frame, NOUNS, split};
use crate::encoders::{image_encoder, merging_encoder, text_encoder};
use crate::error::Result;
use ocelli::format::{LabelBank, Merging};
use ocelli::score::{Scored, normalize, score};
use ocelli::vision::Layer;
use ocelli::{ImageEncoder, ImageOptions, Input, Model, Runtime, TextEncoder, Watch, knobs};
use ocelli_kernels::Isa;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Cosines between what two models make of the same inputs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cosine {
    /// Their mean.
    pub mean: f64,
    /// The least.
    pub min: f64,
}

impl Cosine {
    /// Of rows of `dim` values; `None` if there are none.
    pub fn between(a: &[f32], b: &[f32], dim: usize) -> Option<Cosine> {
        Cosine::of(&cosines(a, b, dim))
    }

    /// Of the cosines of all pairs; `None` if there are none.
    fn of(cosines: &[f64]) -> Option<Cosine> {
        let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
        let min = cosines.iter().copied().fold(1.0, f64::min);
        (!cosines.is_empty()).then(|| Cosine { mean: round(mean), min: round(min) })
    }
}

/// Nine decimals: beyond what f32 embeddings tell, and short enough to come back from JSON as they went in.
pub(super) fn round(value: f64) -> f64 {
    (value * 1e9).round() / 1e9
}

/// The cosine of every pair of rows.
pub fn cosines(a: &[f32], b: &[f32], dim: usize) -> Vec<f64> {
    a.chunks_exact(dim).zip(b.chunks_exact(dim)).map(|(a, b)| cosine(a, b)).collect()
}

/// The cosine of the angle between two vectors; 0 where one has no length.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 { (dot(a, b) / lengths).clamp(-1.0, 1.0) } else { 0.0 }
}

/// What a model makes of the inputs that judge it.
#[derive(Clone, Debug)]
pub(super) struct Embeddings {
    /// Length of one.
    pub dim: usize,
    /// Of pictures, [images, dim].
    pub images: Vec<f32>,
    /// Of texts, [texts, dim].
    pub texts: Vec<f32>,
}

impl Embeddings {
    /// Of the first `images` pictures and `texts` texts that judge.
    ///
    /// # Errors
    /// What the runtime refuses.
    pub(super) fn of(
        model: &Arc<Model>,
        calibration: &Calibration,
        images: usize,
        texts: usize,
    ) -> Result<Embeddings> {
        let mut all = Embeddings { dim: 1, images: Vec::new(), texts: Vec::new() };
        if model.file().has_vision() && images > 0 {
            let judged = split(&calibration.frames).1;
            all.dim = model.config().score.embed_dim as usize;
            all.images = Embeddings::of_images(model, &judged[..images.min(judged.len())], None)?;
        }
        if model.file().has_text() && texts > 0 {
            let mut encoder = text_encoder(model)?;
            all.dim = encoder.embed_dim();
            let mut out = vec![0.0; all.dim];
            for ids in split(&calibration.texts).1.into_iter().take(texts) {
                encoder.encode_ids(ids, &mut out, Watch::default())?;
                all.texts.extend(&out);
            }
        }
        Ok(all)
    }

    /// Of pictures, [images, dim], with tokens merged as `merging` says, if it says something.
    ///
    /// # Errors
    /// What the runtime refuses.
    pub(super) fn of_images(
        model: &Arc<Model>,
        frames: &[&Frame],
        merging: Option<Merging>,
    ) -> Result<Vec<f32>> {
        let mut encoder = merging_encoder(model, merging)?;
        let mut out = vec![0.0; encoder.embed_dim()];
        let mut all = Vec::new();
        for frame in frames {
            frame.show(&mut encoder)?;
            encoder.encode(Input::Frames(1), Layer::Projected, &mut out)?;
            all.extend(&out);
        }
        Ok(all)
    }

    /// Cosines with what another model makes of the same inputs, as far as both have seen them.
    pub(super) fn against(&self, other: &Embeddings) -> CosineSet {
        CosineSet {
            images: cosines(&self.images, &other.images, self.dim),
            texts: cosines(&self.texts, &other.texts, self.dim),
        }
    }
}

/// The cosine of every input that judges.
#[derive(Clone, Debug)]
pub(super) struct CosineSet {
    images: Vec<f64>,
    texts: Vec<f64>,
}

impl CosineSet {
    fn of(&self, tower: Tower) -> &[f64] {
        match tower {
            Tower::Vision => &self.images,
            Tower::Text => &self.texts,
        }
    }

    /// Their means and minima.
    pub(super) fn cosines(&self) -> Cosines {
        Cosines { image: Cosine::of(&self.images), text: Cosine::of(&self.texts) }
    }

    /// The mean of a tower; 1 where the model has no such tower.
    pub(super) fn mean(&self, tower: Tower) -> f64 {
        Cosine::of(self.of(tower)).map_or(1.0, |cosine| cosine.mean)
    }

    /// Whether a tower is better than `before` by more than chance: its losses (1 − cosine) shrink by a factor whose
    /// logarithm is twice its standard error, and their mean does not grow. Factors, because a few inputs lose many times
    /// more than the others, and differences would be theirs alone. A single input tells nothing about chance; with it,
    /// any gain counts.
    pub(super) fn improves(&self, before: &CosineSet, tower: Tower) -> bool {
        // What rounding of f32 gives: smaller losses are as good as none.
        const NONE: f64 = 1e-7;
        let (new, old) = (self.of(tower), before.of(tower));
        let loss = |cosine: &f64| (1.0 - cosine).max(0.0) + NONE;
        let gains: Vec<f64> = new.iter().zip(old).map(|(new, old)| (loss(old) / loss(new)).ln()).collect();
        let n = gains.len().max(1) as f64;
        let mean = gains.iter().sum::<f64>() / n;
        let variance = gains.iter().map(|gain| (gain - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
        mean > 2.0 * (variance / n).sqrt() && self.mean(tower) >= before.mean(tower)
    }

    /// Takes the cosines of a tower over.
    pub(super) fn adopt(&mut self, from: &CosineSet, tower: Tower) {
        match tower {
            Tower::Vision => self.images.clone_from(&from.images),
            Tower::Text => self.texts.clone_from(&from.texts),
        }
    }
}

/// Cosines of both towers; `None` for one that the model has not.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cosines {
    /// Of pictures.
    pub image: Option<Cosine>,
    /// Of texts.
    pub text: Option<Cosine>,
}

impl Cosines {
    fn towers(&self) -> impl Iterator<Item = Cosine> {
        self.image.into_iter().chain(self.text)
    }

    /// The smaller mean of the two towers: what a target is compared with.
    pub(super) fn worst_mean(&self) -> f64 {
        self.towers().map(|cosine| cosine.mean).fold(1.0, f64::min)
    }
}

/// One of the two towers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tower {
    /// Of images.
    Vision,
    /// Of texts.
    Text,
}

impl Tower {
    /// Both.
    pub const ALL: [Tower; 2] = [Tower::Vision, Tower::Text];

    /// What the names of its tensors start with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Tower::Vision => "vision.",
            Tower::Text => "text.",
        }
    }
}

/// What a model answers.
#[derive(Clone, Debug)]
pub(super) struct Predictions {
    /// The best label, or class, of every picture.
    pub best: Vec<usize>,
    /// How many there are to choose from.
    pub labels: usize,
}

impl Predictions {
    /// Of a model by its embeddings of pictures, [images, dim]: over the classes of a classifier, or the labels of `bank`,
    /// or else everyday ones. `None` for a model that has neither classes nor labels to compare with.
    ///
    /// # Errors
    /// What the runtime refuses.
    pub(super) fn of(
        model: &Arc<Model>,
        images: &[f32],
        bank: Option<&LabelBank>,
    ) -> Result<Option<Predictions>> {
        let config = model.file().config();
        let rows = images.chunks_exact(config.score.embed_dim as usize);
        if config.score.classes > 0 && config.has_vision() {
            let mut encoder = image_encoder(model)?;
            let mut logits = vec![0.0; encoder.classes()];
            let best = rows.map(|embedding| {
                encoder.logits_into(embedding, &mut logits)?;
                let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
                Ok(best.unwrap_or_default())
            });
            return Ok(Some(Predictions { best: best.collect::<Result<_>>()?, labels: encoder.classes() }));
        }
        if !(config.has_vision() && (config.has_text() || bank.is_some())) {
            return Ok(None);
        }
        let everyday;
        let bank = match bank {
            Some(bank) => bank.as_bank(),
            None => {
                everyday = everyday_bank(model)?;
                everyday.as_bank()
            }
        };
        let mut scored = vec![Scored::default(); bank.len()];
        let best = rows.map(|embedding| {
            let mut embedding = embedding.to_vec();
            normalize(&mut embedding);
            score(&config.score, &embedding, &bank, &mut scored);
            scored[0].label
        });
        Ok(Some(Predictions { best: best.collect(), labels: bank.len() }))
    }

    /// Share of pictures with the same answer from another model; `None` if there are no pictures.
    pub(super) fn agreement(&self, other: &Predictions) -> Option<f64> {
        let same = self.best.iter().zip(&other.best).filter(|(a, b)| a == b).count();
        (!self.best.is_empty()).then(|| round(same as f64 / self.best.len() as f64))
    }
}

/// A bank of everyday labels by the model's text tower.
fn everyday_bank(model: &Arc<Model>) -> Result<LabelBank> {
    let templates = ocelli::text::templates(&[])?;
    Ok(text_encoder(model)?.embed_labels(&NOUNS, &templates, &mut |_| ())?)
}

/// How far this machine's kernels are from the scalar reference on the first picture (or text):
/// max|a − b| / max|b| over the embedding. LayerNorm and softmax round differently there; where that moves an activation
/// to the next int8 code, the embedding moves by about int8's noise.
///
/// # Errors
/// What the runtime refuses.
pub(super) fn kernel_error(model: &Arc<Model>, calibration: &Calibration) -> Result<f64> {
    let (options, limits) = (knobs::runtime_options()?, knobs::limits()?);
    let mut results = Vec::new();
    for isa in [Isa::SCALAR, options.isa] {
        let runtime = Runtime::new(&options.isa(isa))?;
        let mut out = vec![0.0; model.config().score.embed_dim as usize];
        match (calibration.frames.first(), calibration.texts.first()) {
            (Some(frame), _) => {
                let options = ImageOptions::default().limits(limits);
                let mut encoder = ImageEncoder::new(model, &runtime, &options)?;
                frame.show(&mut encoder)?;
                encoder.encode(Input::Frames(1), Layer::Projected, &mut out)?;
            }
            (None, Some(ids)) => {
                let mut encoder = TextEncoder::new(model, &runtime, &limits)?;
                encoder.encode_ids(ids, &mut out, Watch::default())?;
            }
            (None, None) => {}
        }
        results.push(out);
    }
    let largest = results[0].iter().fold(0f32, |most, value| most.max(value.abs()));
    let off = results[0].iter().zip(&results[1]).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
    Ok(if largest > 0.0 { f64::from(off / largest) } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ocelli::score::dot;

    #[test]
    fn cosines_of_scaled_and_opposite_vectors() {
        let (a, b) = ([3.0, 4.0, 1.0, 0.0], [6.0, 8.0, -2.0, 0.0]);
        assert_eq!(cosines(&a, &b, 2), [1.0, -1.0]);
        let both = Cosine::between(&a, &b, 2).unwrap();
        assert_eq!((both.mean, both.min), (0.0, -1.0));
        assert_eq!(cosine(&[0.0, 0.0], &[1.0, 0.0]), 0.0);
        assert!(Cosine::between(&[], &[], 2).is_none());
        let mut unit = [3.0, 4.0];
        normalize(&mut unit);
        assert!((f64::from(dot(&unit, &[0.6, 0.8])) - 1.0).abs() < 1e-6);
    }
}
