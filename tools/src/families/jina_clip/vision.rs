//! The image tower, that of EVA-02-CLIP, and what happens to pictures before.

use super::only;
use crate::Result;
use crate::families::hf::Keys;
use crate::families::origin::{Origin, Part, Transform};
use crate::source::read_json;
use bytemuck::Zeroable;
use ocelli::format::*;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const VISION: &str = "vision_model.";

/// The defaults of `JinaCLIPVisionConfig`.
pub(super) fn defaults() -> Value {
    json!({
        "embed_dim": 768, "width": 768, "image_size": 224, "patch_size": 16, "layers": 12, "head_width": 64, "mlp_ratio": 4.0,
        "qkv_bias": true, "post_norm": false, "rope_embeddings": false, "pt_hw_seq_len": 16, "intp_freq": false,
        "naive_swiglu": false, "subln": false,
    })
}

pub(super) fn config(keys: &Keys<'_>) -> Result<VisionConfig> {
    for (key, expected) in [
        ("naive_swiglu", json!(true)),
        ("post_norm", json!(false)),
        ("ls_init_value", Value::Null),
        ("proj_type", Value::Null),
    ] {
        only(keys, key, expected)?;
    }
    let (width, head_dim): (u32, u32) = (keys.required("width")?, keys.required("head_width")?);
    let (patch, side): (u32, u32) = (keys.required("patch_size")?, keys.required("image_size")?);
    if head_dim == 0 || !width.is_multiple_of(head_dim) {
        return Err(keys.wrong("head_width", format!("is {head_dim}, no divisor of {width}")));
    }
    if patch == 0 || patch > side {
        return Err(keys.wrong("patch_size", format!("is {patch}, but image_size is {side}")));
    }
    let dim: u32 = keys.required("embed_dim")?;
    if dim != width {
        let problem = format!("is {dim}, but the image tower has {width} channels, which nothing projects");
        return Err(keys.wrong("embed_dim", problem));
    }
    let mut features = feature::OUT_BIAS
        | feature::MLP_BIAS
        | feature::GATED_MLP
        | feature::FINAL_NORM
        | feature::PATCH_BIAS
        | feature::CLASS_TOKEN;
    for (key, bits) in
        [("qkv_bias", feature::QKV_BIAS), ("subln", feature::ATTENTION_NORM | feature::MLP_NORM)]
    {
        features |= if keys.required(key)? { bits } else { 0 };
    }
    let ratio: f64 = keys.required("mlp_ratio")?;
    let grid = side / patch;
    let mut vision = VisionConfig {
        tower: TowerConfig {
            width,
            depth: keys.required("layers")?,
            heads: width / head_dim,
            head_dim,
            mlp_width: (f64::from(width) * ratio) as u32,
            act: Act::Silu as u32,
            norm_eps: 1e-6,
            pooling: Pooling::Class as u32,
            features,
            ..TowerConfig::zeroed()
        },
        patch,
        height: side,
        width: side,
        prefix_tokens: 1,
        position: Position::Learned as u32,
        grid_rows: grid,
        grid_cols: grid,
        // The library's class has one size.
        interpolation: Interpolation::Fixed as u32,
        position_prefix: 1,
        ..VisionConfig::zeroed()
    };
    if keys.required("rope_embeddings")? {
        let trained: u32 = keys.required("pt_hw_seq_len")?;
        let scaled: bool = keys.required("intp_freq")?;
        if trained == 0 || (!scaled && trained != grid) {
            let problem =
                format!("is {trained}, but there are {grid}x{grid} patches, and intp_freq is {scaled}");
            return Err(keys.wrong("pt_hw_seq_len", problem));
        }
        vision.rope = Rope::Interleaved as u32;
        vision.rope_theta = 10_000.0;
        (vision.rope_rows, vision.rope_cols) = if scaled { (trained, trained) } else { (0, 0) };
    }
    Ok(vision)
}

