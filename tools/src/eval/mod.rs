//! How good a packed model is: zero-shot accuracy, retrieval, losses, and what two models differ in.

mod dataset;
mod metrics;
mod report;
mod retrieval;

pub use dataset::{Dataset, Truth, read};
pub use metrics::{Bin, Difference, Matrix, difference, info_nce, recall, reliability, sigmoid_loss};
pub use report::html;
pub use retrieval::{Retrieval, retrieval};

use crate::quant::{Cosine, Promise, cosines};
use crate::{Error, Result, images};
use indicatif::ProgressBar;
use ocelli::score::{Scored, score};
use ocelli::text::{TextTokenizer, embed_labels, templates};
use ocelli::{Model, Options, Session};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What to evaluate, and on what.
#[derive(Clone, Debug)]
pub struct EvalOptions {
    /// The packed model.
    pub model: PathBuf,
    /// A folder with a folder per class, or a CSV table.
    pub images: PathBuf,
    /// Prompt templates, averaged; the default one if empty.
    pub templates: Vec<String>,
    /// Another model to compare with.
    pub against: Option<PathBuf>,
    /// Shows progress.
    pub progress: ProgressBar,
}

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
    #[serde(skip)]
    right: Vec<bool>,
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
    /// What the file promises about itself.
    #[serde(skip)]
    pub promise: Option<Promise>,
}

/// Evaluates a model.
///
/// # Errors
/// A picture or a model can't be read, or the model has no text tower and no labels that fit.
pub fn evaluate(options: &EvalOptions) -> Result<Evaluation> {
    let data = dataset::read(&options.images)?;
    let models = if options.against.is_some() { 2 } else { 1 };
    options.progress.set_length((models * data.pictures.len()) as u64);
    let (mut result, embeddings) = one(&options.model, &data, options)?;
    if let Some(path) = &options.against {
        let (other, others) = one(path, &data, options)?;
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
    options.progress.finish_and_clear();
    Ok(result)
}

fn one(path: &Path, data: &Dataset, options: &EvalOptions) -> Result<(Evaluation, Vec<f32>)> {
    let model = Model::open(path)?;
    let settings = Options::from_environment()?;
    let mut embeddings = Vec::new();
    {
        let mut session = Session::new(&model, &Options { text: false, ..settings })?;
        let mut out = vec![0.0; session.embed_dim()];
        for picture in &data.pictures {
            let image = images::decode(picture)?;
            session
                .embed_into(&image.view(), &mut out)
                .map_err(|error| Error::Ocelli(error.in_file(picture)))?;
            embeddings.extend_from_slice(&out);
            options.progress.inc(1);
        }
    }
    let mut evaluation = Evaluation {
        model: path.display().to_string(),
        images: data.pictures.len(),
        zero_shot: None,
        retrieval: None,
        against: None,
        promise: Promise::of(model.file().provenance()),
    };
    match &data.truth {
        Truth::Labels(labels, right) => {
            evaluation.zero_shot = Some(zero_shot(&model, &embeddings, labels, right, options)?);
        }
        Truth::Texts(texts) => {
            evaluation.retrieval = Some(of_texts(&model, &embeddings, texts)?);
        }
    }
    Ok((evaluation, embeddings))
}

fn zero_shot(
    model: &Model,
    embeddings: &[f32],
    labels: &[String],
    right: &[usize],
    options: &EvalOptions,
) -> Result<ZeroShot> {
    let settings = Options { vision: false, ..Options::from_environment()? };
    let mut session = Session::new(model, &settings)?;
    let tokenizer = TextTokenizer::new(model.file())?;
    let templates = templates(&options.templates)?;
    let config = model.file().config();
    let mut cut = |message: String| options.progress.suspend(|| eprintln!("ocelli-pack: warning: {message}"));
    let bank = embed_labels(&mut session, config, &tokenizer, labels, &templates, &mut cut)?;
    let bank = bank.as_bank();
    let mut scored = vec![Scored::default(); labels.len()];
    let mut result = ZeroShot {
        labels: labels.to_vec(),
        top1: 0.0,
        top5: 0.0,
        confusion: vec![vec![0; labels.len()]; labels.len()],
        reliability: [Bin::default(); 10],
        answers: Vec::new(),
        right: Vec::new(),
    };
    let (mut first, mut five, mut sure) = (0usize, 0usize, Vec::new());
    for (embedding, &right) in embeddings.chunks_exact(bank.dim()).zip(right) {
        score(&config.score, embedding, &bank, &mut scored);
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
fn of_texts(model: &Model, images: &[f32], texts: &[(usize, String)]) -> Result<Retrieval> {
    let settings = Options { vision: false, ..Options::from_environment()? };
    let mut session = Session::new(model, &settings)?;
    let tokenizer = TextTokenizer::new(model.file())?;
    let mut out = vec![0.0; session.embed_dim()];
    let mut embeddings = Vec::new();
    for (_, text) in texts {
        session.embed_text_into(&tokenizer.encode(text)?.ids, &mut out)?;
        embeddings.extend_from_slice(&out);
    }
    let owners: Vec<usize> = texts.iter().map(|(image, _)| *image).collect();
    Ok(retrieval(&model.file().config().score, images, &embeddings, &owners))
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
