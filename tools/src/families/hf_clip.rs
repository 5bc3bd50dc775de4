//! CLIP as transformers saves it: `CLIPModel`, and `CLIPVisionModel` and `CLIPTextModel` with and without their
//! projection.

use super::hf::{self, FEATURES, Keys, Saved};
use super::origin::Origin;
use super::recognised::{ModelOptions, Recognised};
use super::tokenizer;
use crate::Result;
use crate::source::{Checkpoint, Tensors};
use bytemuck::Zeroable;
use ocelli::format::*;
use serde_json::{Value, json};
use std::path::Path;

pub(super) fn recognise(
    checkpoint: &Checkpoint,
    path: &Path,
    json: &Value,
    tensors: &Tensors,
    model_options: &ModelOptions,
) -> Result<Recognised> {
    let saved = Saved::of(json["model_type"].as_str().unwrap_or_default());
    saved.refuse_without_vision(model_options, path)?;
    let mut config = Config::zeroed();
    // Of a whole CLIP the top-level value counts: those in the towers may be stale.
    let embed_dim: u32 =
        Keys::new(json, None, json!({"projection_dim": 512}), path)?.required("projection_dim")?;
    config.score =
        ScoreConfig { kind: Scoring::Embedding as u32, embed_dim, logit_scale: 1.0, ..ScoreConfig::zeroed() };
    let (mut scalars, mut files, mut text) = (Vec::new(), Vec::new(), None);
    if saved == Saved::Both {
        config.score.kind = Scoring::Softmax as u32;
        config.score.logit_scale = hf::logit_scale(tensors)?;
        scalars.push("logit_scale".to_string());
    }
    if saved != Saved::Text {
        let keys = Keys::new(json, saved.section("vision_config"), vision_defaults(), path)?;
        let projects = saved.projects(json, tensors, "visual_projection.weight");
        let preprocess = super::hf_preprocess::load(&checkpoint.directory, "clip")?;
        config.preprocess = preprocess.config;
        config.vision = vision(&keys, projects, preprocess.size)?;
        if !projects {
            config.score.embed_dim = config.vision.tower.width;
        }
        files.push(preprocess.path);
    }
    if saved != Saved::Vision && !model_options.vision_only {
        let keys = Keys::new(json, saved.section("text_config"), text_defaults(), path)?;
        let projects = saved.projects(json, tensors, "text_projection.weight");
        let directory = model_options.tokenizer.as_deref().unwrap_or(&checkpoint.directory);
        let loaded = tokenizer::load_clip(directory, keys.required("vocab_size")?)?;
        config.text = self::text(&keys, projects, &loaded)?;
        if !projects {
            config.score.embed_dim = config.text.tower.width;
        }
        files.extend(loaded.files);
        text = Some(loaded.text);
    }

    let prefixes = hf::tower_prefixes(tensors);
    let (patch, vision_only) = (config.vision.patch as usize, model_options.vision_only);
    Ok(Recognised {
        config,
        tokenizer: text,
        labels: Vec::new(),
        scalars,
        path: path.to_path_buf(),
        files,
        origin: Box::new(move |demand| origin(demand.name.as_str(), prefixes, patch)),
        key_of: saved.keys(),
        ignore: Box::new(move |name| {
            let text = name.starts_with("text_model.") || name == "text_projection.weight";
            match name {
                _ if name.ends_with("position_ids") => Some("a buffer of token numbers, not a weight"),
                _ if text && vision_only && saved == Saved::Both => Some("text tower (--vision-only)"),
                _ => saved.ignore(name).or((name.ends_with("_projection.weight") && saved != Saved::Both)
                    .then_some("a projection that the configuration's class does not have")),
            }
        }),
    })
}

/// The defaults of `CLIPVisionConfig`.
pub(super) fn vision_defaults() -> Value {
    json!({
        "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
        "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "image_size": 224, "patch_size": 32, "num_channels": 3,
    })
}

/// The defaults of `CLIPTextConfig`.
pub(super) fn text_defaults() -> Value {
    json!({
        "hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 8,
        "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "vocab_size": 49408, "max_position_embeddings": 77,
        "eos_token_id": 49407,
    })
}

pub(super) fn vision(keys: &Keys<'_>, projects: bool, (height, width): (u32, u32)) -> Result<VisionConfig> {
    let (patch, image) = keys.patch_and_image()?;
    let project = if projects { feature::PROJECT } else { 0 };
    let features = FEATURES | feature::PRE_NORM | feature::CLASS_TOKEN | project;
    Ok(VisionConfig {
        tower: keys.tower(features, Pooling::Class)?,
        patch,
        height,
        width,
        prefix_tokens: 1,
        position: Position::Learned as u32,
        grid_rows: image / patch,
        grid_cols: image / patch,
        interpolation: Interpolation::Bicubic as u32,
        position_prefix: 1,
        ..VisionConfig::zeroed()
    })
}

pub(super) fn text(keys: &Keys<'_>, projects: bool, tokenizer: &tokenizer::Loaded) -> Result<TextConfig> {
    // Configurations before transformers 4.30 say 2, whatever the tokenizer; there the largest id is the end.
    let eos: u32 = keys.required("eos_token_id")?;
    let pooling = if eos == 2 { Pooling::ArgMax } else { Pooling::FirstEos };
    if pooling == Pooling::FirstEos && eos != tokenizer.end {
        let (path, end) = (tokenizer.path.display(), tokenizer.end);
        return Err(keys.wrong("eos_token_id", format!("is {eos}, but {path} ends texts with {end}")));
    }
    let project = if projects { feature::PROJECT } else { 0 };
    Ok(TextConfig {
        tower: keys.tower(FEATURES | project, pooling)?,
        vocab: keys.required("vocab_size")?,
        context: keys.required("max_position_embeddings")?,
        causal: 1,
        eos: tokenizer.end,
        // The configured padding is often a leftover, and nothing after the end token is seen.
        pad: tokenizer.pad,
        ..TextConfig::zeroed()
    })
}

/// Where a canonical tensor comes from; `prefixes` are those of the image and of the text tower.
pub(super) fn origin(name: &str, prefixes: (&str, &str), patch: usize) -> Origin {
    let (tower, rest) = name.split_once('.').expect("canonical names have a tower");
    let vision = tower == "vision";
    let prefix = if vision { prefixes.0 } else { prefixes.1 };
    let (module, end) = rest.rsplit_once('.').unwrap_or((rest, ""));
    match module {
        "class_token" => Origin::rows([format!("{prefix}embeddings.class_embedding")]),
        // Spelled so in every release.
        "pre_norm" => Origin::rows([format!("{prefix}pre_layrnorm.{end}")]),
        "project" if vision => Origin::rows([format!("visual_projection.{end}")]),
        "project" => Origin::rows([format!("text_projection.{end}")]),
        _ => hf::tower_origin(rest, vision, prefix, patch),
    }
}
