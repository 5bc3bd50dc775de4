//! CLIP as transformers saves it: `CLIPModel`, `CLIPVisionModel`, `CLIPVisionModelWithProjection`.

use super::{Origin, Recognised, Transform, Wishes, tokenizer};
use crate::source::{Checkpoint, Tensors};
use crate::{Error, Result};
use bytemuck::Zeroable;
use ocelli::format::*;
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;

/// The parts that every CLIP tower has.
const FEATURES: u32 = feature::QKV_BIAS | feature::OUT_BIAS | feature::MLP_BIAS | feature::FINAL_NORM;

/// Keys of a tower's configuration. Older releases store only what differs from their class's defaults, so absent ones
/// are those.
#[derive(Deserialize)]
#[serde(default)]
struct HfTower {
    hidden_size: u32,
    intermediate_size: u32,
    num_hidden_layers: u32,
    num_attention_heads: u32,
    hidden_act: String,
    layer_norm_eps: f32,
    projection_dim: u32,
    // Image tower.
    image_size: u32,
    patch_size: u32,
    num_channels: u32,
    // Text tower.
    vocab_size: u32,
    max_position_embeddings: u32,
    eos_token_id: u32,
}

impl Default for HfTower {
    fn default() -> HfTower {
        HfTower {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            hidden_act: "quick_gelu".into(),
            layer_norm_eps: 1e-5,
            projection_dim: 512,
            image_size: 224,
            patch_size: 32,
            num_channels: 3,
            vocab_size: 49408,
            max_position_embeddings: 77,
            eos_token_id: 49407,
        }
    }
}

impl HfTower {
    /// The text tower has other defaults for its width.
    fn text(mut json: Value, path: &Path) -> Result<HfTower> {
        if let Some(map) = json.as_object_mut() {
            for (key, value) in
                [("hidden_size", 512), ("intermediate_size", 2048), ("num_attention_heads", 8)]
            {
                map.entry(key).or_insert(value.into());
            }
        }
        serde_json::from_value(json).map_err(Error::json(path))
    }

    fn tower(&self, path: &Path, field: &str, features: u32, pooling: Pooling) -> Result<TowerConfig> {
        let wrong = |key: &str, problem: String| Error::field(path, format!("{field}{key}"), problem);
        let act = match self.hidden_act.as_str() {
            "quick_gelu" => Act::QuickGelu,
            "gelu" => Act::Gelu,
            "gelu_pytorch_tanh" => Act::GeluTanh,
            "silu" => Act::Silu,
            other => return Err(wrong("hidden_act", format!("is {other:?}, which is not supported"))),
        };
        let heads = self.num_attention_heads;
        if !self.hidden_size.is_multiple_of(heads) || heads == 0 {
            return Err(wrong(
                "num_attention_heads",
                format!("is {heads}, no divisor of {}", self.hidden_size),
            ));
        }
        Ok(TowerConfig {
            width: self.hidden_size,
            depth: self.num_hidden_layers,
            heads,
            head_dim: self.hidden_size / heads,
            mlp_width: self.intermediate_size,
            act: act as u32,
            norm_eps: self.layer_norm_eps,
            pooling: pooling as u32,
            features,
            reserved: [0; 7],
        })
    }
}

/// A tower's configuration inside that of a whole CLIP, whose `..._dict` twin has the last word where there is one.
fn section(json: &Value, name: &str, path: &Path) -> Result<Value> {
    let mut section = match json.get(name) {
        Some(Value::Object(map)) => map.clone(),
        None | Some(Value::Null) => Default::default(),
        Some(_) => return Err(Error::field(path, name, "is not an object")),
    };
    if let Some(Value::Object(twin)) = json.get(format!("{name}_dict")) {
        section.extend(twin.clone());
    }
    Ok(Value::Object(section))
}

pub(super) fn recognise(
    checkpoint: &Checkpoint,
    path: &Path,
    json: &Value,
    tensors: &Tensors,
    wishes: &Wishes,
) -> Result<Recognised> {
    let whole = json["model_type"] == "clip";
    let mut config = Config::zeroed();
    let (vision_json, field) =
        if whole { (section(json, "vision_config", path)?, "vision_config.") } else { (json.clone(), "") };
    let vision: HfTower = serde_json::from_value(vision_json).map_err(Error::json(path))?;
    // Of a whole CLIP the top-level value counts: those in the towers may be stale.
    let embed_dim = match json.get("projection_dim") {
        None => HfTower::default().projection_dim,
        Some(dim) => u32::deserialize(dim).map_err(Error::json(path))?,
    };
    let projects = whole || tensors.get("visual_projection.weight").is_some();
    config.score = ScoreConfig {
        kind: Scoring::Embedding as u32,
        embed_dim: if projects { embed_dim } else { vision.hidden_size },
        logit_scale: 1.0,
        logit_bias: 0.0,
        ..ScoreConfig::zeroed()
    };
    let mut scalars = Vec::new();
    if whole {
        config.score.kind = Scoring::Softmax as u32;
        config.score.logit_scale = logit_scale(tensors)?;
        scalars.push("logit_scale".to_string());
    }

    let (preprocess, (height, width), file) = super::hf_preprocess::load(&checkpoint.directory)?;
    config.preprocess = preprocess;
    config.vision = self::vision(&vision, path, field, projects, height, width)?;
    let mut files = vec![file];
    let mut text = None;
    if whole && !wishes.vision_only {
        let hf = HfTower::text(section(json, "text_config", path)?, path)?;
        let directory = wishes.tokenizer.as_deref().unwrap_or(&checkpoint.directory);
        let loaded = tokenizer::load_clip(directory, hf.vocab_size)?;
        config.text = self::text(&hf, path, &loaded)?;
        files.push(loaded.path);
        text = Some(loaded.text);
    }
    config.validate()?;

    let prefixed = tensors.names().any(|name| name.starts_with("vision_model."));
    let vision_prefix = if prefixed { "vision_model." } else { "" };
    let (patch, vision_only) = (vision.patch_size as usize, wishes.vision_only);
    Ok(Recognised {
        config,
        tokenizer: text,
        labels: Vec::new(),
        scalars,
        files,
        origin: Box::new(move |demand| origin(demand.name.as_str(), vision_prefix, patch)),
        ignore: Box::new(move |name| {
            let text = name.starts_with("text_model.") || name == "text_projection.weight";
            match name {
                _ if name.ends_with("position_ids") => Some("a buffer of token numbers, not a weight"),
                _ if text && vision_only && whole => Some("text tower (--vision-only)"),
                _ => None,
            }
        }),
    })
}

