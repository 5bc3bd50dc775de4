//! Vision Transformers as transformers saves them: `ViTModel` and `ViTForImageClassification`, and the encoder of
//! `ViTMAEModel` and `ViTMAEForPreTraining`.

use super::classes::{classify, embedding_only, id2label};
use super::hf::{FEATURES, Keys, prefix_of};
use super::origin::{Origin, Transform};
use super::recognised::{ModelOptions, Recognised};
use super::towers::ImageTower;
use super::{hf_preprocess, key_names};
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
    _: &ModelOptions,
) -> Result<Recognised> {
    let keys = Keys::new(json, None, defaults(), path)?;
    let model_type = json["model_type"].as_str().unwrap_or_default();
    let preprocess = hf_preprocess::load(&checkpoint.directory, model_type)?;
    let prefix = prefix_of(tensors, &["vit.", ""], "embeddings.cls_token");
    let stored = tensors.get(&format!("{prefix}embeddings.position_embeddings")).is_some();
    let mut config = Config::zeroed();
    config.preprocess = preprocess.config;
    config.vision = vision(&keys, preprocess.size, stored || json["model_type"] != "vit_mae")?;
    config.score = embedding_only(config.vision.tower.width);
    let mut labels = Vec::new();
    if tensors.get("classifier.weight").is_some() {
        let problem: Option<String> = keys.get("problem_type")?;
        if problem.as_deref() == Some("multi_label_classification") {
            return Err(keys.wrong("problem_type", "is multi_label_classification, which is not supported"));
        }
        let names = id2label(json, path)?;
        labels = classify(&mut config, tensors, "classifier.weight", names, (path, "id2label"))?;
    }
    let patch = config.vision.patch as usize;
    Ok(Recognised {
        config,
        tokenizer: None,
        labels,
        scalars: Vec::new(),
        path: path.to_path_buf(),
        files: vec![preprocess.path],
        origin: Box::new(move |demand| origin(demand.name.as_str(), prefix, patch)),
        key_of: key_names::transformers("", ""),
        ignore: Box::new(move |name| match name.strip_prefix(prefix).unwrap_or(name) {
            name if name.starts_with("pooler.") => {
                Some("a layer after the class token that no classifier or similarity uses")
            }
            name if name.starts_with("decoder.") => {
                Some("MAE's decoder, which paints the hidden patches in training")
            }
            name => ignore(name),
        }),
    })
}

/// `ViTModel` as the image tower of a larger model, which reads what its pooler gives.
pub(super) fn tower(keys: &Keys<'_>, prefix: &'static str, size: (u32, u32)) -> Result<ImageTower> {
    let mut config = vision(keys, size, true)?;
    let act: String = keys.get("pooler_act")?.unwrap_or_else(|| "tanh".into());
    if act != "tanh" {
        return Err(keys.wrong("pooler_act", format!("is {act:?}; only \"tanh\" is supported")));
    }
    let width = config.tower.width;
    let pooled: u32 = keys.get("pooler_output_size")?.unwrap_or(width);
    if pooled != width {
        return Err(keys.wrong("pooler_output_size", format!("is {pooled}; only hidden_size is supported")));
    }
    config.tower.features |= feature::POOLER;
    let patch = config.patch as usize;
    Ok(ImageTower {
        config,
        origin: Box::new(move |name| origin(name, prefix, patch)),
        ignore: Box::new(move |name| ignore(name.strip_prefix(prefix)?)),
    })
}

fn ignore(name: &str) -> Option<&'static str> {
    (name == "embeddings.mask_token").then_some("stands for hidden patches in training")
}

/// The defaults of `ViTConfig` and `ViTMAEConfig`.
pub(super) fn defaults() -> Value {
    json!({
        "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
        "hidden_act": "gelu", "layer_norm_eps": 1e-12, "image_size": 224, "patch_size": 16, "num_channels": 3,
        "qkv_bias": true,
    })
}

fn vision(keys: &Keys<'_>, (height, width): (u32, u32), has_table: bool) -> Result<VisionConfig> {
    let (patch, image) = keys.patch_and_image()?;
    let mut features = FEATURES | feature::PATCH_BIAS | feature::CLASS_TOKEN;
    if !keys.required::<bool>("qkv_bias")? {
        features &= !feature::QKV_BIAS;
    }
    let mut vision = VisionConfig {
        tower: keys.tower(features, Pooling::Class)?,
        patch,
        height,
        width,
        prefix_tokens: 1,
        ..VisionConfig::zeroed()
    };
    if has_table {
        vision.position = Position::Learned as u32;
        (vision.grid_rows, vision.grid_cols) = (image / patch, image / patch);
        vision.interpolation = Interpolation::Bicubic as u32;
        vision.position_prefix = 1;
    } else {
        vision.position = Position::SinCosMae as u32;
        vision.interpolation = Interpolation::Computed as u32;
        vision.sincos_temperature = 10_000.0;
    }
    Ok(vision)
}

/// Where a canonical tensor comes from.
fn origin(name: &str, prefix: &str, patch: usize) -> Origin {
    let rest = name.strip_prefix("vision.").unwrap_or(name);
    let (module, end) = rest.rsplit_once('.').unwrap_or((rest, ""));
    let one = |name: String| Origin::rows([format!("{prefix}{name}")]);
    match module {
        "patch_embed" => one(format!("embeddings.patch_embeddings.projection.{end}"))
            .with(Transform::Convolution { side: patch }),
        "class_token" => one("embeddings.cls_token".into()),
        "position" => one("embeddings.position_embeddings".into()),
        "final_norm" => one(format!("layernorm.{end}")),
        "pooler" => one(format!("pooler.dense.{end}")),
        "classifier" => Origin::rows([format!("classifier.{end}")]),
        _ => {
            let (block, part) = module.rsplit_once('.').expect("the rest are parts of blocks");
            let layer = block.replacen("block", "encoder.layer", 1);
            let modules: &[&str] = match part {
                "norm1" => &["layernorm_before"],
                "norm2" => &["layernorm_after"],
                "qkv" => {
                    &["attention.attention.query", "attention.attention.key", "attention.attention.value"]
                }
                "out" => &["attention.output.dense"],
                "fc1" => &["intermediate.dense"],
                _ => &["output.dense"],
            };
            Origin::rows(modules.iter().map(|module| format!("{prefix}{layer}.{module}.{end}")))
        }
    }
}
