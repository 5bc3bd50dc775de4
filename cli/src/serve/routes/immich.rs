//! Immich's machine learning service: `/ping` and `/predict`.
//!
//! A request is a form of `entries`, JSON `{task: {type: {"modelName": .., "options": {..}}}}`, and of the input, `image` or
//! `text`. The answer has one member per task; an embedding is a JSON array *inside a string*.

use crate::serve::intake::{Form, Part};
use crate::serve::problem::Problem;
use crate::serve::service::{App, Service};
use crate::serve::upstream::{Outgoing, PASSED_ON};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde_json::{Map, Value};

/// The only task that is done here.
const TASK: &str = "clip";

pub(in crate::serve) async fn ping() -> &'static str {
    "pong"
}

/// What a form asks for.
#[derive(Default)]
struct Asked {
    /// Types and models of the task that is done here.
    ours: Vec<(Kind, String)>,
    /// The tasks for the other server, as they came.
    theirs: Map<String, Value>,
}

/// The types of the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Visual,
    Textual,
}

pub(in crate::serve) async fn predict(
    State(app): State<App>,
    request: Request,
) -> Result<Json<Map<String, Value>>, Problem> {
    let (head, body) = request.into_parts();
    let passed_on = head.headers.contains_key(PASSED_ON);
    let mut form = app.intake.form(&head.headers, body)?;
    let _room = form.room.clone();
    let (mut asked, mut image, mut text, mut others) = (None, None, None, Vec::new());
    while let Some(part) = form.part().await? {
        match part.name.as_str() {
            "entries" => {
                let found = entries(&app, &part)?;
                if found.ours.is_empty() && image.is_none() && text.is_none() {
                    // Nothing for us: the rest goes through without being kept.
                    others.insert(0, ("entries".into(), part.bytes));
                    return pass_on(&app, &found.theirs, passed_on, others, Some(form)).await.map(Json);
                }
                asked = Some(found);
            }
            "image" => image = Some(part.bytes),
            "text" => text = Some(part.text()?),
            _ => others.push((part.name, part.bytes)),
        }
    }
    let missing = || Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "the form has no part entries");
    let Asked { ours, theirs } = asked.ok_or_else(missing)?;
    if image.is_none() && text.is_none() {
        return Err(Problem::bad("Either image or text must be provided"));
    }
    let elsewhere = async {
        if theirs.is_empty() {
            return Ok(Map::new());
        }
        let entries = Value::Object(theirs.clone()).to_string();
        let mut parts = vec![("entries".to_owned(), entries.into())];
        parts.extend(others);
        parts.extend(image.clone().map(|bytes| ("image".to_owned(), bytes)));
        parts.extend(text.clone().map(|text| ("text".to_owned(), text.into())));
        pass_on(&app, &theirs, passed_on, parts, None).await
    };
    let here = embed(&app, &ours, image.clone(), text.as_deref());
    let (mut answer, ours) = tokio::try_join!(elsewhere, here)?;
    answer.extend(ours);
    Ok(Json(answer))
}

/// Reads `entries`, and divides its tasks between this server and the other.
fn entries(app: &Service, part: &Part) -> Result<Asked, Problem> {
    let malformed =
        |why: &str| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("Invalid request format: {why}."));
    let tasks: Map<String, Value> = serde_json::from_slice(&part.bytes)
        .map_err(|error| malformed(&format!("entries is no JSON object: {error}")))?;
    let mut asked = Asked::default();
    for (task, types) in tasks {
        let of_task = types.as_object().ok_or_else(|| malformed("a task is no object"))?;
        let mut here = Vec::new();
        for (kind, entry) in of_task {
            let model = entry.get("modelName").and_then(Value::as_str);
            let model = model.ok_or_else(|| malformed("an entry has no modelName"))?;
            let kind = match kind.as_str() {
                "visual" => Some(Kind::Visual),
                "textual" => Some(Kind::Textual),
                _ => None,
            };
            here.extend(
                kind.zip(app.models.find(Some(model))).map(|(kind, entry)| (kind, entry.name.clone())),
            );
        }
        match task == TASK && here.len() == of_task.len() {
            true => asked.ours.extend(here),
            false => _ = asked.theirs.insert(task, types),
        }
    }
    match asked.ours.is_empty() && asked.theirs.is_empty() {
        true => Err(malformed("there is no task")),
        false => Ok(asked),
    }
}

/// Lets the other server answer `tasks`.
async fn pass_on(
    app: &Service,
    tasks: &Map<String, Value>,
    passed_on: bool,
    parts: Vec<(String, Bytes)>,
    rest: Option<Form>,
) -> Result<Map<String, Value>, Problem> {
    let Some(upstream) = &app.upstream else {
        return Err(not_here(app, tasks));
    };
    if passed_on {
        let message = "this request was passed on already: two servers name each other as --upstream";
        return Err(Problem::new(StatusCode::LOOP_DETECTED, message));
    }
    let answer = upstream.predict(Outgoing::new(parts, rest)).await;
    app.metrics.upstream(answer.is_ok());
    answer
}

/// Why `tasks` cannot be done.
fn not_here(app: &Service, tasks: &Map<String, Value>) -> Problem {
    let unknown = tasks.get(TASK).and_then(Value::as_object).into_iter().flat_map(Map::values);
    for model in unknown.filter_map(|entry| entry.get("modelName")?.as_str()) {
        if let Err(problem) = app.models.get(Some(model)) {
            return problem;
        }
    }
    let names: Vec<&str> = tasks.keys().map(String::as_str).collect();
    let message = format!(
        "the task {} is not done here, only {TASK} (visual, textual); --upstream URL passes others on",
        names.join(", ")
    );
    Problem::new(StatusCode::NOT_IMPLEMENTED, message)
}

/// What this server does itself.
async fn embed(
    app: &Service,
    ours: &[(Kind, String)],
    image: Option<Bytes>,
    text: Option<&str>,
) -> Result<Map<String, Value>, Problem> {
    let mut answer = Map::new();
    if ours.is_empty() {
        return Ok(answer);
    }
    let _place = app.enter()?;
    for (kind, model) in ours {
        let entry = app.models.get(Some(model))?;
        let embedding = match (kind, &image, text) {
            (Kind::Visual, Some(image), _) => {
                let picture = app.picture(entry, image.clone(), false).await?;
                answer.insert("imageHeight".into(), picture.height.into());
                answer.insert("imageWidth".into(), picture.width.into());
                as_text(&picture.encoded.embedding)?
            }
            (Kind::Textual, None, Some(text)) => {
                let texts = app.texts(entry, &[text.to_owned()]).await?;
                as_text(texts.first().map(|text| text.embedding.as_slice()).unwrap_or_default())?
            }
            (Kind::Visual, ..) => return Err(Problem::bad("the type visual needs an image, not a text")),
            (Kind::Textual, ..) => return Err(Problem::bad("the type textual needs a text and no image")),
        };
        answer.insert(TASK.into(), embedding.into());
    }
    Ok(answer)
}

/// An embedding as Immich stores it: JSON in a string, the shortest digits that give the same numbers again.
fn as_text(embedding: &[f32]) -> Result<String, Problem> {
    serde_json::to_string(embedding).map_err(|error| Problem::broken(error.to_string()))
}
