//! What the checkpoints of transformers have in common: keys of a configuration, names of a layer's tensors.

use super::key_names;
use super::origin::{Origin, Transform};
use super::recognised::{KeyOf, ModelOptions, OTHER_TOWER};
use crate::source::Tensors;
use crate::{Error, Result};
use bytemuck::Zeroable;
use ocelli::format::{Act, Pooling, TowerConfig, feature};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::Path;

/// Parts that every tower of CLIP and SigLIP has.
pub(super) const FEATURES: u32 =
    feature::QKV_BIAS | feature::OUT_BIAS | feature::MLP_BIAS | feature::FINAL_NORM;

/// Which towers a checkpoint has, of a family that has two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Saved {
    Both,
    Vision,
    Text,
}

impl Saved {
    /// What `model_type` says.
    pub(super) fn of(model_type: &str) -> Saved {
        match model_type {
            _ if model_type.ends_with("_vision_model") => Saved::Vision,
            _ if model_type.ends_with("_text_model") => Saved::Text,
            _ => Saved::Both,
        }
    }

    /// The section of the configuration that describes a tower: the whole of it, where the tower was saved alone.
    pub(super) fn section(self, name: &'static str) -> Option<&'static str> {
        (self == Saved::Both).then_some(name)
    }

    /// Whether the tower ends in the projection `weight`: its class says so, or else that it is there.
    pub(super) fn projects(self, json: &Value, tensors: &Tensors, weight: &str) -> bool {
        let class = json["architectures"][0].as_str();
        let plain = matches!(class, Some("CLIPVisionModel" | "CLIPTextModel"));
        self == Saved::Both || (tensors.get(weight).is_some() && !plain)
    }

    /// From packed fields to this configuration's keys.
    pub(super) fn keys(self) -> Box<KeyOf> {
        let both = self == Saved::Both;
        key_names::transformers(
            if both { "vision_config." } else { "" },
            if both { "text_config." } else { "" },
        )
    }

    /// Why a tensor may be there that belongs to the other tower, or to both together.
    pub(super) fn ignore(self, name: &str) -> Option<&'static str> {
        let other = match self {
            Saved::Both => return None,
            Saved::Vision => ["text_model.", "text_projection."],
            Saved::Text => ["vision_model.", "visual_projection."],
        };
        let both = name == "logit_scale" || name == "logit_bias";
        (both || other.iter().any(|start| name.starts_with(start))).then_some(OTHER_TOWER)
    }

    /// A text tower alone, of which only the image tower is wanted.
    pub(super) fn refuse_without_vision(self, model_options: &ModelOptions, path: &Path) -> Result<()> {
        if self == Saved::Text && model_options.vision_only {
            let problem = "is that of a text tower, which --vision-only leaves out";
            return Err(Error::field(path, "model_type", problem));
        }
        Ok(())
    }
}

/// What the names of the image tower's and of the text tower's tensors start with: towers saved alone by newer releases
/// have no prefix.
pub(super) fn tower_prefixes(tensors: &Tensors) -> (&'static str, &'static str) {
    let prefixed = |prefix: &'static str| {
        if tensors.names().any(|name| name.starts_with(prefix)) { prefix } else { "" }
    };
    (prefixed("vision_model."), prefixed("text_model."))
}

/// Where a tensor that the towers of CLIP and SigLIP have alike comes from: `rest` is its canonical name without the
/// tower, `prefix` the tower's.
pub(super) fn tower_origin(rest: &str, vision: bool, prefix: &str, patch: usize) -> Origin {
    let (module, end) = rest.rsplit_once('.').unwrap_or((rest, ""));
    match module {
        "patch_embed" => {
            let name = format!("{prefix}embeddings.patch_embedding.{end}");
            Origin::rows([name]).with(Transform::Convolution { side: patch })
        }
        "position" => Origin::rows([format!("{prefix}embeddings.position_embedding.weight")]),
        "token_embed" => Origin::rows([format!("{prefix}embeddings.token_embedding.weight")]),
        "final_norm" if vision => Origin::rows([format!("{prefix}post_layernorm.{end}")]),
        "final_norm" => Origin::rows([format!("{prefix}final_layer_norm.{end}")]),
        _ => Origin::rows(layer_modules(module).into_iter().map(|module| format!("{prefix}{module}.{end}"))),
    }
}

/// A configuration, or a section of one.
pub(super) struct Keys<'p> {
    json: Value,
    /// What messages put before a key: `vision_config.` or nothing.
    prefix: &'static str,
    path: &'p Path,
}

