//! OpenAI's embeddings, with Infinity's `modality` for pictures.

use super::inputs::{OneOrMany, floats, picture};
use crate::serve::problem::Problem;
use crate::serve::registry::Entry;
use crate::serve::service::{App, Service};
use axum::Json;
use axum::extract::{Request, State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

/// A request for embeddings. Fields that other services have and that change nothing (`user`) are passed over.
#[derive(Deserialize)]
pub(super) struct Asked {
    input: Value,
    model: Option<String>,
    #[serde(default)]
    encoding_format: Encoding,
    dimensions: Option<u64>,
    #[serde(default)]
    modality: Modality,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    #[default]
    Float,
    Base64,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Modality {
    #[default]
    Text,
    Image,
}

pub(in crate::serve) async fn embeddings(
    State(app): State<App>,
    request: Request,
) -> Result<Json<List>, Problem> {
    let (asked, _room) = app.intake.json(request.into_body()).await?;
    answer(&app, asked).await
}

/// The answer to a request in this dialect.
pub(super) async fn answer(app: &Service, asked: Asked) -> Result<Json<List>, Problem> {
    let entry = app.models.get(asked.model.as_deref())?;
    let dim = entry.facts.dim;
    // Infinity's client sends 0 where nothing is wanted.
    if let Some(wanted) = asked.dimensions.filter(|&wanted| wanted != 0 && wanted != dim as u64) {
        let message = format!(
            "dimensions is {wanted}, and embeddings of {:?} have {dim}: cut ones would mean something else",
            entry.name
        );
        return Err(Problem::bad(message));
    }
    let input = strings(asked.input)?;
    let _place = app.enter()?;
    let (embeddings, tokens) = embed(app, entry, input, asked.modality).await?;
    let vector = |embedding: Vec<f32>| match asked.encoding_format {
        Encoding::Float => Vector::Floats(embedding),
        Encoding::Base64 => Vector::Base64(floats(&embedding)),
    };
    let item = |(index, embedding)| Item { object: "embedding", index, embedding: vector(embedding) };
    Ok(Json(List {
        object: "list",
        data: embeddings.into_iter().enumerate().map(item).collect(),
        model: entry.name.clone(),
        usage: Usage { prompt_tokens: tokens, total_tokens: tokens },
    }))
}

/// An answer.
#[derive(Serialize)]
pub(in crate::serve) struct List {
    object: &'static str,
    data: Vec<Item>,
    model: String,
    usage: Usage,
}

#[derive(Serialize)]
struct Item {
    object: &'static str,
    index: usize,
    embedding: Vector,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Vector {
    Floats(Vec<f32>),
    Base64(String),
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

/// The embeddings of `input`, and how many tokens texts had.
async fn embed(
    app: &Service,
    entry: &Arc<Entry>,
    input: Vec<String>,
    modality: Modality,
) -> Result<(Vec<Vec<f32>>, usize), Problem> {
    Ok(match modality {
        Modality::Text => {
            let texts = app.texts(entry, &input).await?;
            let tokens = texts.iter().map(|text| text.tokens).sum();
            (texts.iter().map(|text| text.embedding.clone()).collect(), tokens)
        }
        Modality::Image => {
            let files = input.iter().map(|text| picture(text)).collect::<Result<_, _>>()?;
            let pictures = app.pictures(entry, files).await?;
            (pictures.into_iter().map(|picture| picture.encoded.embedding).collect(), 0)
        }
    })
}

/// `input` as a list of strings.
fn strings(input: Value) -> Result<Vec<String>, Problem> {
    let is_tokens = |value: &Value| value.is_number() || value.is_array();
    if input.as_array().is_some_and(|all| all.iter().any(is_tokens)) {
        let message = "input is token ids, which every model numbers differently; send texts";
        return Err(Problem::bad(message));
    }
    let parsed: OneOrMany<String> = serde_json::from_value(input)
        .map_err(|_| Problem::bad("input must be a string or a list of strings"))?;
    Ok(parsed.into_vec())
}

/// The models, with what clients of llama.cpp's server look for (`architecture`, `meta`) and what our page does.
pub(in crate::serve) async fn models(State(app): State<App>) -> Json<Value> {
    list(&app, |entry| model(entry))
}

/// The same as Infinity's client reads it, which knows no other owner.
pub(in crate::serve) async fn infinity_models(State(app): State<App>) -> Json<Value> {
    let merged = |entry: &Arc<Entry>| {
        let mut model = model(entry);
        model["owned_by"] = "infinity".into();
        model["backend"] = "ocelli".into();
        model["stats"] = json!({ "queue_absolute": app.queue.len(), "batch_size": app.pictures.batch() });
        model
    };
    list(&app, merged)
}

fn list(app: &Service, model: impl FnMut(&Arc<Entry>) -> Value) -> Json<Value> {
    let models: Vec<Value> = app.models.all().iter().map(model).collect();
    let banks: Vec<&str> = app.banks.iter().map(|(name, _)| name.as_str()).collect();
    Json(json!({ "object": "list", "data": models, "banks": banks }))
}

fn model(entry: &Entry) -> Value {
    let facts = &entry.facts;
    let kinds = [("text", facts.context.is_some()), ("image", facts.image.is_some())];
    let kinds: Vec<&str> = kinds.into_iter().filter_map(|(name, is)| is.then_some(name)).collect();
    json!({
        "id": entry.name,
        "object": "model",
        "created": 0,
        "owned_by": "ocelli",
        "architecture": { "input_modalities": kinds, "output_modalities": ["embedding"] },
        "meta": { "n_ctx": facts.context, "n_embd": facts.dim },
        "image_size": facts.image.map(|(height, width)| [height, width]),
        "labels": facts.labels,
    })
}
