//! A section of `open_clip_config.json`.

use crate::{Error, Result};
use bytemuck::Zeroable;
use ocelli::format::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::path::Path;

/// A section of the configuration.
pub(super) struct Section<'j> {
    pub(super) json: &'j Value,
    pub(super) name: &'static str,
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

    /// Whether `key` is there and not null.
    pub(super) fn has(&self, key: &str) -> bool {
        self.json.get(key).is_some_and(|value| !value.is_null())
    }

    /// A size in pixels, or height and width.
    pub(super) fn sides(&self, key: &str, default: u32) -> Result<(u32, u32)> {
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
                ("act_kwargs", Value::Object(map)) => map.keys().all(|key| key == "approximate"),
                ("ls_init_value", _) => value.is_number(),
                // Read only with `attentional_pool`, which is refused, `hf_model_name` or `timm_model_name`.
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
    pub(super) fn tower(
        &self,
        width: u32,
        heads: u32,
        act: Act,
        features: u32,
        pooling: Pooling,
    ) -> Result<TowerConfig> {
        let ratio: f64 = self.get("mlp_ratio", json!(4.0))?;
        let eps = self.json["norm_kwargs"].get("eps").map_or(Some(1e-5), Value::as_f64);
        // `act_kwargs` are those of `nn.GELU`; quick GELU takes none.
        let act = match self.json["act_kwargs"].get("approximate").and_then(Value::as_str) {
            None | Some("none") => act,
            Some("tanh") if act == Act::Gelu => Act::GeluTanh,
            Some(other) => {
                let problem = format!("is {other:?}; supported: \"tanh\", without quick_gelu");
                return Err(self.wrong("act_kwargs.approximate", problem));
            }
        };
        Ok(TowerConfig {
            width,
            depth: self.get("layers", json!(12))?,
            heads,
            head_dim: width / heads,
            mlp_width: (f64::from(width) * ratio) as u32,
            act: act as u32,
            norm_eps: eps.ok_or_else(|| self.wrong("norm_kwargs.eps", "is not a number"))? as f32,
            pooling: pooling as u32,
            features: feature::QKV_BIAS | feature::OUT_BIAS | feature::MLP_BIAS | features,
            ..TowerConfig::zeroed()
        })
    }

    pub(super) fn has_layer_scale(&self) -> bool {
        self.json.get("ls_init_value").is_some_and(Value::is_number)
    }
}
