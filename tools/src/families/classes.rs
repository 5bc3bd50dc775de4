//! Classifiers: how many classes a checkpoint has, and what they are called.

use crate::source::Tensors;
use crate::{Error, Result};
use ocelli::format::{Config, ScoreConfig, Scoring, feature};
use serde_json::Value;
use std::path::Path;

/// Scores by embedding alone, of `embed_dim` values.
pub(super) fn embedding_only(embed_dim: u32) -> ScoreConfig {
    ScoreConfig {
        kind: Scoring::Embedding as u32,
        embed_dim,
        logit_scale: 1.0,
        ..bytemuck::Zeroable::zeroed()
    }
}

/// Gives `config` the classifier in the tensor `weight`, whose classes have these names; numbers stand in for names
/// that the checkpoint does not have.
pub(super) fn classify(
    config: &mut Config,
    tensors: &Tensors,
    weight: &str,
    names: Option<Vec<String>>,
    (path, key): (&Path, &str),
) -> Result<Vec<String>> {
    let info = tensors.get(weight).ok_or_else(|| Error::tensor(weight, "is missing"))?;
    let classes = info.shape.first().copied().unwrap_or(0);
    let names = names.unwrap_or_else(|| (0..classes).map(|i| format!("class {i}")).collect());
    if names.len() != classes {
        let problem = format!("has {} names, but {weight} has {classes} classes", names.len());
        return Err(Error::field(path, key, problem));
    }
    if let Some(bad) = names.iter().find(|name| name.trim().is_empty() || name.contains('\n')) {
        return Err(Error::field(path, key, format!("has the unusable name {bad:?}")));
    }
    config.score.kind = Scoring::Classifier as u32;
    config.score.classes = classes as u32;
    config.vision.tower.features |= feature::CLASSIFIER;
    Ok(names)
}

/// The names in transformers' `id2label`, {"0": "tench", ...}, in the order of their numbers.
pub(super) fn id2label(json: &Value, path: &Path) -> Result<Option<Vec<String>>> {
    let Some(map) = json.get("id2label").filter(|value| !value.is_null()) else { return Ok(None) };
    let wrong = |problem: String| Error::field(path, "id2label", problem);
    let map = map.as_object().ok_or_else(|| wrong("is not an object".into()))?;
    let name = |i: usize| {
        let name = map.get(&i.to_string()).and_then(Value::as_str);
        name.map(String::from).ok_or_else(|| wrong(format!("has no name for class {i} of {}", map.len())))
    };
    (0..map.len()).map(name).collect::<Result<_>>().map(Some)
}

/// The names in a list under `key`.
pub(super) fn name_list(json: &Value, key: &str, path: &Path) -> Result<Option<Vec<String>>> {
    let Some(list) = json.get(key).filter(|value| !value.is_null()) else { return Ok(None) };
    serde_json::from_value(list.clone())
        .map(Some)
        .map_err(|_| Error::field(path, key, "is not a list of names"))
}
