//! Roboflow's inference server: `/clip/embed_image`, `/clip/embed_text` and `/clip/compare`.

use super::inputs::{OneOrMany, picture};
use crate::console::{ms_since, round_ms};
use crate::named::Named;
use crate::serve::problem::Problem;
use crate::serve::registry::Entry;
use crate::serve::service::{App, Service};
use axum::Json;
use axum::extract::{Request, State};
use ocelli::score::dot;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Instant;

/// A picture as it is sent.
#[derive(Deserialize)]
struct Image {
    #[serde(rename = "type")]
    kind: String,
    value: Value,
}

#[derive(Deserialize)]
struct EmbedImage {
    image: OneOrMany<Image>,
    #[serde(alias = "model_id")]
    clip_version_id: Option<String>,
}

#[derive(Deserialize)]
struct EmbedText {
    text: OneOrMany<String>,
    #[serde(alias = "model_id")]
    clip_version_id: Option<String>,
}

#[derive(Deserialize)]
struct Compare {
    subject: Value,
    #[serde(default = "image")]
    subject_type: Kind,
    prompt: Value,
    #[serde(default = "text")]
    prompt_type: Kind,
    #[serde(alias = "model_id")]
    clip_version_id: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Image,
    Text,
}

fn image() -> Kind {
    Kind::Image
}

fn text() -> Kind {
    Kind::Text
}

pub(in crate::serve) async fn embed_image(
    State(app): State<App>,
    request: Request,
) -> Result<Json<Embeddings>, Problem> {
    let start = Instant::now();
    let (asked, _room): (EmbedImage, _) = app.intake.json(request.into_body()).await?;
    let entry = app.models.get(asked.clip_version_id.as_deref())?;
    let files = asked.image.into_vec().into_iter().map(Image::bytes).collect::<Result<_, _>>()?;
    let _place = app.enter()?;
    let pictures = app.pictures(entry, files).await?;
    let embeddings = pictures.into_iter().map(|picture| picture.encoded.embedding).collect();
    Ok(Json(Embeddings { frame_id: None, embeddings, time: seconds(start) }))
}

pub(in crate::serve) async fn embed_text(
    State(app): State<App>,
    request: Request,
) -> Result<Json<Embeddings>, Problem> {
    let start = Instant::now();
    let (asked, _room): (EmbedText, _) = app.intake.json(request.into_body()).await?;
    let entry = app.models.get(asked.clip_version_id.as_deref())?;
    let _place = app.enter()?;
    let texts = app.texts(entry, &asked.text.into_vec()).await?;
    let embeddings = texts.iter().map(|text| text.embedding.clone()).collect();
    Ok(Json(Embeddings { frame_id: None, embeddings, time: seconds(start) }))
}

#[derive(Serialize)]
pub(in crate::serve) struct Embeddings {
    /// Its client looks for it.
    frame_id: Option<String>,
    embeddings: Vec<Vec<f32>>,
    /// Seconds.
    time: f64,
}

#[derive(Serialize)]
pub(in crate::serve) struct Compared {
    similarity: Similarity,
    time: f64,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Similarity {
    List(Vec<f32>),
    Named(Named<f32>),
}

/// The cosine of the subject with each prompt, in the prompts' shape: a list, or an object with the same keys.
pub(in crate::serve) async fn compare(
    State(app): State<App>,
    request: Request,
) -> Result<Json<Compared>, Problem> {
    let start = Instant::now();
    let (asked, _room): (Compare, _) = app.intake.json(request.into_body()).await?;
    let entry = app.models.get(asked.clip_version_id.as_deref())?;
    let (keys, prompts) = match asked.prompt {
        Value::Array(prompts) => (None, prompts),
        // A picture is an object too.
        Value::Object(named) if !is_image(&named) => {
            let (keys, prompts): (Vec<String>, Vec<Value>) = named.into_iter().unzip();
            (Some(keys), prompts)
        }
        one => (None, vec![one]),
    };
    let _place = app.enter()?;
    let subject = embed(&app, entry, asked.subject_type, vec![asked.subject]).await?;
    let prompts = embed(&app, entry, asked.prompt_type, prompts).await?;
    let subject = subject.first().map(Vec::as_slice).unwrap_or_default();
    let similarity = prompts.iter().map(|prompt| dot(subject, prompt));
    let similarity = match keys {
        Some(keys) => Similarity::Named(keys.into_iter().zip(similarity).collect()),
        None => Similarity::List(similarity.collect()),
    };
    Ok(Json(Compared { similarity, time: seconds(start) }))
}

async fn embed(
    app: &Service,
    entry: &Arc<Entry>,
    kind: Kind,
    values: Vec<Value>,
) -> Result<Vec<Vec<f32>>, Problem> {
    match kind {
        Kind::Image => {
            let image = |value| {
                let image: Image = serde_json::from_value(value)
                    .map_err(|_| Problem::bad("a picture must be {\"type\": \"base64\", \"value\": ...}"))?;
                image.bytes()
            };
            let files = values.into_iter().map(image).collect::<Result<_, _>>()?;
            let pictures = app.pictures(entry, files).await?;
            Ok(pictures.into_iter().map(|picture| picture.encoded.embedding).collect())
        }
        Kind::Text => {
            let texts: Vec<String> =
                serde_json::from_value(values.into()).map_err(|_| Problem::bad("a text must be a string"))?;
            let texts = app.texts(entry, &texts).await?;
            Ok(texts.iter().map(|text| text.embedding.clone()).collect())
        }
    }
}

fn is_image(object: &Map<String, Value>) -> bool {
    object.contains_key("type") && object.contains_key("value")
}

impl Image {
    fn bytes(self) -> Result<axum::body::Bytes, Problem> {
        match (self.kind.as_str(), &self.value) {
            ("base64", Value::String(data)) => picture(data),
            (kind, _) => Err(Problem::bad(format!("a picture of type {kind:?} is not read, only base64"))),
        }
    }
}

fn seconds(start: Instant) -> f64 {
    round_ms(ms_since(start)) / 1e3
}
