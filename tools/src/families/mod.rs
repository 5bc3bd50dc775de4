//! Checkpoint families: from a library's configuration and tensor names to ocelli's.

mod classes;
mod hf;
mod hf_base;
mod hf_bert;
mod hf_clip;
mod hf_dino;
mod hf_dual;
mod hf_mclip;
mod hf_nllb;
mod hf_preprocess;
mod hf_processor;
mod hf_siglip;
mod hf_vit;
mod jina_clip;
mod key_names;
mod open_clip;
mod origin;
mod recognised;
mod simple_vit;
mod timm;
mod timm_names;
mod timm_vit;
pub mod tokenizer;
mod towers;

pub use origin::{BatchNorm, Origin, Part, Transform};
pub use recognised::{IgnoreReason, KeyOf, ModelOptions, OTHER_TOWER, Recognised};

use crate::source::{Checkpoint, SourceFile, Tensors, hash, read_json};
use crate::{Error, Result};
use ocelli::format::Config;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Recognises a checkpoint by the `model_type` in its `config.json`, or by an `open_clip_config.json` that fits its
/// tensors' names.
pub fn recognise(
    checkpoint: &Checkpoint,
    tensors: &Tensors,
    model_options: &ModelOptions,
) -> Result<Recognised> {
    let mut recognised = recognise_family(checkpoint, tensors, model_options)?;
    recognised.config.validate().map_err(|error| key_names::explain(error, &recognised))?;
    if let Some(size) = model_options.image_size {
        resize(&mut recognised.config, size)?;
    }
    Ok(recognised)
}

fn recognise_family(
    checkpoint: &Checkpoint,
    tensors: &Tensors,
    model_options: &ModelOptions,
) -> Result<Recognised> {
    let path = checkpoint.directory.join(open_clip::CONFIG);
    if path.exists() && tensors.names().any(|name| name.starts_with("visual.")) {
        return open_clip::recognise(checkpoint, &path, &read_json(&path)?, tensors, model_options);
    }
    let path = checkpoint.directory.join("config.json");
    if !path.exists() {
        let problem = "has no config.json (of open_clip: open_clip_config.json) beside the weights, which says what \
                       they are: download it too";
        return Err(Error::file(&checkpoint.directory, problem));
    }
    let json = read_json(&path)?;
    let recognise = match json.get("model_type").and_then(Value::as_str) {
        Some("clip" | "clip_vision_model" | "clip_text_model") => hf_clip::recognise,
        Some(
            "siglip"
            | "siglip_vision_model"
            | "siglip_text_model"
            | "siglip2"
            | "siglip2_vision_model"
            | "siglip2_text_model",
        ) => hf_siglip::recognise,
        Some("vit" | "vit_mae") => hf_vit::recognise,
        Some("dinov2" | "dinov2_with_registers" | "dinov3_vit") => hf_dino::recognise,
        Some("vision-text-dual-encoder" | "chinese_clip") => hf_dual::recognise,
        Some("M-CLIP") => hf_mclip::recognise,
        Some("jina_clip") => jina_clip::recognise,
        None if json["library"] == "vit-pytorch" => simple_vit::recognise,
        None if json.get("architecture").is_some() => timm_vit::recognise,
        Some(other) => return Err(unsupported(&path, other)),
        None => {
            let problem = "is missing, and so is the \"architecture\" of a timm checkpoint";
            return Err(Error::field(&path, "model_type", problem));
        }
    };
    recognise(checkpoint, &path, &json, tensors, model_options)
}

/// Makes `config` one for images of `height` × `width`. The stored positions stay as they are: encoders interpolate
/// them as the family's library does. A shortest side before a crop keeps its ratio to the crop.
fn resize(config: &mut Config, (height, width): (u32, u32)) -> Result<()> {
    if !config.has_vision() || config.vision.max_patches > 0 || config.vision.pyramid_stride > 0 {
        let problem = "an image size was asked for, but this model has none, or takes its images as they are";
        return Err(Error::options(problem));
    }
    config.preprocess.shortest = config.shortest(height, width);
    (config.vision.height, config.vision.width) = (height, width);
    Ok(config.validate()?)
}

/// Refuses the `config.json` at `path` if no family has its `model_type`, before the weights are there.
#[cfg(feature = "hub")]
pub(crate) fn check_model_type(path: &Path, json: &Value) -> Result<()> {
    match json.get("model_type").and_then(Value::as_str) {
        Some(other) if !FAMILIES.contains(&other) => Err(unsupported(path, other)),
        // Two kinds of models have this one.
        Some("jina_clip") => jina_clip::check_text_model(json, path),
        _ => Ok(()),
    }
}

fn unsupported(path: &Path, model_type: &str) -> Error {
    let problem = format!("is {model_type:?}; supported: {}", FAMILIES.join(", "));
    Error::field(path, "model_type", problem)
}

/// Every `model_type` that is supported.
const FAMILIES: [&str; 18] = [
    "clip",
    "clip_vision_model",
    "clip_text_model",
    "siglip",
    "siglip_vision_model",
    "siglip_text_model",
    "siglip2",
    "siglip2_vision_model",
    "siglip2_text_model",
    "vit",
    "vit_mae",
    "dinov2",
    "dinov2_with_registers",
    "dinov3_vit",
    "vision-text-dual-encoder",
    "chinese_clip",
    "M-CLIP",
    "jina_clip",
];

/// Names, sizes and hashes of the files that decide what a model computes, and the id made of them.
pub fn identify(config: &Path, checkpoint: &Checkpoint) -> Result<(Vec<SourceFile>, [u8; 16])> {
    use sha2::{Digest, Sha256};

    let paths = std::iter::once::<&Path>(config).chain(checkpoint.weights.iter().map(PathBuf::as_path));
    let (mut files, mut all) = (Vec::new(), Sha256::new());
    for path in paths {
        let (file, digest) = hash(path)?;
        files.push(file);
        all.update(digest);
    }
    let digest: [u8; 32] = all.finalize().into();
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    Ok((files, id))
}
