//! CLIP as open_clip saves it: `open_clip_config.json` beside `open_clip_model.safetensors`, under the names that
//! OpenAI's own checkpoints have.
//!
//! Each kind of tower has a file: `vision` and `text` are those of open_clip's own classes, `timm_tower` those of timm,
//! `hf_text` those of transformers.

mod hf_text;
mod section;
mod text;
mod timm_tower;
mod tower;
mod vision;

use super::recognised::{ModelOptions, Recognised};
use super::{hf, key_names};
use crate::source::{Checkpoint, Tensors};
use crate::{Error, Result};
use bytemuck::Zeroable;
use ocelli::format::*;
use section::Section;
use serde_json::{Value, json};
use std::path::Path;

/// The configuration's file.
pub(super) const CONFIG: &str = "open_clip_config.json";

/// Keys that only training, loading or debugging reads, or that repeat a default.
const MODEL_KEYS: [&str; 8] = [
    "embed_dim",
    "vision_cfg",
    "text_cfg",
    "quick_gelu",
    "custom_text",
    "init_logit_scale",
    "init_logit_bias",
    "nonscalar_logit_scale",
];

pub(super) fn recognise(
    checkpoint: &Checkpoint,
    path: &Path,
    json: &Value,
    tensors: &Tensors,
    model_options: &ModelOptions,
) -> Result<Recognised> {
    let section = |json: &'_ Value, key: &str| -> Result<()> {
        if json.is_object() { Ok(()) } else { Err(Error::field(path, key, "is missing")) }
    };
    let (cfg, preprocess) = (&json["model_cfg"], &json["preprocess_cfg"]);
    section(cfg, "model_cfg")?;
    section(&cfg["vision_cfg"], "model_cfg.vision_cfg")?;
    section(&cfg["text_cfg"], "model_cfg.text_cfg")?;
    section(preprocess, "preprocess_cfg")?;
    let model = Section { json: cfg, name: "model_cfg", path };
    let vision = Section { json: &cfg["vision_cfg"], name: "model_cfg.vision_cfg", path };
    let text = Section { json: &cfg["text_cfg"], name: "model_cfg.text_cfg", path };
    model.check_keys(&MODEL_KEYS)?;

    let act = if model.get("quick_gelu", json!(false))? { Act::QuickGelu } else { Act::Gelu };
    let bias = tensors.get("logit_bias").is_some();
    let mut config = Config::zeroed();
    // Towers of timm have their own activation.
    let image = if timm_tower::is_one(&vision) {
        timm_tower::recognise(&vision, tensors)?
    } else {
        vision::recognise(&vision, act)?
    };
    config.vision = image.config;
    config.score = ScoreConfig {
        kind: if bias { Scoring::Sigmoid } else { Scoring::Softmax } as u32,
        embed_dim: model.get("embed_dim", Value::Null)?,
        logit_scale: hf::logit_scale(tensors)?,
        logit_bias: if bias { hf::scalar(tensors, "logit_bias")? } else { 0.0 },
        ..ScoreConfig::zeroed()
    };
    let preprocess = Section { json: preprocess, name: "preprocess_cfg", path };
    config.preprocess = self::preprocess(&preprocess, config.vision.height, config.vision.width)?;
    let (mut files, mut tokenizer, mut words) = (Vec::new(), None, None);
    if !model_options.vision_only {
        let directory = model_options.tokenizer.as_deref().unwrap_or(&checkpoint.directory);
        let (tower, loaded) = if hf_text::is_one(&text) {
            let embed_dim = config.score.embed_dim;
            hf_text::recognise(&text, embed_dim, tensors, &checkpoint.directory, directory)?
        } else {
            text::recognise(&text, act, tensors, directory)?
        };
        config.text = tower.config;
        files.extend(loaded.files);
        (tokenizer, words) = (Some(loaded.text), Some((tower.origin, tower.ignore)));
    }

    let (text_origin, text_ignore) = words.unzip();
    let scalars = ["logit_scale", "logit_bias"].iter().filter(|name| tensors.get(name).is_some());
    Ok(Recognised {
        config,
        tokenizer,
        labels: Vec::new(),
        scalars: scalars.map(ToString::to_string).collect(),
        path: path.to_path_buf(),
        files,
        origin: Box::new(move |demand| {
            let (tower, rest) = demand.name.as_str().split_once('.').expect("canonical names have a tower");
            let text = text_origin.as_ref().filter(|_| tower == "text");
            text.unwrap_or(&image.origin)(rest)
        }),
        key_of: Box::new(key_names::open_clip),
        ignore: Box::new(move |name| match name {
            "input_resolution" | "context_length" | "vocab_size" => Some("a setting, not a weight"),
            _ if name.ends_with("attn_mask") => Some("a mask, not a weight"),
            _ if name.starts_with("visual.") => (image.ignore)(name),
            _ => match &text_ignore {
                Some(ignore) => ignore(name),
                None => Some("text tower (--vision-only)"),
            },
        }),
    })
}

fn preprocess(section: &Section<'_>, height: u32, width: u32) -> Result<PreprocessConfig> {
    let choice = |key, default| section.get::<String>(key, json!(default));
    if choice("mode", "RGB")? != "RGB" {
        return Err(section.wrong("mode", "is not \"RGB\""));
    }
    let filter = match choice("interpolation", "bicubic")?.as_str() {
        // "random" is for training; without it open_clip takes bicubic.
        "bicubic" | "random" => Filter::Bicubic,
        "bilinear" => Filter::Bilinear,
        other => return Err(section.wrong("interpolation", format!("is {other:?}, which is not supported"))),
    };
    let (mode, shortest) = match choice("resize_mode", "shortest")?.as_str() {
        "shortest" if height == width => (ResizeMode::ShortestCrop, height),
        "squash" => (ResizeMode::Squash, 0),
        other => {
            let problem =
                format!("is {other:?} for {height}x{width}; supported: \"shortest\" (square), \"squash\"");
            return Err(section.wrong("resize_mode", problem));
        }
    };
    // One number stands for all channels.
    let triple = |key, default: [f64; 3]| match section.json.get(key) {
        Some(Value::Number(_)) => section.get(key, Value::Null).map(|value| [value; 3]),
        _ => section.get::<[f32; 3]>(key, json!(default)),
    };
    Ok(PreprocessConfig {
        mode: mode as u32,
        filter: filter as u32,
        resampler: Resampler::Pillow as u32,
        crop_rounding: CropRounding::HalfEven as u32,
        alpha: Alpha::Drop as u32,
        shortest,
        mean: triple("mean", [0.48145466, 0.4578275, 0.40821073])?,
        std: triple("std", [0.26862954, 0.26130258, 0.27577711])?,
        reserved: [0; 8],
    })
}
