//! Labels from example pictures: nearest class mean, or nearest of several means.

use super::calibrate::{Calibration, Free, Judged, fit};
use super::{cluster, dot, normalize};
use crate::error::{Error, Result};
use crate::format::bank::{self, Bank, LabelBank, Logit};
use crate::format::{Config, Scoring};
use std::borrow::ToOwned;
use std::string::String;
use std::vec::Vec;

/// The scale of pictures where there is nothing to fit it to, because every label has a single one.
pub const UNFITTED_SCALE: f32 = 10.0;
/// Most pictures that are left out in turn, spread evenly over all.
const MOST_LEFT_OUT: usize = 4000;

/// Pictures, and perhaps words, of labels, from which a [`LabelBank`] is made: for models without a text tower, and for
/// things that have no name.
///
/// A label is the mean of its pictures' normalised embeddings, normalised again (a nearest-class-mean classifier), or the
/// means of several groups of them. A picture's cosine with a label is that with the nearest mean.
///
/// ```
/// use ocelli::score::Examples;
/// use ocelli::{Classifier, ImageEncoder, ImageOptions, Model, Runtime, RuntimeOptions};
/// # use ocelli::preprocess::{Packed, PixelView};
///
/// # fn main() -> ocelli::Result<()> {
/// let model = Model::open(concat!(env!("CARGO_MANIFEST_DIR"), "/models/demo.ocelli"))?;
/// let runtime = Runtime::new(&RuntimeOptions::default())?;
/// let mut encoder = ImageEncoder::new(&model, &runtime, &ImageOptions::default())?;
/// let mut examples = Examples::new(model.config());
/// let mut embedding = vec![0.0; encoder.embed_dim()];
/// # let pixels = |colour: [u8; 3]| colour.repeat(64);
/// for (label, colour) in [("sky", [30, 90, 200]), ("sky", [50, 110, 220]), ("grass", [40, 160, 30])] {
///     let pixels = pixels(colour);
///     encoder.embed_into(&PixelView::new(Packed::Rgb, &pixels, 8, 8, 24)?, &mut embedding)?;
///     examples.add(label, &embedding)?;
/// }
/// let (bank, left_out) = examples.bank(1)?;
/// assert_eq!((left_out.judged, left_out.alone), (2, vec![1]));
/// let classifier = Classifier::new(encoder, bank)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Examples {
    config: Config,
    labels: Vec<Label>,
    templates: Vec<String>,
}

#[derive(Clone, Debug, Default)]
struct Label {
    name: String,
    /// The embedding of its words; empty without.
    words: Vec<f32>,
    /// Embeddings of its pictures, [pictures, channels], normalised.
    pictures: Vec<f32>,
}

/// How well example pictures are told apart: each is taken out of its label in turn, and then classified.
///
/// With several means per label, the picture is taken out of the mean of its group, and the groups stay as they are.
/// Of more than 4,000 pictures, 4,000 are taken out, spread evenly.
#[derive(Clone, Debug, PartialEq)]
pub struct LeftOut {
    /// Pictures that were judged: all whose label has another picture, or words.
    pub judged: usize,
    /// How many of them got their own label.
    pub right: usize,
    /// Pictures that got another label, by both labels, the most frequent first.
    pub confusions: Vec<Confusion>,
    /// Labels with a single picture and no words, by their index in the bank: nothing is known about them.
    pub alone: Vec<usize>,
    /// What cosines with pictures count in the bank: fitted to the pictures that were left out.
    pub logit: Logit,
}

/// Pictures of one label that were taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confusion {
    /// Their label, by its index in the bank.
    pub label: usize,
    /// What they were taken for.
    pub taken_for: usize,
    /// How many.
    pub pictures: usize,
}

/// The groups of a label's pictures.
struct Groups {
    /// The group of every picture.
    of: Vec<usize>,
    /// Sum of each group's embeddings, [groups, channels].
    sums: Vec<f32>,
    /// The same of length 1: the prototypes.
    means: Vec<f32>,
}

impl Examples {
    /// Of the model with this configuration.
    pub fn new(config: &Config) -> Examples {
        Examples { config: *config, labels: Vec::new(), templates: Vec::new() }
    }

    /// Adds the labels of `bank`, whose embeddings are those of words. A label that has pictures too is recognised by
    /// either.
    ///
    /// # Errors
    /// The bank is of another model, or made with pictures itself.
    pub fn add_words(&mut self, bank: &Bank<'_>) -> Result<()> {
        bank.check_fits(&self.config)?;
        if bank.has_logits() {
            return Err(Error::Labels {
                problem: "this bank has pictures in it: words are needed here".into(),
            });
        }
        for (i, label) in bank.labels().enumerate() {
            self.label(label).words = bank.embeddings()[i * bank.dim()..][..bank.dim()].to_vec();
        }
        self.templates = bank.templates().map(ToOwned::to_owned).collect();
        Ok(())
    }

