//! SigLIP as transformers saves it: `SiglipModel` (also SigLIP 2 at a fixed resolution), `SiglipVisionModel`,
//! `SiglipTextModel`, and the text half of `Siglip2Model` (NaFlex).

use super::hf::{self, FEATURES, Keys, Saved};
use super::origin::{Origin, Part, Transform};
use super::recognised::{ModelOptions, Recognised};
use super::{hf_preprocess, tokenizer};
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
    let kind = json["model_type"].as_str().unwrap_or_default();
    let naflex = matches!(kind, "siglip2" | "siglip2_vision_model");
    let saved = Saved::of(kind);
    saved.refuse_without_vision(model_options, path)?;
    let mut config = Config::zeroed();
    config.score = ScoreConfig { kind: Scoring::Embedding as u32, logit_scale: 1.0, ..ScoreConfig::zeroed() };
    let (mut scalars, mut files, mut text) = (Vec::new(), Vec::new(), None);
    if saved == Saved::Both {
        config.score.kind = Scoring::Sigmoid as u32;
        config.score.logit_scale = hf::logit_scale(tensors)?;
        config.score.logit_bias = hf::scalar(tensors, "logit_bias")?;
        scalars = vec!["logit_scale".to_string(), "logit_bias".to_string()];
    }
    if saved != Saved::Text {
        let keys = Keys::new(json, saved.section("vision_config"), vision_defaults(), path)?;
        let file = if naflex {
            let patch = keys.required("patch_size")?;
            let preprocess = hf_preprocess::load_naflex(&checkpoint.directory, kind, patch)?;
            config.preprocess = preprocess.config;
            config.vision = naflex_vision(&keys, preprocess.max_patches)?;
            preprocess.path
        } else {
            let preprocess = hf_preprocess::load(&checkpoint.directory, kind)?;
            config.preprocess = preprocess.config;
            config.vision = vision(&keys, preprocess.size)?;
            preprocess.path
        };
        config.score.embed_dim = config.vision.tower.width;
        files.push(file);
    }
    if saved != Saved::Vision && !model_options.vision_only {
        let keys = Keys::new(json, saved.section("text_config"), text_defaults(), path)?;
        let (tower, loaded) = text_tower(&keys, checkpoint, model_options, kind.starts_with("siglip2"))?;
        let dim: u32 = keys.get("projection_size")?.unwrap_or(tower.tower.width);
        if saved == Saved::Both && dim != config.score.embed_dim {
            let width = config.score.embed_dim;
            return Err(keys.wrong("projection_size", format!("is {dim}, but images become {width} values")));
        }
        config.score.embed_dim = dim;
        config.text = tower;
        files.extend(loaded.files);
        text = Some(loaded.text);
    }

    let prefixes = hf::tower_prefixes(tensors);
    let (patch, width) = (config.vision.patch as usize, config.vision.tower.width as usize);
    let vision_only = model_options.vision_only && saved == Saved::Both;
    Ok(Recognised {
        config,
        tokenizer: text,
        labels: Vec::new(),
        scalars,
        path: path.to_path_buf(),
        files,
        origin: Box::new(move |demand| {
            let origin = origin(demand.name.as_str(), prefixes, patch, width);
            // NaFlex stores a linear layer over (row, column, channel), as it is wanted here.
            if naflex { Origin { transform: linear(origin.transform), ..origin } } else { origin }
        }),
        key_of: saved.keys(),
        ignore: Box::new(move |name| match name {
            _ if name.ends_with("position_ids") => Some("a buffer of token numbers, not a weight"),
            _ if name.starts_with("text_model.") && vision_only => Some("text tower (--vision-only)"),
            _ => saved.ignore(name),
        }),
    })
}

/// The defaults of `SiglipVisionConfig`.
pub(super) fn vision_defaults() -> Value {
    json!({
        "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
        "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6, "image_size": 224, "patch_size": 16,
        "num_channels": 3, "vision_use_head": true, "num_patches": 256,
    })
}

/// The defaults of `SiglipTextConfig`.
pub(super) fn text_defaults() -> Value {
    json!({
        "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
        "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6, "vocab_size": 32000,
        "max_position_embeddings": 64,
    })
}

fn linear(transform: Transform) -> Transform {
    if let Transform::Convolution { .. } = transform { Transform::Rows } else { transform }
}