fn logit_scale(tensors: &Tensors) -> Result<f32> {
    let name = "logit_scale";
    let info = tensors.get(name).ok_or_else(|| Error::tensor(name, "is missing"))?;
    if info.shape.iter().product::<usize>() != 1 || info.shape.len() > 1 {
        return Err(Error::tensor(name, format!("has shape {:?}, expected [] or [1]", info.shape)));
    }
    let mut value = [0.0];
    tensors.read(name, 0..1, &mut value)?;
    Ok(f64::from(value[0]).exp() as f32)
}

fn vision(
    hf: &HfTower,
    path: &Path,
    field: &str,
    projects: bool,
    height: u32,
    width: u32,
) -> Result<VisionConfig> {
    let wrong = |key: &str, problem: String| Err(Error::field(path, format!("{field}{key}"), problem));
    if hf.num_channels != 3 {
        return wrong("num_channels", format!("is {}, only 3 is supported", hf.num_channels));
    }
    if hf.patch_size == 0 || hf.patch_size > hf.image_size {
        return wrong("patch_size", format!("is {}, but image_size is {}", hf.patch_size, hf.image_size));
    }
    let project = if projects { feature::PROJECT } else { 0 };
    let features = FEATURES | feature::PRE_NORM | feature::CLASS_TOKEN | project;
    Ok(VisionConfig {
        tower: hf.tower(path, field, features, Pooling::Class)?,
        patch: hf.patch_size,
        height,
        width,
        prefix_tokens: 1,
        position: Position::Learned as u32,
        grid_rows: hf.image_size / hf.patch_size,
        grid_cols: hf.image_size / hf.patch_size,
        interpolation: Interpolation::Bicubic as u32,
        position_prefix: 1,
        ..VisionConfig::zeroed()
    })
}

fn text(hf: &HfTower, path: &Path, tokenizer: &tokenizer::Loaded) -> Result<TextConfig> {
    // Configurations before transformers 4.30 say 2, whatever the tokenizer; there the largest id is the end.
    let pooling = if hf.eos_token_id == 2 { Pooling::ArgMax } else { Pooling::FirstEos };
    if pooling == Pooling::FirstEos && hf.eos_token_id != tokenizer.end {
        let problem = format!(
            "is {}, but {} ends texts with {}",
            hf.eos_token_id,
            tokenizer.path.display(),
            tokenizer.end
        );
        return Err(Error::field(path, "text_config.eos_token_id", problem));
    }
    Ok(TextConfig {
        tower: hf.tower(path, "text_config.", FEATURES | feature::PROJECT, pooling)?,
        vocab: hf.vocab_size,
        context: hf.max_position_embeddings,
        causal: 1,
        eos: tokenizer.end,
        // Nothing after the end token is seen, so any padding does; the configured id is often a leftover.
        pad: tokenizer.end,
        padded: 0,
        ..TextConfig::zeroed()
    })
}

/// Where a canonical tensor comes from.
fn origin(name: &str, vision_prefix: &str, patch: usize) -> Origin {
    let (tower, rest) = name.split_once('.').expect("canonical names have a tower");
    let vision = tower == "vision";
    let prefix = if vision { vision_prefix } else { "text_model." };
    let (module, end) = rest.rsplit_once('.').unwrap_or((rest, ""));
    let parts = match (module, end) {
        ("patch_embed", _) => vec![format!("{prefix}embeddings.patch_embedding.{end}")],
        ("class_token", _) => vec![format!("{prefix}embeddings.class_embedding")],
        ("position", _) => vec![format!("{prefix}embeddings.position_embedding.weight")],
        ("token_embed", _) => vec![format!("{prefix}embeddings.token_embedding.weight")],
        // Spelled so in every release.
        ("pre_norm", _) => vec![format!("{prefix}pre_layrnorm.{end}")],
        ("final_norm", _) if vision => vec![format!("{prefix}post_layernorm.{end}")],
        ("final_norm", _) => vec![format!("{prefix}final_layer_norm.{end}")],
        ("project", _) if vision => vec![format!("visual_projection.{end}")],
        ("project", _) => vec![format!("text_projection.{end}")],
        _ => {
            let (block, part) = module.rsplit_once('.').expect("the rest are parts of blocks");
            let layer = block.replacen("block", "encoder.layers", 1);
            let modules: &[&str] = match part {
                "norm1" => &["layer_norm1"],
                "norm2" => &["layer_norm2"],
                "qkv" => &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
                "out" => &["self_attn.out_proj"],
                "fc1" => &["mlp.fc1"],
                _ => &["mlp.fc2"],
            };
            modules.iter().map(|module| format!("{prefix}{layer}.{module}.{end}")).collect()
        }
    };
    let origin = Origin::rows(parts);
    if module == "patch_embed" { origin.with(Transform::Convolution { side: patch }) } else { origin }
}
