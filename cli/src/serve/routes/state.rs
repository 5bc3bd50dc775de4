//! How the server is: health, metrics, times, and what it can do.

use crate::console::round_ms;
use crate::serve::pictures::Picture;
use crate::serve::service::App;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::{Value, json};

/// What the routes are, in OpenAPI 3.1.
pub(super) const OPENAPI: &str = include_str!("../openapi.json");

pub(in crate::serve) async fn health(State(app): State<App>) -> Json<Value> {
    Json(json!({
        "status": "ok",
        "version": env!("CARGO_PKG_VERSION"),
        "queue": { "length": app.queue.len(), "limit": app.queue.limit() },
        "search": app.index().is_some(),
    }))
}

pub(in crate::serve) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    let text = app.metrics.text(&[
        ("queue_length", "Requests that are worked on or wait.", app.queue.len()),
        ("queue_limit", "How many of them there may be.", app.queue.limit()),
        ("body_bytes", "Memory that requests' bodies take, in units of 1024.", app.intake.held()),
    ]);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

pub(in crate::serve) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
}

/// Where the time of a picture went, in milliseconds.
#[derive(Serialize)]
pub(super) struct Times {
    decode: f64,
    preprocess: f64,
    /// For its turn.
    wait: f64,
    /// Shared with those that were encoded at once.
    encode: f64,
}

impl Times {
    pub(super) fn of(picture: &Picture) -> Times {
        Times {
            decode: round_ms(picture.decode),
            preprocess: round_ms(picture.preprocess),
            wait: round_ms(picture.encoded.waited),
            encode: round_ms(picture.encoded.encode),
        }
    }
}