/// The image tower of a model that keeps the aspect ratio: at most `most` patches, positions resampled for each image.
fn naflex_vision(keys: &Keys<'_>, most: u32) -> Result<VisionConfig> {
    let patch: u32 = keys.required("patch_size")?;
    let positions: u32 = keys.required("num_patches")?;
    let grid = positions.isqrt();
    if grid * grid != positions {
        return Err(keys.wrong("num_patches", format!("is {positions}, no square")));
    }
    let side = most.isqrt() * patch;
    Ok(VisionConfig {
        grid_rows: grid,
        grid_cols: grid,
        interpolation: Interpolation::BilinearAntialias as u32,
        max_patches: most,
        // A square of about so many patches; the encoder follows each image.
        ..vision(keys, (side, side))?
    })
}

pub(super) fn vision(keys: &Keys<'_>, (height, width): (u32, u32)) -> Result<VisionConfig> {
    let (patch, image) = keys.patch_and_image()?;
    let head: bool = keys.required("vision_use_head")?;
    if !head {
        let problem = "is false: such a model gives one vector per patch and none for the image";
        return Err(keys.wrong("vision_use_head", problem));
    }
    Ok(VisionConfig {
        tower: keys.tower(FEATURES | feature::PATCH_BIAS, Pooling::AttentionHead)?,
        patch,
        height,
        width,
        position: Position::Learned as u32,
        grid_rows: image / patch,
        grid_cols: image / patch,
        interpolation: Interpolation::Bicubic as u32,
        ..VisionConfig::zeroed()
    })
}

/// The text tower and its tokenizer. `lower`: this kind of model has its texts lower-cased by the library.
pub(super) fn text_tower(
    keys: &Keys<'_>,
    checkpoint: &Checkpoint,
    model_options: &ModelOptions,
    lower: bool,
) -> Result<(TextConfig, tokenizer::Loaded)> {
    let (vocab, context) = (keys.required("vocab_size")?, keys.required("max_position_embeddings")?);
    let directory = model_options.tokenizer.as_deref().unwrap_or(&checkpoint.directory);
    let lower = lower || model_options.lowercase;
    let loaded = tokenizer::load_siglip(directory, vocab, context, lower, keys.get("pad_token_id")?)?;
    let config = TextConfig {
        tower: keys.tower(FEATURES | feature::PROJECT | feature::PROJECT_BIAS, Pooling::Last)?,
        vocab,
        context,
        causal: 0,
        // `eos_token_id` and `bos_token_id` of the configuration are leftovers of CLIP's.
        eos: loaded.end,
        pad: loaded.pad,
        padded: 1,
        canonical: loaded.canonical.map_or(0, |canonical| canonical as u32),
        ..TextConfig::zeroed()
    };
    Ok((config, loaded))
}

/// Where a canonical tensor comes from; `prefixes` are those of the image and of the text tower, `width` the image
/// tower's.
pub(super) fn origin(name: &str, prefixes: (&str, &str), patch: usize, width: usize) -> Origin {
    let (tower, rest) = name.split_once('.').expect("canonical names have a tower");
    let vision = tower == "vision";
    let prefix = if vision { prefixes.0 } else { prefixes.1 };
    let (module, end) = rest.rsplit_once('.').unwrap_or((rest, ""));
    match module {
        "project" => Origin::rows([format!("{prefix}head.{end}")]),
        "head" | "head.kv" => head_attention(rest, prefix, width),
        "head.out" => Origin::rows([format!("{prefix}head.attention.out_proj.{end}")]),
        "head.norm" => Origin::rows([format!("{prefix}head.layernorm.{end}")]),
        "head.fc1" | "head.fc2" => Origin::rows([format!("{prefix}head.mlp.{}.{end}", &module[5..])]),
        _ => hf::tower_origin(rest, vision, prefix, patch),
    }
}

/// The rows of the packed `in_proj`: q, which is applied to the probe here, then k and v.
fn head_attention(part: &str, prefix: &str, width: usize) -> Origin {
    let in_proj = |end: &str| format!("{prefix}head.attention.in_proj_{end}");
    let rows = |end, first| Origin { parts: vec![Part::Slice(in_proj(end), first)], ..Origin::rows([""; 0]) };
    match part {
        "head.kv.weight" => rows("weight", width),
        "head.kv.bias" => rows("bias", width),
        _ => rows("weight", 0).with(Transform::Applied {
            input: format!("{prefix}head.probe"),
            bias: Some((in_proj("bias"), 0)),
        }),
    }
}