    /// Adds a picture of `label` by its embedding, as the model gave it.
    ///
    /// # Errors
    /// The label is blank, or the embedding has another length than the model's, or no direction.
    pub fn add(&mut self, label: &str, embedding: &[f32]) -> Result<()> {
        if embedding.len() != self.dim() {
            let (dim, len) = (self.dim(), embedding.len());
            let problem = std::format!("an embedding of {len} values; this model's have {dim}");
            return Err(Error::Labels { problem });
        }
        let mut embedding = embedding.to_vec();
        normalize(&mut embedding);
        if !embedding.iter().all(|value| value.is_finite()) || embedding.iter().all(|&value| value == 0.0) {
            let problem = "the picture's embedding is no direction: it is zero or not finite".into();
            return Err(Error::Labels { problem });
        }
        if label.trim().is_empty() {
            return Err(Error::Labels { problem: "the label of a picture is empty".into() });
        }
        self.label(label).pictures.extend(embedding);
        Ok(())
    }

    /// The bank with up to `prototypes` means per label, labels in the order in which they were added, and how well it
    /// tells its own pictures apart.
    ///
    /// What a cosine with a picture counts is fitted to the pictures that are left out in turn, by maximum likelihood
    /// with Platt's targets. With pictures alone and a softmax (also for models that have no `logit_scale`) that is the
    /// scale. Next to words, and where each label is judged for itself (SigLIP), the scale is the model's `logit_scale`,
    /// and the bias is fitted: cosines between pictures are larger than those between pictures and words.
    ///
    /// # Errors
    /// There is no label, `prototypes` is 0, or there is nothing to fit a bias to: each label with pictures has a single
    /// one, and no words.
    pub fn bank(&self, prototypes: usize) -> Result<(LabelBank, LeftOut)> {
        if prototypes == 0 || self.labels.is_empty() {
            let problem = "a label bank needs one label and one prototype per label at least";
            return Err(Error::Labels { problem: problem.into() });
        }
        let groups: Vec<Groups> = self.labels.iter().map(|label| self.groups(label, prototypes)).collect();
        let judged = self.leave_out(&groups);
        let calibration = self.calibrate(&judged)?;
        let logit = |[scale, bias]: [f64; 2]| Logit { scale: scale as f32, bias: bias as f32 };
        let (of_pictures, of_words) = (logit(calibration.pictures), logit(calibration.words));
        let (mut embeddings, mut counts, mut logits) = (Vec::new(), Vec::new(), Vec::new());
        for (label, groups) in self.labels.iter().zip(&groups) {
            let before = logits.len();
            for (values, logit) in [(&label.words, of_words), (&groups.means, of_pictures)] {
                embeddings.extend_from_slice(values);
                logits.resize(logits.len() + values.len() / self.dim(), logit);
            }
            counts.push((logits.len() - before) as u32);
        }
        let names: Vec<&str> = self.labels.iter().map(|label| label.name.as_str()).collect();
        let rows = (&counts[..], &logits[..]);
        let id = self.config.checkpoint_id;
        let bytes = bank::write_prototypes(&names, &self.templates, self.dim(), &embeddings, rows, id)?;
        Ok((LabelBank::new(&bytes)?, self.left_out(&judged, &calibration, of_pictures)))
    }

    fn dim(&self) -> usize {
        self.config.score.embed_dim as usize
    }

    fn label(&mut self, name: &str) -> &mut Label {
        let at = self.labels.iter().position(|label| label.name == name).unwrap_or_else(|| {
            self.labels.push(Label { name: name.into(), ..Label::default() });
            self.labels.len() - 1
        });
        &mut self.labels[at]
    }

    fn groups(&self, label: &Label, prototypes: usize) -> Groups {
        let dim = self.dim();
        let of = if label.pictures.is_empty() {
            Vec::new()
        } else {
            cluster::groups(&label.pictures, dim, prototypes)
        };
        let mut sums = Vec::new();
        for group in 0..of.iter().max().map_or(0, |most| most + 1) {
            let members = label.pictures.chunks_exact(dim).zip(&of).filter(|&(_, &of)| of == group);
            sums.extend(cluster::sum(members.map(|(picture, _)| picture), dim));
        }
        let mut means = sums.clone();
        for (group, mean) in means.chunks_exact_mut(dim).enumerate() {
            normalize(mean);
            // Opposite pictures cancel out: the first of them stands for the group.
            if mean.iter().all(|&value| value == 0.0) {
                let first = of.iter().position(|&of| of == group).unwrap_or_default();
                mean.copy_from_slice(&label.pictures[first * dim..][..dim]);
            }
        }
        Groups { of, sums, means }
    }

