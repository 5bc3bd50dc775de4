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
#[cfg(feature = "index")]
mod search;
mod state;

use super::problem::Problem;
use super::service::App;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::{MethodRouter, get, post};

/// Every route. `openapi.json` describes the same ones.
fn table() -> Vec<(&'static str, MethodRouter<App>)> {
    vec![
        ("/", get(page::root)),
        ("/ping", get(immich::ping)),
        ("/predict", post(immich::predict)),
        ("/classify", post(classify::classify)),
        ("/embed", post(embed::embed)),
        #[cfg(feature = "index")]
        ("/search", post(search::search)),
        #[cfg(feature = "index")]
        ("/thumbnail/{id}", get(search::thumbnail)),
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
        let mut described: BTreeSet<&str> =
            described["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        if cfg!(not(feature = "index")) {
            described.retain(|path| !["/search", "/thumbnail/{id}"].contains(path));
        }
        assert_eq!(described, table().iter().map(|(path, _)| *path).collect());
    }
}