impl<'p> Keys<'p> {
    /// The whole configuration, or its section `name`, whose `..._dict` twin has the last word where there is one.
    /// Releases of transformers before 5 store only what differs from the defaults of a class: those are in `defaults`,
    /// an object.
    pub(super) fn new(
        json: &Value,
        name: Option<&'static str>,
        defaults: Value,
        path: &'p Path,
    ) -> Result<Keys<'p>> {
        let mut keys = defaults;
        let mut add = |section: &Value, name: &str| match (section, keys.as_object_mut()) {
            (Value::Object(section), Some(keys)) => {
                keys.extend(section.clone());
                Ok(())
            }
            (Value::Null, _) => Ok(()),
            _ => Err(Error::field(path, name, "is not an object")),
        };
        let prefix = match name {
            None => {
                add(json, "the file")?;
                ""
            }
            Some(name) => {
                add(&json[name], name)?;
                let twin = format!("{name}_dict");
                add(&json[&twin], &twin)?;
                if name == "vision_config" { "vision_config." } else { "text_config." }
            }
        };
        Ok(Keys { json: keys, prefix, path })
    }

    /// The keys of the object `json`, before which messages put `prefix`.
    pub(super) fn of(json: Value, prefix: &'static str, path: &'p Path) -> Keys<'p> {
        Keys { json, prefix, path }
    }

    pub(super) fn wrong(&self, key: &str, problem: impl Into<String>) -> Error {
        Error::field(self.path, format!("{}{key}", self.prefix), problem)
    }

    /// The value of `key`; `null` counts as absent.
    pub(super) fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        match self.json.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => T::deserialize(value)
                .map(Some)
                .map_err(|error| self.wrong(key, format!("is {value}, which makes no sense there: {error}"))),
        }
    }

    /// The value of `key`, which has no safe default.
    pub(super) fn required<T: DeserializeOwned>(&self, key: &str) -> Result<T> {
        self.get(key)?.ok_or_else(|| self.wrong(key, "is missing"))
    }

    /// The transformer.
    pub(super) fn tower(&self, features: u32, pooling: Pooling) -> Result<TowerConfig> {
        let (width, heads) = self.width_and_heads("hidden_size", "num_attention_heads")?;
        Ok(TowerConfig {
            width,
            depth: self.required("num_hidden_layers")?,
            heads,
            head_dim: width / heads,
            mlp_width: self.required("intermediate_size")?,
            act: self.act("hidden_act")? as u32,
            norm_eps: self.required("layer_norm_eps")?,
            pooling: pooling as u32,
            features,
            ..TowerConfig::zeroed()
        })
    }

    /// Channels of a token, and heads, which divide them.
    pub(super) fn width_and_heads(&self, width_key: &str, heads_key: &str) -> Result<(u32, u32)> {
        let (width, heads): (u32, u32) = (self.required(width_key)?, self.required(heads_key)?);
        if heads == 0 || !width.is_multiple_of(heads) {
            return Err(self.wrong(heads_key, format!("is {heads}, no divisor of {width}")));
        }
        Ok((width, heads))
    }

    /// The activation that `key` names.
    pub(super) fn act(&self, key: &str) -> Result<Act> {
        let name: String = self.required(key)?;
        match name.as_str() {
            "quick_gelu" => Ok(Act::QuickGelu),
            "gelu" => Ok(Act::Gelu),
            "gelu_pytorch_tanh" => Ok(Act::GeluTanh),
            "silu" => Ok(Act::Silu),
            "relu" => Ok(Act::Relu),
            other => Err(self.wrong(key, format!("is {other:?}, which is not supported"))),
        }
    }

    /// Sides of a patch and of the trained square image, in pixels.
    pub(super) fn patch_and_image(&self) -> Result<(u32, u32)> {
        let channels: u32 = self.required("num_channels")?;
        if channels != 3 {
            return Err(self.wrong("num_channels", format!("is {channels}, only 3 is supported")));
        }
        let (patch, image): (u32, u32) = (self.required("patch_size")?, self.required("image_size")?);
        if patch == 0 || patch > image {
            return Err(self.wrong("patch_size", format!("is {patch}, but image_size is {image}")));
        }
        Ok((patch, image))
    }
}

/// The first of `prefixes` under which the checkpoint has the tensor `name`; the last one if none has.
pub(super) fn prefix_of(tensors: &Tensors, prefixes: &[&'static str], name: &str) -> &'static str {
    let found = prefixes.iter().find(|prefix| tensors.get(&format!("{prefix}{name}")).is_some());
    found.or(prefixes.last()).copied().unwrap_or_default()
}

/// The names of a layer's modules in CLIP and SigLIP: `block.{i}.{part}` is these, one after the other.
fn layer_modules(module: &str) -> Vec<String> {
    let (block, part) = module.rsplit_once('.').expect("parts of blocks have a block");
    let layer = block.replacen("block", "encoder.layers", 1);
    let modules: &[&str] = match part {
        "norm1" => &["layer_norm1"],
        "norm2" => &["layer_norm2"],
        "qkv" => &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
        "out" => &["self_attn.out_proj"],
        "fc1" => &["mlp.fc1"],
        _ => &["mlp.fc2"],
    };
    modules.iter().map(|module| format!("{layer}.{module}")).collect()
}

/// The one value of a tensor of shape [] or [1].
pub(super) fn scalar(tensors: &Tensors, name: &str) -> Result<f32> {
    let info = tensors.get(name).ok_or_else(|| Error::tensor(name, "is missing"))?;
    if info.shape.iter().product::<usize>() != 1 || info.shape.len() > 1 {
        return Err(Error::tensor(name, format!("has shape {:?}, expected [] or [1]", info.shape)));
    }
    let mut value = [0.0];
    tensors.read(name, 0..1, &mut value)?;
    Ok(value[0])
}

/// What cosines are multiplied by: `exp` of the parameter `logit_scale`.
pub(super) fn logit_scale(tensors: &Tensors) -> Result<f32> {
    scalar(tensors, "logit_scale").map(|scale| f64::from(scale).exp() as f32)
}
