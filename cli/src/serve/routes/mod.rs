//! The routes, one file for each dialect.

mod classify;
mod embed;
mod fields;
mod immich;
mod inputs;
mod llama;
mod openai;
mod page;
mod roboflow;
mod state;

use super::problem::Problem;
use super::service::App;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::{MethodRouter, get, post};

/// Every route. `openapi.json` describes the same ones.
fn table() -> [(&'static str, MethodRouter<App>); 18] {
    [
        ("/", get(page::root)),
        ("/ping", get(immich::ping)),
        ("/predict", post(immich::predict)),
        ("/classify", post(classify::classify)),
        ("/embed", post(embed::embed)),
        ("/healthz", get(state::health)),
        ("/metrics", get(state::metrics)),
        ("/openapi.json", get(state::openapi)),
        ("/v1/models", get(openai::models)),
        ("/v1/embeddings", post(openai::embeddings)),
        ("/models", get(openai::infinity_models)),
        ("/props", get(llama::props)),
        ("/embeddings", post(llama::embeddings)),
        ("/embedding", post(llama::embeddings)),
        ("/clip/embed_image", post(roboflow::embed_image)),
        ("/clip/embed_text", post(roboflow::embed_text)),
        ("/clip/compare", post(roboflow::compare)),
        ("/health", get(state::health)),
    ]
}

/// All routes, and an answer where there is none.
pub(super) fn router(app: App) -> Router {
    let routes = table().into_iter().fold(Router::new(), |router, (path, method)| router.route(path, method));
    let missing = || async { Problem::new(StatusCode::NOT_FOUND, "there is nothing at this address") };
    let wrong = || async { Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this address has other methods") };
    routes.fallback(missing).method_not_allowed_fallback(wrong).with_state(app)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_route_is_described_and_no_other() {
        let described: serde_json::Value = serde_json::from_str(state::OPENAPI).unwrap();
        let described: BTreeSet<&str> =
            described["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(described, table().iter().map(|(path, _)| *path).collect());
    }
}
