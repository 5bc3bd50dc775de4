//! DINOv2 (with and without registers) and DINOv3 as transformers saves them: `Dinov2Model`,
//! `Dinov2WithRegistersModel`, `DINOv3ViTModel`. They give embeddings; nothing in them scores labels.

use super::classes::embedding_only;
use super::hf::{FEATURES, Keys, prefix_of};
use super::origin::{Origin, Part, Transform};
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
    let model_type = json["model_type"].as_str().unwrap_or_default();
    let hf_preprocess::Loaded { config: preprocess, size, path: file, .. } =
        hf_preprocess::load(&checkpoint.directory, model_type)?;
    let prefixes: &[&str] = if model_type == "dinov3_vit" {
        &["dinov3_vit.", "model.", ""]
    } else {
        &["dinov2_with_registers.", "dinov2.", ""]
    };
    let prefix = prefix_of(tensors, prefixes, "embeddings.cls_token");
    let keys = Keys::new(json, None, defaults(json), path)?;
    let ImageTower { config: vision, origin, ignore } = tower(&keys, model_type, tensors, prefix, size)?;
    let mut config = Config::zeroed();
    (config.vision, config.preprocess) = (vision, preprocess);
    config.score = embedding_only(config.vision.tower.width);
    Ok(Recognised {
        config,
        tokenizer: None,
        labels: Vec::new(),
        scalars: Vec::new(),
        path: path.to_path_buf(),
        files: vec![file],
        origin: Box::new(move |demand| origin(demand.name.as_str())),
        key_of: key_names::transformers("", ""),
        ignore: Box::new(move |name| match name.strip_prefix(prefix).unwrap_or(name) {
            name if name.starts_with("classifier.") => {
                Some("a classifier of class token and patches together: DINO models give embeddings only")
            }
            _ => ignore(name),
        }),
    })
}

/// The tower of a DINO model, alone or in a larger one. Its pooled vector is the class token.
pub(super) fn tower(
    keys: &Keys<'_>,
    model_type: &str,
    tensors: &Tensors,
    prefix: &'static str,
    size: (u32, u32),
) -> Result<ImageTower> {
    let (config, names) = if model_type == "dinov3_vit" {
        let config = dinov3(keys, size)?;
        (config, Names::dinov3(tensors, prefix, &config))
    } else {
        let mut config = dinov2(keys, size)?;
        if model_type == "dinov2_with_registers" {
            // Its class, unlike `Dinov2Model`, resamples positions with antialias.
            config.interpolation = Interpolation::BicubicAntialias as u32;
        }
        (config, Names::dinov2(prefix, &config))
    };
    Ok(ImageTower {
        config,
        origin: Box::new(move |name| names.origin(name)),
        ignore: Box::new(move |name| match name.strip_prefix(prefix).unwrap_or(name) {
            "embeddings.mask_token" => Some("stands for hidden patches in training"),
            name if name.ends_with("inv_freq") => Some("rotary frequencies, which are computed"),
            _ => None,
        }),
    })
}

/// The defaults of the class of a configuration, or of a section of one.
pub(super) fn defaults(json: &Value) -> Value {
    if json["model_type"] == "dinov3_vit" { dinov3_defaults() } else { dinov2_defaults(json) }
}

/// The defaults of `Dinov2Config` and `Dinov2WithRegistersConfig`, and the MLP's width, which they compute.
fn dinov2_defaults(json: &Value) -> Value {
    let width = json["hidden_size"].as_u64().unwrap_or(768);
    let mut hidden = width * json["mlp_ratio"].as_u64().unwrap_or(4);
    if json["use_swiglu_ffn"] == true {
        hidden = (hidden * 2 / 3).div_ceil(8) * 8;
    }
    let registers = if json["model_type"] == "dinov2_with_registers" { 4 } else { 0 };
    json!({
        "hidden_size": 768, "intermediate_size": hidden, "num_hidden_layers": 12, "num_attention_heads": 12,
        "hidden_act": "gelu", "layer_norm_eps": 1e-6, "image_size": 224, "patch_size": 14, "num_channels": 3,
        "qkv_bias": true, "use_swiglu_ffn": false, "num_register_tokens": registers,
    })
}

/// The defaults of `DINOv3ViTConfig`.
fn dinov3_defaults() -> Value {
    json!({
        "hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 12, "num_attention_heads": 6,
        "hidden_act": "gelu", "layer_norm_eps": 1e-5, "image_size": 224, "patch_size": 16, "num_channels": 3,
        "query_bias": true, "key_bias": false, "value_bias": true, "proj_bias": true, "mlp_bias": true,
        "use_gated_mlp": false, "num_register_tokens": 0, "rope_theta": 100.0,
    })
}

fn dinov2(keys: &Keys<'_>, (height, width): (u32, u32)) -> Result<VisionConfig> {
    let (patch, image) = keys.patch_and_image()?;
    let mut features = FEATURES | feature::PATCH_BIAS | feature::CLASS_TOKEN;
    if !keys.required::<bool>("qkv_bias")? {
        features &= !feature::QKV_BIAS;
    }
    let gated: bool = keys.required("use_swiglu_ffn")?;
    let mut tower = keys.tower(features, Pooling::Class)?;
    if gated {
        // Its activation is SiLU whatever hidden_act says.
        tower.act = Act::Silu as u32;
        tower.features |= feature::GATED_MLP;
    }
    let registers: u32 = keys.required("num_register_tokens")?;
    Ok(VisionConfig {
        tower,
        patch,
        height,
        width,
        prefix_tokens: 1 + registers,
        position: Position::Learned as u32,
        grid_rows: image / patch,
        grid_cols: image / patch,
        interpolation: Interpolation::Bicubic as u32,
        position_prefix: 1,
        ..VisionConfig::zeroed()
    })
}

