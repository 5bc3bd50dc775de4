//! llama.cpp's server as Frigate uses it for semantic search: `/props` and `/embeddings`.
//!
//! Each element of `content` is `{"prompt_string": .., "multimodal_data": [base64]}`; the prompt of a picture has the marker
//! that `/props` names in the picture's place. A text and a picture have embeddings of their own here, so that a prompt with
//! both is refused.

use super::inputs::{parsed, picture};
use super::openai;
use crate::serve::problem::Problem;
use crate::serve::service::App;
use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Stands for a picture in a prompt.
const MARKER: &str = "<__media__>";

/// The server's properties.
pub(in crate::serve) async fn props(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let facts = &app.models.get(None)?.facts;
    Ok(Json(json!({
        "media_marker": MARKER,
        "modalities": { "vision": facts.image.is_some(), "audio": false },
        "default_generation_settings": { "n_ctx": facts.context },
        "total_slots": 1,
        "chat_template": "",
        "build_info": concat!("ocelli ", env!("CARGO_PKG_VERSION")),
    })))
}

#[derive(Deserialize)]
struct Asked {
    content: Value,
    model: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text, or an object with prompt_string")]
enum Prompt {
    Text(String),
    Media {
        prompt_string: String,
        #[serde(default)]
        multimodal_data: Vec<String>,
    },
}

pub(in crate::serve) async fn embeddings(
    State(app): State<App>,
    request: Request,
) -> Result<Response, Problem> {
    let (asked, _room): (Value, _) = app.intake.json(request.into_body()).await?;
    // Infinity's service, whose requests are OpenAI's, has the same address.
    if asked.get("input").is_some() {
        return Ok(openai::answer(&app, parsed(asked)?).await?.into_response());
    }
    let asked: Asked = parsed(asked)?;
    let entry = app.models.get(asked.model.as_deref())?;
    let (mut texts, mut files, mut is_picture) = (Vec::new(), Vec::new(), Vec::new());
    let prompts = if let Value::Array(prompts) = asked.content { prompts } else { vec![asked.content] };
    for prompt in prompts {
        let (text, media) = match parsed(prompt)? {
            Prompt::Text(text) => (text, Vec::new()),
            Prompt::Media { prompt_string, multimodal_data } => (prompt_string, multimodal_data),
        };
        is_picture.push(!media.is_empty());
        match media.as_slice() {
            [] => texts.push(text),
            [data] if text.replacen(MARKER, "", 1).trim().is_empty() => files.push(picture(data)?),
            [_] => return Err(Problem::bad("a prompt has a text and a picture: send them as two")),
            _ => return Err(Problem::bad("a prompt has several pictures: send one each")),
        }
    }
    if is_picture.is_empty() {
        return Err(Problem::bad("there is no input"));
    }
    let _place = app.enter()?;
    let texts = if texts.is_empty() { Vec::new() } else { app.texts(entry, &texts).await? };
    let pictures = if files.is_empty() { Vec::new() } else { app.pictures(entry, files).await? };
    let (mut texts, mut pictures) = (texts.into_iter(), pictures.into_iter());
    let embeddings = is_picture.into_iter().filter_map(|is_picture| match is_picture {
        true => pictures.next().map(|picture| picture.encoded.embedding),
        false => texts.next().map(|text| text.embedding.clone()),
    });
    let answer: Vec<Item> =
        embeddings.enumerate().map(|(index, embedding)| Item { index, embedding: [embedding] }).collect();
    Ok(Json(answer).into_response())
}

/// The embedding of a prompt: one vector in a list, where other models have one per token.
#[derive(Serialize)]
struct Item {
    index: usize,
    embedding: [Vec<f32>; 1],
}
