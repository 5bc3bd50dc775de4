//! CLIP as open_clip saves it: `open_clip_config.json` beside `open_clip_model.safetensors`, under the names that
//! OpenAI's own checkpoints have.

use super::origin::{Origin, Transform};
use super::recognised::{ModelOptions, Recognised};
use super::{hf, key_names, open_clip_text, tokenizer};
use crate::source::{Checkpoint, Tensors};
use crate::{Error, Result};
use bytemuck::Zeroable;
use ocelli::format::*;
use serde::de::DeserializeOwned;
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
const VISION_KEYS: [&str; 8] = [
    "image_size",
    "layers",
    "width",
    "head_width",
    "mlp_ratio",
    "patch_size",
    "patch_dropout",
    "final_ln_after_pool",
];
const TEXT_KEYS: [&str; 8] =
    ["context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio", "pad_id", "eos_id"];

/// A section of the configuration.
pub(super) struct Section<'j> {
    pub(super) json: &'j Value,
    name: &'static str,
    pub(super) path: &'j Path,
}

impl Section<'_> {
    pub(super) fn wrong(&self, key: &str, problem: impl Into<String>) -> Error {
        Error::field(self.path, format!("{}.{key}", self.name), problem)
    }

    /// The value of `key`, or the library's default; null if it has none.
    pub(super) fn get<T: DeserializeOwned>(&self, key: &str, default: Value) -> Result<T> {
        let value = self.json.get(key).filter(|value| !value.is_null()).unwrap_or(&default);
        if value.is_null() {
            return Err(self.wrong(key, "is missing"));
        }
        T::deserialize(value)
            .map_err(|error| self.wrong(key, format!("is {value}, which makes no sense there: {error}")))
    }

    /// A size in pixels, or height and width.
    fn sides(&self, key: &str, default: u32) -> Result<(u32, u32)> {
        match self.json.get(key) {
            Some(Value::Array(_)) => self.get(key, Value::Null),
            _ => self.get(key, default.into()).map(|side| (side, side)),
        }
    }

    /// Refuses what would change the network: a key that is not among `known`, unless it has the value that switches
    /// its feature off.
    pub(super) fn check_keys(&self, known: &[&str]) -> Result<()> {
        for (key, value) in self.json.as_object().into_iter().flatten() {
            let off = match (key.as_str(), value) {
                (_, Value::Null | Value::Bool(false)) => true,
                ("pool_type", _) => value == "tok" || value == "argmax",
                ("pos_embed_type", _) => value == "learnable",
                ("proj_type", _) => value == "linear",
                ("block_type", _) => value == "default",
                ("norm_kwargs", Value::Object(map)) => map.keys().all(|key| key == "eps"),
                ("act_kwargs", Value::Object(map)) => map.is_empty(),
                ("ls_init_value", _) => value.is_number(),
                // Read only with `attentional_pool`, `hf_model_name` or `timm_model_name`, which are refused.
                ("attn_pooler_queries" | "attn_pooler_heads" | "hf_proj_type" | "hf_pooler_type", _) => true,
                ("hf_model_pretrained" | "timm_pool" | "timm_proj" | "timm_drop" | "timm_drop_path", _) => {
                    true
                }
                _ => false,
            };
            if !off && !known.contains(&key.as_str()) {
                return Err(self.wrong(key, format!("is {value}: such a model is not supported")));
            }
        }
        Ok(())
    }

    /// The transformer; `heads` of `width`.
    fn tower(
        &self,
        width: u32,
        heads: u32,
        act: Act,
        features: u32,
        pooling: Pooling,
    ) -> Result<TowerConfig> {
        let ratio: f64 = self.get("mlp_ratio", json!(4.0))?;
        let eps = self.json["norm_kwargs"].get("eps").map_or(Some(1e-5), Value::as_f64);
        Ok(TowerConfig {
            width,
            depth: self.get("layers", json!(12))?,
            heads,
            head_dim: width / heads,
            mlp_width: (f64::from(width) * ratio) as u32,
            act: act as u32,
            norm_eps: eps.ok_or_else(|| self.wrong("norm_kwargs.eps", "is not a number"))? as f32,
            pooling: pooling as u32,
            features: hf::FEATURES | feature::PROJECT | features,
            ..TowerConfig::zeroed()
        })
    }

    fn has_layer_scale(&self) -> bool {
        self.json.get("ls_init_value").is_some_and(Value::is_number)
    }
}

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
    vision.check_keys(&VISION_KEYS)?;

    let act = if model.get("quick_gelu", json!(false))? { Act::QuickGelu } else { Act::Gelu };
    let bias = tensors.get("logit_bias").is_some();
    let mut config = Config::zeroed();
    config.score = ScoreConfig {
        kind: if bias { Scoring::Sigmoid } else { Scoring::Softmax } as u32,
        embed_dim: model.get("embed_dim", Value::Null)?,
        logit_scale: hf::logit_scale(tensors)?,
        logit_bias: if bias { hf::scalar(tensors, "logit_bias")? } else { 0.0 },
        ..ScoreConfig::zeroed()
    };
    config.vision = self::vision(&vision, act)?;
    let preprocess = Section { json: preprocess, name: "preprocess_cfg", path };
    config.preprocess = self::preprocess(&preprocess, config.vision.height, config.vision.width)?;
    let (mut files, mut tokenizer, mut hf_text) = (Vec::new(), None, None);
    let names_hf_model = text.json.get("hf_model_name").is_some_and(|name| !name.is_null());
    if !model_options.vision_only && names_hf_model {
        let dim = config.score.embed_dim;
        let tower = open_clip_text::text(&text, dim, checkpoint, tensors, model_options)?;
        config.text = tower.config;
        files.extend(tower.tokenizer.files);
        tokenizer = Some(tower.tokenizer.text);
        hf_text = Some((tower.origin, tower.ignore));
    } else if !model_options.vision_only {
        text.check_keys(&TEXT_KEYS)?;
        let directory = model_options.tokenizer.as_deref().unwrap_or(&checkpoint.directory);
        let loaded = tokenizer::load_open_clip(directory, text.get("vocab_size", json!(49408))?)?;
        config.text = self::text(&text, act, &loaded)?;
        files.extend(loaded.files);
        tokenizer = Some(loaded.text);
    }

    // A text tower of its own class (`custom_text`) has its tensors under `text.`.
    let custom = tensors.names().any(|name| name.starts_with("text."));
    let text_prefix = if custom { "text." } else { "" };
    let scaled = (vision.has_layer_scale(), text.has_layer_scale());
    let (patch, vision_only) = (config.vision.patch as usize, model_options.vision_only);
    let (text_origin, text_ignore) = hf_text.unzip();
    let scalars = ["logit_scale", "logit_bias"].iter().filter(|name| tensors.get(name).is_some());
    Ok(Recognised {
        config,
        tokenizer,
        labels: Vec::new(),
        scalars: scalars.map(ToString::to_string).collect(),
        path: path.to_path_buf(),
        files,
        origin: Box::new(move |demand| match (demand.name.as_str(), &text_origin) {
            (name, Some(text)) if name.starts_with("text.") => text(name),
            (name, _) => origin(name, text_prefix, patch, scaled),
        }),
        key_of: Box::new(key_names::open_clip),
        ignore: Box::new(move |name| match name {
            "input_resolution" | "context_length" | "vocab_size" => Some("a setting, not a weight"),
            _ if name.ends_with("attn_mask") => Some("a mask, not a weight"),
            _ if vision_only && !name.starts_with("visual.") => Some("text tower (--vision-only)"),
            _ => text_ignore.as_ref().and_then(|ignore| ignore(name)),
        }),
    })
}

