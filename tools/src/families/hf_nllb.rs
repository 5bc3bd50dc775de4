//! The encoder of NLLB (arXiv 2207.04672) and M2M100 as a text tower, under the names of transformers: `M2M100Encoder`.
//!
//! Tokens are scaled by the square root of their width, and positions are sines and cosines that start behind the padding
//! token's: both are folded into the packed tables.

use super::hf::{FEATURES, Keys};
use super::origin::{Origin, Part, Transform};
use crate::Result;
use bytemuck::Zeroable;
use ocelli::format::*;
use serde_json::{Value, json};

/// Its `model_type`.
pub(super) const KIND: &str = "m2m_100";

/// The defaults of `M2M100Config`.
pub(super) fn defaults() -> Value {
    json!({
        "d_model": 1024, "encoder_layers": 12, "encoder_attention_heads": 16, "encoder_ffn_dim": 4096,
        "activation_function": "relu", "scale_embedding": true, "vocab_size": 128_112,
        "max_position_embeddings": 1024, "pad_token_id": 1,
    })
}

/// Such a tower in a checkpoint.
#[derive(Clone)]
pub(super) struct Nllb {
    /// What its tensors' names start with.
    prefix: &'static str,
    /// The position of the first token.
    first: u32,
    /// Tokens are scaled.
    scaled: bool,
    width: u32,
}

impl Nllb {
    /// The tower that `keys` describe; its configuration has neither tokenizer nor projection yet.
    pub(super) fn new(keys: &Keys<'_>, prefix: &'static str, pooling: Pooling) -> Result<(Nllb, TextConfig)> {
        let (width, heads) = keys.width_and_heads("d_model", "encoder_attention_heads")?;
        if !width.is_multiple_of(2) || width < 4 {
            return Err(
                keys.wrong("d_model", format!("is {width}; sines and cosines take an even number from 4 on"))
            );
        }
        let tower = TowerConfig {
            width,
            depth: keys.required("encoder_layers")?,
            heads,
            head_dim: width / heads,
            mlp_width: keys.required("encoder_ffn_dim")?,
            act: keys.act("activation_function")? as u32,
            // That of PyTorch's `LayerNorm`; the configuration has none.
            norm_eps: 1e-5,
            pooling: pooling as u32,
            features: FEATURES,
            ..TowerConfig::zeroed()
        };
        let pad: u32 = keys.required("pad_token_id")?;
        let scaled = keys.required("scale_embedding")?;
        let config = TextConfig {
            tower,
            vocab: keys.required("vocab_size")?,
            context: keys.required("max_position_embeddings")?,
            ..TextConfig::zeroed()
        };
        Ok((Nllb { prefix, first: pad.saturating_add(1), scaled, width }, config))
    }

    /// Where a canonical tensor comes from; `rest` is its name without the tower's.
    pub(super) fn origin(&self, rest: &str) -> Origin {
        let (module, end) = rest.rsplit_once('.').unwrap_or((rest, ""));
        let one = |name: &str| Origin::rows([format!("{}{name}", self.prefix)]);
        match module {
            "token_embed" if self.scaled => one("embed_tokens.weight").with(Transform::TimesRoot(self.width)),
            "token_embed" => one("embed_tokens.weight"),
            "position" => Origin { parts: vec![Part::Sinusoids(self.first)], ..Origin::rows([""; 0]) },
            "final_norm" => one(&format!("layer_norm.{end}")),
            _ => {
                let (block, part) = module.rsplit_once('.').expect("the rest are parts of blocks");
                let layer = block.replacen("block", "layers", 1);
                let modules: &[&str] = match part {
                    "norm1" => &["self_attn_layer_norm"],
                    "norm2" => &["final_layer_norm"],
                    "qkv" => &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
                    "out" => &["self_attn.out_proj"],
                    "fc1" => &["fc1"],
                    _ => &["fc2"],
                };
                Origin::rows(modules.iter().map(|module| format!("{}{layer}.{module}.{end}", self.prefix)))
            }
        }
    }
}
