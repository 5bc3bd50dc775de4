//! vit-pytorch's `SimpleViT` (arXiv 2205.01580), which has no file format of its own: `model.safetensors` is its
//! `state_dict()`, `config.json` names `"library": "vit-pytorch"` and the arguments of its constructor.

use super::classes::{classify, embedding_only, name_list};
use super::hf::Keys;
use super::key_names;
use super::origin::Origin;
use super::recognised::{ModelOptions, Recognised};
use crate::source::{Checkpoint, Tensors};
use crate::{Error, Result};
use bytemuck::Zeroable;
use ocelli::format::*;
use serde_json::{Value, json};
use std::path::Path;

const FEATURES: u32 =
    feature::MLP_BIAS | feature::FINAL_NORM | feature::PATCH_BIAS | feature::PATCH_NORM | feature::EMBED_NORM;

pub(super) fn recognise(
    _: &Checkpoint,
    path: &Path,
    json: &Value,
    tensors: &Tensors,
    _: &ModelOptions,
) -> Result<Recognised> {
    let keys = Keys::new(json, None, json!({"channels": 3, "dim_head": 64}), path)?;
    let architecture: String = keys.required("architecture")?;
    if architecture != "SimpleViT" {
        let problem = format!("is {architecture:?}; of vit-pytorch only \"SimpleViT\" is supported");
        return Err(keys.wrong("architecture", problem));
    }
    let mut config = Config::zeroed();
    config.vision = vision(&keys)?;
    config.preprocess = preprocess(json, path)?;
    config.score = embedding_only(config.vision.tower.width);
    let names = name_list(json, "label_names", path)?;
    let labels = classify(&mut config, tensors, "linear_head.weight", names, (path, "label_names"))?;
    Ok(Recognised {
        config,
        tokenizer: None,
        labels,
        scalars: Vec::new(),
        path: path.to_path_buf(),
        files: Vec::new(),
        origin: Box::new(|demand| origin(demand.name.as_str())),
        key_of: Box::new(key_names::vit_pytorch),
        ignore: Box::new(|_| None),
    })
}

fn vision(keys: &Keys<'_>) -> Result<VisionConfig> {
    for (key, expected) in [("pool", "mean"), ("pos_embed", "sincos2d"), ("hidden_act", "gelu")] {
        let found: String = keys.required(key)?;
        if found != expected {
            return Err(keys.wrong(key, format!("is {found:?}, only {expected:?} is supported")));
        }
    }
    let channels: u32 = keys.required("channels")?;
    if channels != 3 {
        return Err(keys.wrong("channels", format!("is {channels}, only 3 is supported")));
    }
    let side: u32 = keys.required("image_size")?;
    Ok(VisionConfig {
        tower: TowerConfig {
            width: keys.required("dim")?,
            depth: keys.required("depth")?,
            heads: keys.required("heads")?,
            head_dim: keys.required("dim_head")?,
            mlp_width: keys.required("mlp_dim")?,
            act: Act::Gelu as u32,
            norm_eps: keys.required("layer_norm_eps")?,
            pooling: Pooling::MeanAll as u32,
            features: FEATURES,
            ..TowerConfig::zeroed()
        },
        patch: keys.required("patch_size")?,
        height: side,
        width: side,
        position: Position::SinCos as u32,
        interpolation: Interpolation::Computed as u32,
        sincos_temperature: keys.required("pos_temperature")?,
        ..VisionConfig::zeroed()
    })
}

fn preprocess(json: &Value, path: &Path) -> Result<PreprocessConfig> {
    let json = json.get("preprocess").ok_or_else(|| Error::field(path, "preprocess", "is missing"))?;
    let wrong = |key: &str, problem: String| Error::field(path, format!("preprocess.{key}"), problem);
    if json["resize_mode"] != "squash" {
        return Err(wrong(
            "resize_mode",
            format!("is {}, only \"squash\" is supported", json["resize_mode"]),
        ));
    }
    let filter = match json["interpolation"].as_str() {
        Some("bilinear") => Filter::Bilinear,
        Some("bicubic") => Filter::Bicubic,
        _ => {
            let problem = format!("is {}; supported: \"bilinear\", \"bicubic\"", json["interpolation"]);
            return Err(wrong("interpolation", problem));
        }
    };
    let triple = |key: &str| {
        serde_json::from_value(json[key].clone())
            .map_err(|_| wrong(key, format!("is {}, expected three numbers", json[key])))
    };
    Ok(PreprocessConfig {
        mode: ResizeMode::Squash as u32,
        filter: filter as u32,
        resampler: Resampler::Pillow as u32,
        crop_rounding: CropRounding::HalfEven as u32,
        alpha: Alpha::Drop as u32,
        shortest: 0,
        mean: triple("mean")?,
        std: triple("std")?,
        reserved: [0; 8],
    })
}

/// Where a canonical tensor comes from.
fn origin(name: &str) -> Origin {
    let rest = name.strip_prefix("vision.").unwrap_or(name);
    let (module, end) = rest.rsplit_once('.').unwrap_or((rest, ""));
    let module = match module {
        // Patches are flattened (row, column, channel) already.
        "patch_norm" => "to_patch_embedding.1".to_string(),
        "patch_embed" => "to_patch_embedding.2".to_string(),
        "embed_norm" => "to_patch_embedding.3".to_string(),
        "final_norm" => "transformer.norm".to_string(),
        "classifier" => "linear_head".to_string(),
        _ => {
            let (block, part) = module.rsplit_once('.').expect("the rest are parts of blocks");
            let layer = block.replacen("block", "transformer.layers", 1);
            let part = match part {
                "norm1" => "0.norm",
                "qkv" => "0.to_qkv",
                "out" => "0.to_out",
                "norm2" => "1.net.0",
                "fc1" => "1.net.1",
                _ => "1.net.3",
            };
            format!("{layer}.{part}")
        }
    };
    Origin::rows([format!("{module}.{end}")])
}