fn dinov3(keys: &Keys<'_>, (height, width): (u32, u32)) -> Result<VisionConfig> {
    let (patch, _) = keys.patch_and_image()?;
    let on = |key: &str| keys.required::<bool>(key);
    let mut features = feature::FINAL_NORM | feature::PATCH_BIAS | feature::CLASS_TOKEN;
    if on("query_bias")? || on("key_bias")? || on("value_bias")? {
        features |= feature::QKV_BIAS;
    }
    for (key, bit) in [
        ("proj_bias", feature::OUT_BIAS),
        ("mlp_bias", feature::MLP_BIAS),
        ("use_gated_mlp", feature::GATED_MLP),
    ] {
        if on(key)? {
            features |= bit;
        }
    }
    let registers: u32 = keys.required("num_register_tokens")?;
    Ok(VisionConfig {
        tower: keys.tower(features, Pooling::Class)?,
        patch,
        height,
        width,
        prefix_tokens: 1 + registers,
        position: Position::None as u32,
        interpolation: Interpolation::Computed as u32,
        rope: Rope::Centred as u32,
        rope_theta: keys.required("rope_theta")?,
        ..VisionConfig::zeroed()
    })
}

/// How a checkpoint names its tensors.
#[derive(Clone, Copy)]
struct Names {
    prefix: &'static str,
    patch: usize,
    /// The patch embedding, a block, the final norm.
    modules: [&'static str; 3],
    /// q, k, v, attention's output.
    attention: [&'static str; 4],
    /// Gate, if it is apart, then fc1, then fc2.
    mlp: (Option<&'static str>, &'static str, &'static str),
    /// q, k and v have biases.
    biases: [bool; 3],
}

impl Names {
    fn dinov2(prefix: &'static str, config: &VisionConfig) -> Names {
        let gated = config.tower.has(feature::GATED_MLP);
        Names {
            prefix,
            patch: config.patch as usize,
            modules: ["embeddings.patch_embeddings.projection", "encoder.layer", "layernorm"],
            attention: [
                "attention.attention.query",
                "attention.attention.key",
                "attention.attention.value",
                "attention.output.dense",
            ],
            // Gate rows come first in `weights_in`.
            mlp: if gated {
                (None, "mlp.weights_in", "mlp.weights_out")
            } else {
                (None, "mlp.fc1", "mlp.fc2")
            },
            biases: [true; 3],
        }
    }

    fn dinov3(tensors: &Tensors, prefix: &'static str, config: &VisionConfig) -> Names {
        let bias = |part: &str| tensors.get(&format!("{prefix}layer.0.attention.{part}.bias")).is_some();
        let gate = config.tower.has(feature::GATED_MLP).then_some("mlp.gate_proj");
        Names {
            prefix,
            patch: config.patch as usize,
            modules: ["embeddings.patch_embeddings", "layer", "norm"],
            attention: ["attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.o_proj"],
            mlp: (gate, "mlp.up_proj", "mlp.down_proj"),
            biases: ["q_proj", "k_proj", "v_proj"].map(bias),
        }
    }

    /// Where a canonical tensor comes from.
    fn origin(&self, name: &str) -> Origin {
        let Names { prefix, patch, modules: [patches, layers, norm], .. } = *self;
        let rest = name.strip_prefix("vision.").unwrap_or(name);
        let (module, end) = rest.rsplit_once('.').unwrap_or((rest, ""));
        let one = |name: String| Origin::rows([format!("{prefix}{name}")]);
        match module {
            "patch_embed" => one(format!("{patches}.{end}")).with(Transform::Convolution { side: patch }),
            "class_token" => one("embeddings.cls_token".into()),
            "registers" => one("embeddings.register_tokens".into()),
            "position" => one("embeddings.position_embeddings".into()),
            "final_norm" => one(format!("{norm}.{end}")),
            _ => {
                let (block, part) = module.rsplit_once('.').expect("the rest are parts of blocks");
                let layer = format!("{prefix}{}", block.replacen("block", layers, 1));
                self.in_block(&layer, part, end)
            }
        }
    }

    fn in_block(&self, layer: &str, part: &str, end: &str) -> Origin {
        let [q, k, v, out] = self.attention;
        let named = |module: &str| format!("{layer}.{module}.{end}");
        match part {
            "qkv" => {
                let part = |(module, bias): (&str, bool)| {
                    if end == "bias" && !bias { Part::Zeros } else { Part::Tensor(named(module)) }
                };
                let parts = [q, k, v].into_iter().zip(self.biases).map(part).collect();
                Origin { parts, ..Origin::rows([""]) }
            }
            "out" => Origin::rows([named(out)]).scaled(format!("{layer}.layer_scale1.lambda1")),
            "fc1" => Origin::rows(self.mlp.0.into_iter().chain([self.mlp.1]).map(named)),
            "fc2" => Origin::rows([named(self.mlp.2)]).scaled(format!("{layer}.layer_scale2.lambda1")),
            _ => Origin::rows([named(part)]),
        }
    }
}