fn vision(section: &Section<'_>, act: Act) -> Result<VisionConfig> {
    let (height, width) = section.sides("image_size", 224)?;
    let (patch, columns) = section.sides("patch_size", 16)?;
    if patch != columns || patch == 0 || patch > height.min(width) {
        let problem = format!("is {patch}x{columns} for an image of {height}x{width}");
        return Err(section.wrong("patch_size", problem));
    }
    let (channels, head): (u32, u32) =
        (section.get("width", json!(768))?, section.get("head_width", json!(64))?);
    if head == 0 || !channels.is_multiple_of(head) || channels == 0 {
        return Err(section.wrong("head_width", format!("is {head}, no divisor of {channels}")));
    }
    let pre_norm = if section.get("no_ln_pre", json!(false))? { 0 } else { feature::PRE_NORM };
    Ok(VisionConfig {
        tower: section.tower(
            channels,
            channels / head,
            act,
            feature::CLASS_TOKEN | pre_norm,
            Pooling::Class,
        )?,
        patch,
        height,
        width,
        prefix_tokens: 1,
        position: Position::Learned as u32,
        grid_rows: height / patch,
        grid_cols: width / patch,
        interpolation: Interpolation::BicubicAntialias as u32,
        position_prefix: 1,
        ..VisionConfig::zeroed()
    })
}

