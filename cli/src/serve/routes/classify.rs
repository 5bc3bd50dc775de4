//! `POST /classify`: what a picture shows.

use super::fields::Fields;
use super::state::Times;
use crate::scored::ScoredLabel;
use crate::serve::problem::Problem;
use crate::serve::registry::Entry;
use crate::serve::service::{App, MAX_INPUTS, Service};
use axum::Json;
use axum::extract::{Request, State};
use ocelli::format::{Bank, LabelBank, bank};
use ocelli::score::{Scored, normalize, score, score_logits};
use ocelli::text::{fill, parse_labels, templates};
use serde::Serialize;
use std::sync::Arc;

/// Labels in an answer unless `top_k` says otherwise.
const TOP_K: usize = 5;

/// What a picture shows, best first.
#[derive(Serialize)]
pub(in crate::serve) struct Answer {
    model: String,
    width: u32,
    height: u32,
    labels: Vec<ScoredLabel>,
    ms: Times,
}

/// What the picture is scored against.
enum Against {
    /// Labels of this request.
    Made(LabelBank),
    /// A bank of the server's.
    Named(String),
    /// The bank in the model.
    Own,
    /// The model's classifier.
    Classes,
}

pub(in crate::serve) async fn classify(
    State(app): State<App>,
    request: Request,
) -> Result<Json<Answer>, Problem> {
    let fields = Fields::read(&app, request, &["model", "labels", "template", "bank", "top_k"]).await?;
    let (image, entry) = (fields.image()?, app.models.get(fields.one("model")?)?);
    let top_k = match fields.one("top_k")? {
        None => TOP_K,
        Some(text) => text
            .parse()
            .ok()
            .filter(|&k| k > 0)
            .ok_or_else(|| Problem::bad(format!("top_k is {text:?}; expected a whole number from 1")))?,
    };
    let _place = app.enter()?;
    let against = against(&app, entry, &fields).await?;
    let classes = matches!(against, Against::Classes);
    let picture = app.picture(entry, image, classes).await?;
    let engine = entry.engine().await?;
    let (config, file) = (engine.model.config(), engine.model.file());
    let embedding = &picture.encoded.embedding;
    let by = |bank: &Bank<'_>| -> Result<Vec<ScoredLabel>, Problem> {
        bank.check_fits(config).map_err(|error| Problem::bad(error.to_string()))?;
        let mut scored = vec![Scored::default(); bank.len()];
        score(&config.score, embedding, bank, &mut scored);
        Ok(named(&scored, top_k, |index| bank.label(index), false))
    };
    let labels = match &against {
        Against::Made(bank) => by(&bank.as_bank())?,
        Against::Named(name) => by(&app.bank(name)?.as_bank())?,
        Against::Own => by(&file.bank().ok_or_else(no_labels)?)?,
        Against::Classes => {
            let (logits, names) = (&picture.encoded.logits, file.labels().collect::<Vec<_>>());
            let mut scored = vec![Scored::default(); logits.len()];
            score_logits(logits, &mut scored);
            named(&scored, top_k, |index| names.get(index).copied().unwrap_or_default(), true)
        }
    };
    let (width, height) = (picture.width, picture.height);
    Ok(Json(Answer { model: entry.name.clone(), width, height, labels, ms: Times::of(&picture) }))
}

fn named<'n>(
    scored: &[Scored],
    top_k: usize,
    name: impl Fn(usize) -> &'n str,
    is_class: bool,
) -> Vec<ScoredLabel> {
    let labels = scored.iter().map(|scored| ScoredLabel::new(scored, name(scored.label), is_class));
    labels.take(top_k).collect()
}

/// What `fields` ask the picture to be scored against.
async fn against(app: &Service, entry: &Arc<Entry>, fields: &Fields) -> Result<Against, Problem> {
    let bad = |error: ocelli::Error| Problem::bad(error.to_string());
    let given: Vec<&str> = fields.all("labels").collect();
    let template: Vec<String> = fields.all("template").map(str::to_owned).collect();
    if let Some(name) = fields.one("bank")? {
        if !given.is_empty() || !template.is_empty() {
            return Err(Problem::bad(
                "a bank has labels and templates already: leave labels and template out",
            ));
        }
        app.bank(name)?;
        return Ok(Against::Named(name.to_owned()));
    }
    let labels = if given.is_empty() {
        match (template.is_empty(), entry.facts.labels) {
            (_, 0) => return Err(no_labels()),
            (true, _) if entry.facts.classes => return Ok(Against::Classes),
            (true, _) => return Ok(Against::Own),
            // The model's own labels under other templates.
            (false, _) => {
                let engine = entry.engine().await?;
                let bank = engine.model.file().bank().ok_or_else(no_labels)?;
                bank.labels().map(str::to_owned).collect()
            }
        }
    } else {
        given.iter().map(|list| parse_labels(list)).collect::<Result<Vec<_>, _>>().map_err(bad)?.concat()
    };
    let templates = templates(&template).map_err(bad)?;
    make(app, entry, &labels, &templates).await.map(Against::Made)
}

/// Embeds `labels` with `templates` as `TextEncoder::embed_labels` does, prompt by prompt, so that known ones cost nothing.
async fn make(
    app: &Service,
    entry: &Arc<Entry>,
    labels: &[String],
    templates: &[&str],
) -> Result<LabelBank, Problem> {
    if let Some(at) = labels.iter().position(|label| label.trim().is_empty()) {
        return Err(Problem::bad(format!("label {} is empty: is there a comma too many?", at + 1)));
    }
    if labels.len().saturating_mul(templates.len()) > MAX_INPUTS {
        let message = format!(
            "{} labels with {} templates; at most {MAX_INPUTS} prompts are possible: make a bank with ocelli labels",
            labels.len(),
            templates.len()
        );
        return Err(Problem::bad(message));
    }
    let prompts: Vec<String> =
        labels.iter().flat_map(|label| templates.iter().map(|template| fill(template, label))).collect();
    let texts = app.texts(entry, &prompts).await?;
    let dim = entry.facts.dim;
    let mut embeddings = vec![0.0; labels.len() * dim];
    for (mean, texts) in embeddings.chunks_exact_mut(dim).zip(texts.chunks_exact(templates.len())) {
        for text in texts {
            mean.iter_mut().zip(&text.embedding).for_each(|(mean, value)| *mean += value);
        }
        normalize(mean);
    }
    let id = entry.engine().await?.model.config().checkpoint_id;
    let bank = bank::write(labels, templates, dim, &embeddings, id).and_then(|bytes| LabelBank::new(&bytes));
    bank.map_err(|error| Problem::bad(error.to_string()))
}

fn no_labels() -> Problem {
    Problem::bad("this model has no labels of its own: give some as labels, or name a bank")
}
