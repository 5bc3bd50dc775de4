//! How good a packed model is: zero-shot accuracy, retrieval, losses, and what two models differ in.

mod dataset;
mod evaluation;
mod metrics;
mod report;
mod retrieval;

pub use dataset::{Dataset, Truth, read};
pub use evaluation::{Comparison, Evaluation, ZeroShot};
pub use metrics::{Bin, Difference, Matrix, difference, info_nce, recall, reliability, sigmoid_loss};
pub use report::html;
pub use retrieval::{Retrieval, retrieval};

use crate::encoders::{merging_encoder, text_encoder};
use crate::progress::{Progress, Silent};
use crate::quant::{AccuracyReport, Cosine, cosines};
use crate::{Error, Result, images};
use ocelli::Model;
use ocelli::format::{LabelBank, Merging};
use ocelli::score::{Scored, score};
use ocelli::text::templates;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What to evaluate, and on what.
#[derive(Clone, Debug)]
pub struct EvalOptions {
    /// The packed model.
    pub model: PathBuf,
    /// A folder with a folder per class, or a CSV table.
    pub images: PathBuf,
    /// Prompt templates, averaged; the default one if empty.
    pub templates: Vec<String>,
    /// A label bank to score with, instead of embedding the labels: needs no text tower.
    pub bank: Option<PathBuf>,
    /// How tokens of the model's images are merged, instead of as its file says; of the other model's as its own says.
    pub merging: Option<Merging>,
    /// Another model to compare with.
    pub against: Option<PathBuf>,
}

/// Evaluates a model.
///
/// # Errors
/// A picture or a model can't be read, or the model has no text tower and no labels that fit.
pub fn evaluate(options: &EvalOptions) -> Result<Evaluation> {
    evaluate_with(options, &Silent)
}

/// As [`evaluate`], and tells `progress` of it.
///
/// # Errors
/// As [`evaluate`].
pub fn evaluate_with(options: &EvalOptions, progress: &dyn Progress) -> Result<Evaluation> {
    let data = dataset::read(&options.images)?;
    let models = if options.against.is_some() { 2 } else { 1 };
    progress.begin("images", (models * data.pictures.len()) as u64);
    let (mut result, embeddings) = one(&options.model, &data, options, options.merging, progress)?;
    if let Some(path) = &options.against {
        let (other, others) = one(path, &data, options, None, progress)?;
        if others.len() != embeddings.len() {
            return Err(Error::file(
                path,
                "has embeddings of another length than the model it is compared with",
            ));
        }
        let dim = embeddings.len() / data.pictures.len();
        let pair = result.zero_shot.as_ref().zip(other.zero_shot.as_ref());
        let same = |(a, b): (&ZeroShot, &ZeroShot)| {
            let same = a.answers.iter().zip(&b.answers).filter(|(a, b)| a == b).count();
            same as f64 / a.answers.len() as f64
        };
        result.against = Some(Comparison {
            model: path.display().to_string(),
            cosine: Cosine::between(&embeddings, &others, dim)
                .ok_or_else(|| Error::file(&options.images, "has no pictures"))?,
            cosines: cosines(&embeddings, &others, dim),
            agreement: pair.map(same),
            difference: pair.map(|(a, b)| metrics::difference(&a.right, &b.right)),
        });
    }
    progress.end();
    Ok(result)
}

fn one(
    path: &Path,
    data: &Dataset,
    options: &EvalOptions,
    merging: Option<Merging>,
    progress: &dyn Progress,
) -> Result<(Evaluation, Vec<f32>)> {
    let model = Model::open(path)?;
    let mut embeddings = Vec::new();
    {
        let mut encoder = merging_encoder(&model, merging)?;
        let mut out = vec![0.0; encoder.embed_dim()];
        for picture in &data.pictures {
            let image = images::decode(picture)?;
            encoder
                .embed_into(&image.view(), &mut out)
                .map_err(|error| Error::Ocelli(error.in_file(picture)))?;
            embeddings.extend_from_slice(&out);
            progress.advance(1);
        }
    }
    let mut evaluation = Evaluation {
        model: path.display().to_string(),
        images: data.pictures.len(),
        zero_shot: None,
        retrieval: None,
        against: None,
        accuracy: AccuracyReport::of(model.file().provenance()),
    };
    match &data.truth {
        Truth::Labels(labels, right) => {
            evaluation.zero_shot = Some(zero_shot(&model, &embeddings, labels, right, options, progress)?);
        }
        Truth::Texts(texts) => {
            evaluation.retrieval = Some(of_texts(&model, &embeddings, texts)?);
        }
    }
    Ok((evaluation, embeddings))
}

fn zero_shot(
    model: &Arc<Model>,
    embeddings: &[f32],
    labels: &[String],
    right: &[usize],
    options: &EvalOptions,
    progress: &dyn Progress,
) -> Result<ZeroShot> {
    let config = model.config();
    let bank = match &options.bank {
        Some(path) => {
            let bank = LabelBank::open(path)?;
            bank.as_bank().check_fits(config).map_err(|error| error.in_file(path))?;
            bank
        }
        None => {
            let templates = templates(&options.templates)?;
            let mut cut = |message: String| progress.warn(&message);
            text_encoder(model)?.embed_labels(labels, &templates, &mut cut)?
        }
    };
    let bank = bank.as_bank();
    // A bank has its own order of labels, and perhaps more of them.
    let place = |label: &String| {
        let missing =
            || Error::file(&options.images, format!("has the label {label:?}, which is not in the bank"));
        bank.labels().position(|known| known == label).ok_or_else(missing)
    };
    let places: Vec<usize> = labels.iter().map(place).collect::<Result<_>>()?;
    let labels: Vec<String> = bank.labels().map(str::to_owned).collect();
    let mut scored = vec![Scored::default(); bank.len()];
    let mut result = ZeroShot {
        top1: 0.0,
        top5: 0.0,
        confusion: vec![vec![0; labels.len()]; labels.len()],
        labels,
        reliability: [Bin::default(); 10],
        answers: Vec::new(),
        right: Vec::new(),
    };
    let (mut first, mut five, mut sure) = (0usize, 0usize, Vec::new());
    for (embedding, &right) in embeddings.chunks_exact(bank.dim()).zip(right) {
        score(&config.score, embedding, &bank, &mut scored);
        let right = places[right];
        let hit = scored[0].label == right;
        first += usize::from(hit);
        five += usize::from(scored.iter().take(5).any(|scored| scored.label == right));
        result.confusion[right][scored[0].label] += 1;
        result.answers.push(scored[0].label);
        result.right.push(hit);
        sure.push((f64::from(scored[0].score).clamp(0.0, 1.0), hit));
    }
    let n = right.len() as f64;
    (result.top1, result.top5) = (first as f64 / n, five as f64 / n);
    result.reliability = metrics::reliability(sure.into_iter());
    Ok(result)
}

/// Embeds the texts and compares them with the pictures.
fn of_texts(model: &Arc<Model>, images: &[f32], texts: &[(usize, String)]) -> Result<Retrieval> {
    let mut encoder = text_encoder(model)?;
    let mut out = vec![0.0; encoder.embed_dim()];
    let mut embeddings = Vec::new();
    for (_, text) in texts {
        encoder.embed_into(text, &mut out)?;
        embeddings.extend_from_slice(&out);
    }
    let owners: Vec<usize> = texts.iter().map(|(image, _)| *image).collect();
    Ok(retrieval(&model.file().config().score, images, &embeddings, &owners))
}