fn text(section: &Section<'_>, act: Act, tokenizer: &tokenizer::Loaded) -> Result<TextConfig> {
    let (width, heads): (u32, u32) = (section.get("width", json!(512))?, section.get("heads", json!(8))?);
    if heads == 0 || !width.is_multiple_of(heads) {
        return Err(section.wrong("heads", format!("is {heads}, no divisor of {width}")));
    }
    Ok(TextConfig {
        tower: section.tower(width, heads, act, 0, Pooling::ArgMax)?,
        vocab: section.get("vocab_size", json!(49408))?,
        context: section.get("context_length", json!(77))?,
        causal: 1,
        eos: tokenizer.end,
        pad: tokenizer.pad,
        canonical: tokenizer.canonical.map_or(0, |canonical| canonical as u32),
        ..TextConfig::zeroed()
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

/// Where a canonical tensor comes from. `scaled`: whether image and text tower have layer scale.
fn origin(name: &str, text_prefix: &str, patch: usize, scaled: (bool, bool)) -> Origin {
    let (tower, rest) = name.split_once('.').expect("canonical names have a tower");
    let vision = tower == "vision";
    let (prefix, scaled) = if vision { ("visual.", scaled.0) } else { (text_prefix, scaled.1) };
    let (module, end) = rest.rsplit_once('.').unwrap_or((rest, ""));
    let whole = |name: &str| Origin::rows([format!("{prefix}{name}")]);
    match module {
        "patch_embed" => whole("conv1.weight").with(Transform::Convolution { side: patch }),
        "class_token" => whole("class_embedding"),
        "position" => whole("positional_embedding"),
        "token_embed" => whole("token_embedding.weight"),
        "pre_norm" => whole(&format!("ln_pre.{end}")),
        "final_norm" if vision => whole(&format!("ln_post.{end}")),
        "final_norm" => whole(&format!("ln_final.{end}")),
        "project" => whole(if vision { "proj" } else { "text_projection" }).with(Transform::Transposed),
        _ => {
            let (block, part) = module.rsplit_once('.').expect("the rest are parts of blocks");
            let block = block.replacen("block", "transformer.resblocks", 1);
            let (name, scale) = match part {
                "norm1" => (format!("ln_1.{end}"), None),
                "norm2" => (format!("ln_2.{end}"), None),
                "qkv" => (format!("attn.in_proj_{end}"), None),
                "out" => (format!("attn.out_proj.{end}"), Some("ls_1.gamma")),
                "fc1" => (format!("mlp.c_fc.{end}"), None),
                _ => (format!("mlp.c_proj.{end}"), Some("ls_2.gamma")),
            };
            let origin = whole(&format!("{block}.{name}"));
            match scale.filter(|_| scaled) {
                Some(scale) => origin.scaled(format!("{prefix}{block}.{scale}")),
                None => origin,
            }
        }
    }
}
