//! `POST /embed`: a picture, or texts, to embeddings.

use super::fields::Fields;
use super::inputs::OneOrMany;
use super::state::Times;
use crate::serve::intake::is;
use crate::serve::problem::Problem;
use crate::serve::service::App;
use axum::Json;
use axum::extract::{Request, State};
use serde::{Deserialize, Serialize};

/// Texts to embed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Texts {
    text: OneOrMany<String>,
    model: Option<String>,
}

/// Embeddings, of length 1, in the order of what was sent.
#[derive(Serialize)]
pub(in crate::serve) struct Answer {
    model: String,
    kind: &'static str,
    dim: usize,
    embeddings: Vec<Vec<f32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<Times>,
}

pub(in crate::serve) async fn embed(
    State(app): State<App>,
    request: Request,
) -> Result<Json<Answer>, Problem> {
    if is(request.headers(), "application/json") {
        let (asked, _room): (Texts, _) = app.intake.json(request.into_body()).await?;
        let entry = app.models.get(asked.model.as_deref())?;
        let _place = app.enter()?;
        let texts = app.texts(entry, &asked.text.into_vec()).await?;
        return Ok(Json(Answer {
            model: entry.name.clone(),
            kind: "text",
            dim: entry.facts.dim,
            embeddings: texts.iter().map(|text| text.embedding.clone()).collect(),
            width: None,
            height: None,
            ms: None,
        }));
    }
    let fields = Fields::read(&app, request, &["model"]).await?;
    let (image, entry) = (fields.image()?, app.models.get(fields.one("model")?)?);
    let _place = app.enter()?;
    let picture = app.picture(entry, image, false).await?;
    Ok(Json(Answer {
        model: entry.name.clone(),
        kind: "image",
        dim: entry.facts.dim,
        width: Some(picture.width),
        height: Some(picture.height),
        ms: Some(Times::of(&picture)),
        embeddings: vec![picture.encoded.embedding],
    }))
}
