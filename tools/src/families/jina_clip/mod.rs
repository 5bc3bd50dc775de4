//! Jina-CLIP v1 (arXiv 2405.20204): the image tower of EVA-02-CLIP under the names of its own library, beside a BERT with
//! ALiBi and a gated MLP (JinaBERT, arXiv 2310.19923) under those of flash attention's. Neither is projected.
//!
//! `config.json` describes the image tower. Of the text tower it has the name, as whose `config.json` is known here, and
//! `hf_model_config_kwargs`, which change that. Jina-CLIP v2 has the same `model_type` and another text tower.

mod text;
mod vision;

use super::hf::{self, Keys};
use super::recognised::{ModelOptions, Recognised};
use super::towers::TextTower;
use super::{key_names, tokenizer};
use crate::Result;
use crate::source::{Checkpoint, Tensors};
use bytemuck::Zeroable;
use ocelli::format::*;
use serde_json::{Value, json};
use std::path::Path;
#[cfg(feature = "hub")]
pub(super) use text::check_text_model;

pub(super) fn recognise(
    checkpoint: &Checkpoint,
    path: &Path,
    json: &Value,
    tensors: &Tensors,
    model_options: &ModelOptions,
) -> Result<Recognised> {
    let keys = Keys::new(json, None, json!({"add_projections": false}), path)?;
    only(&keys, "add_projections", json!(false))?;
    only(&keys, "truncate_dim", Value::Null)?;
    let text_keys = text::keys(json, path)?;
    let vision_keys = Keys::new(json, Some("vision_config"), vision::defaults(), path)?;
    let mut config = Config::zeroed();
    config.vision = vision::config(&vision_keys)?;
    let side = config.vision.height;
    let (preprocess, preprocess_path) = vision::preprocess(&checkpoint.directory, side)?;
    config.preprocess = preprocess;
    config.score = ScoreConfig {
        kind: Scoring::Softmax as u32,
        embed_dim: config.vision.tower.width,
        logit_scale: hf::logit_scale(tensors)?,
        ..ScoreConfig::zeroed()
    };
    let (mut files, mut tokenizer, mut text) = (vec![preprocess_path], None, None);
    if !model_options.vision_only {
        let directory = model_options.tokenizer.as_deref().unwrap_or(&checkpoint.directory);
        let (tower, has_types) = text::config(json, &text_keys, path, tensors)?;
        let loaded = tokenizer::load_bert(directory, tower.vocab)?;
        let tower = TextTower::new(tower, loaded, move |rest| text::origin(rest, has_types), text::ignore);
        config.text = tower.config;
        if tower.config.tower.width != config.score.embed_dim {
            let problem = format!(
                "is {}, but images become {} values",
                tower.config.tower.width, config.score.embed_dim
            );
            return Err(text_keys.wrong("hidden_size", problem));
        }
        files.extend(tower.tokenizer.files);
        tokenizer = Some(tower.tokenizer.text);
        text = Some((tower.origin, tower.ignore));
    }
    let (text_origin, text_ignore) = text.unzip();
    let (patch, apart) = (config.vision.patch as usize, config.vision.tower.has(feature::ATTENTION_NORM));
    Ok(Recognised {
        config,
        tokenizer,
        labels: Vec::new(),
        scalars: vec!["logit_scale".into()],
        path: path.to_path_buf(),
        files,
        origin: Box::new(move |demand| match (demand.name.as_str(), &text_origin) {
            (name, Some(text)) if name.starts_with("text.") => text(name),
            (name, _) => vision::origin(name.strip_prefix("vision.").unwrap_or(name), patch, apart),
        }),
        key_of: Box::new(key_names::jina_clip),
        ignore: Box::new(move |name| match &text_ignore {
            None if name.starts_with("text_model.") => Some("text tower (--vision-only)"),
            Some(ignore) if name.starts_with("text_model.") => ignore(name),
            _ if name.ends_with("rope.freqs_cos") || name.ends_with("rope.freqs_sin") => {
                Some("rotary frequencies, which are computed")
            }
            _ => None,
        }),
    })
}

/// Refuses a `key` that has another value than the `expected` one; `null` is a value too.
fn only(keys: &Keys<'_>, key: &str, expected: Value) -> Result<()> {
    let found = keys.get(key)?.unwrap_or(Value::Null);
    if found == expected {
        return Ok(());
    }
    Err(keys.wrong(key, format!("is {found}; only {expected} is supported")))
}