    /// The cosines of every picture with all labels, itself taken out of its own.
    fn leave_out(&self, groups: &[Groups]) -> Vec<Judged> {
        let dim = self.dim();
        let pictures = self.labels.iter().enumerate().flat_map(|(label, of)| {
            of.pictures.chunks_exact(dim).enumerate().map(move |(i, picture)| (label, i, picture))
        });
        let count = pictures.clone().count();
        let step = count.div_ceil(MOST_LEFT_OUT).max(1);
        let most = |rows: &[f32], picture: &[f32]| {
            rows.chunks_exact(dim).map(|row| dot(row, picture)).fold(f32::NEG_INFINITY, f32::max)
        };
        pictures
            .step_by(step)
            .filter_map(|(label, i, picture)| {
                let words = self.labels.iter().map(|label| most(&label.words, picture)).collect();
                let mut cosines: Vec<f32> = groups.iter().map(|of| most(&of.means, picture)).collect();
                cosines[label] = most(&groups[label].without(i, picture), picture);
                let judged = Judged { label, pictures: cosines, words };
                let known = judged.pictures[label].max(judged.words[label]);
                (known > f32::NEG_INFINITY).then_some(judged)
            })
            .collect()
    }

    fn calibrate(&self, judged: &[Judged]) -> Result<Calibration> {
        let score = &self.config.score;
        let kind = Scoring::from_stored(score.kind);
        let words = [f64::from(score.logit_scale), f64::from(score.logit_bias)];
        let mixed = self.labels.iter().any(|label| !label.words.is_empty());
        let has_scale = matches!(kind, Some(Scoring::Softmax | Scoring::Sigmoid));
        if has_scale && (mixed || kind == Some(Scoring::Sigmoid)) {
            if judged.is_empty() && self.labels.iter().any(|label| !label.pictures.is_empty()) {
                let problem = "each label has a single picture, so there is nothing to learn from how alike pictures \
                               of one thing are: give one label two pictures or more";
                return Err(Error::Labels { problem: problem.into() });
            }
            let start = Calibration { pictures: words, words };
            return Ok(if judged.is_empty() { start } else { fit(judged, kind, Free::Bias, start) });
        }
        let start = Calibration { pictures: [UNFITTED_SCALE.into(), 0.0], words };
        let fits = !judged.is_empty() && self.labels.len() > 1;
        Ok(if fits { fit(judged, kind, Free::Scale, start) } else { start })
    }

    fn left_out(&self, judged: &[Judged], calibration: &Calibration, logit: Logit) -> LeftOut {
        let mut confusions: Vec<Confusion> = Vec::new();
        for one in judged {
            let (label, taken_for) = (one.label, calibration.best(one));
            if label != taken_for {
                let known =
                    confusions.iter_mut().find(|known| (known.label, known.taken_for) == (label, taken_for));
                match known {
                    Some(known) => known.pictures += 1,
                    None => confusions.push(Confusion { label, taken_for, pictures: 1 }),
                }
            }
        }
        let wrong: usize = confusions.iter().map(|confusion| confusion.pictures).sum();
        confusions.sort_by_key(|c| (core::cmp::Reverse(c.pictures), c.label, c.taken_for));
        let single = |label: &Label| label.words.is_empty() && label.pictures.len() == self.dim();
        let alone = (0..self.labels.len()).filter(|&i| single(&self.labels[i])).collect();
        LeftOut { judged: judged.len(), right: judged.len() - wrong, confusions, alone, logit }
    }
}

impl Groups {
    /// The means without picture `i`, whose embedding is `picture`.
    fn without(&self, i: usize, picture: &[f32]) -> Vec<f32> {
        let (dim, group) = (picture.len(), self.of[i]);
        let mut means = self.means.clone();
        let own = group * dim..(group + 1) * dim;
        if self.of.iter().filter(|&&of| of == group).count() == 1 {
            means.drain(own);
            return means;
        }
        let mean = &mut means[own.clone()];
        for ((mean, sum), value) in mean.iter_mut().zip(&self.sums[own]).zip(picture) {
            *mean = sum - value;
        }
        normalize(mean);
        means
    }
}

#[cfg(test)]
mod tests;