/// Where a tensor of the image tower comes from; whether queries, keys and values are `apart`.
pub(super) fn origin(rest: &str, patch: usize, apart: bool) -> Origin {
    let (module, end) = rest.rsplit_once('.').unwrap_or((rest, ""));
    let one = |name: &str| Origin::rows([format!("{VISION}{name}.{end}")]);
    match module {
        "patch_embed" => one("patch_embed.proj").with(Transform::Convolution { side: patch }),
        "class_token" => Origin::rows([format!("{VISION}cls_token")]),
        "position" => Origin::rows([format!("{VISION}pos_embed")]),
        "final_norm" => one("norm"),
        _ => {
            let (block, part) = module.rsplit_once('.').expect("the rest are parts of blocks");
            let layer = block.replacen("block", "blocks", 1);
            match part {
                // Keys have no bias.
                "qkv" if end == "bias" => {
                    let bias = |of: &str| Part::Tensor(format!("{VISION}{layer}.attn.{of}_bias"));
                    Origin { parts: vec![bias("q"), Part::Zeros, bias("v")], ..Origin::rows([""; 0]) }
                }
                "qkv" if apart => {
                    Origin::rows(["q", "k", "v"].map(|of| format!("{VISION}{layer}.attn.{of}_proj.{end}")))
                }
                "qkv" => one(&format!("{layer}.attn.qkv")),
                "attention_norm" => one(&format!("{layer}.attn.inner_attn_ln")),
                "out" => one(&format!("{layer}.attn.proj")),
                "fc1" => Origin::rows(["w1", "w2"].map(|of| format!("{VISION}{layer}.mlp.{of}.{end}"))),
                "mlp_norm" => one(&format!("{layer}.mlp.ffn_ln")),
                "fc2" => one(&format!("{layer}.mlp.w3")),
                _ => one(&format!("{layer}.{part}")),
            }
        }
    }
}

/// What `JinaCLIPImageProcessor` does, which is open_clip's transform, for images of `side` × `side` pixels.
pub(super) fn preprocess(directory: &Path, side: u32) -> Result<(PreprocessConfig, PathBuf)> {
    let path = directory.join("preprocessor_config.json");
    let defaults = json!({
        "size": 224, "resize_mode": "shortest", "interpolation": "bicubic",
        "mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711],
    });
    let keys = Keys::new(&read_json(&path)?, None, defaults, &path)?;
    let class = keys.get("image_processor_type")?.unwrap_or_else(|| "JinaCLIPImageProcessor".to_owned());
    if class != "JinaCLIPImageProcessor" {
        let problem = format!("is {class:?}; only \"JinaCLIPImageProcessor\" is supported");
        return Err(keys.wrong("image_processor_type", problem));
    }
    let size: Value = keys.required("size")?;
    if size != json!(side) && size != json!([side, side]) {
        return Err(keys.wrong("size", format!("is {size}, but the model sees {side}x{side} pixels")));
    }
    let filter = match keys.required::<String>("interpolation")?.as_str() {
        // "random" is for training; without it the class takes bicubic.
        "bicubic" | "random" => Filter::Bicubic,
        "bilinear" => Filter::Bilinear,
        other => return Err(keys.wrong("interpolation", format!("is {other:?}, which is not supported"))),
    };
    let (mode, shortest) = match keys.required::<String>("resize_mode")?.as_str() {
        "shortest" => (ResizeMode::ShortestCrop, side),
        "squash" => (ResizeMode::Squash, 0),
        other => {
            let problem = format!("is {other:?}; supported: \"shortest\", \"squash\"");
            return Err(keys.wrong("resize_mode", problem));
        }
    };
    // One number stands for all channels.
    let triple = |key| match keys.required::<Value>(key)? {
        Value::Number(_) => keys.required::<f32>(key).map(|value| [value; 3]),
        _ => keys.required(key),
    };
    let config = PreprocessConfig {
        mode: mode as u32,
        filter: filter as u32,
        resampler: Resampler::Pillow as u32,
        crop_rounding: CropRounding::HalfEven as u32,
        alpha: Alpha::Drop as u32,
        shortest,
        mean: triple("mean")?,
        std: triple("std")?,
        reserved: [0; 8],
    };
    Ok((config, path))
}
