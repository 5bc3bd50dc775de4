//! Text towers like BERT's (arXiv 1810.04805) under the names of transformers: `BertModel`, `RobertaModel`,
//! `XLMRobertaModel`, `ChineseCLIPTextModel`. They are the text half of other families' checkpoints.
//!
//! Two facts are folded into the table of positions. Every token of a text alone is of type 0, so that row of the token
//! types is added to every position. RoBERTa's positions start behind the padding token's id: the rows before are left out.

use super::hf::{FEATURES, Keys};
use super::origin::{Origin, Part};
use crate::source::Tensors;
use crate::{Error, Result};
use bytemuck::Zeroable;
use ocelli::format::*;
use serde_json::{Value, json};

/// Every `model_type` of such a text tower.
pub(super) const KINDS: [&str; 4] = ["bert", "roberta", "xlm-roberta", "chinese_clip_text_model"];

/// The defaults of the configuration's class, `BertConfig`, `RobertaConfig` and so on.
pub(super) fn defaults(kind: &str) -> Value {
    let vocab = if kind == "roberta" { 50265 } else { 30522 };
    let pad = u32::from(is_roberta(kind));
    json!({
        "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
        "hidden_act": "gelu", "layer_norm_eps": 1e-12, "vocab_size": vocab, "max_position_embeddings": 512,
        "type_vocab_size": 2, "pad_token_id": pad,
    })
}

/// Whether positions start behind the padding token.
fn is_roberta(kind: &str) -> bool {
    matches!(kind, "roberta" | "xlm-roberta")
}

/// A tower of this kind in a checkpoint.
#[derive(Clone)]
pub(super) struct Bert {
    /// What its tensors' names start with.
    prefix: String,
    /// Rows of the position table before the first token's.
    skipped: usize,
}

impl Bert {
    /// The tower that `keys` describe, whose tensors' names start with `prefix`; its configuration has neither tokenizer
    /// nor projection yet. `pooling` says what becomes of the last block's tokens, `pooled` whether BERT's own pooler
    /// follows.
    pub(super) fn new(
        keys: &Keys<'_>,
        tensors: &Tensors,
        prefix: &str,
        pooling: Pooling,
        pooled: bool,
    ) -> Result<(Bert, TextConfig)> {
        for (key, expected) in [
            ("position_embedding_type", json!("absolute")),
            ("is_decoder", json!(false)),
            ("add_cross_attention", json!(false)),
        ] {
            let found = keys.get(key)?.unwrap_or_else(|| expected.clone());
            if found != expected {
                return Err(keys.wrong(key, format!("is {found}; only {expected} is supported")));
            }
        }
        let kind: Option<String> = keys.get("model_type")?;
        let skipped = if kind.is_some_and(|kind| is_roberta(&kind)) {
            keys.required::<u32>("pad_token_id")?.saturating_add(1)
        } else {
            0
        };
        let (positions, types): (u32, u32) =
            (keys.required("max_position_embeddings")?, keys.required("type_vocab_size")?);
        if positions <= skipped {
            let problem = format!("is {positions}, but positions start at {skipped}");
            return Err(keys.wrong("max_position_embeddings", problem));
        }
        let mut features = FEATURES & !feature::FINAL_NORM | feature::POST_NORM | feature::PRE_NORM;
        if pooled {
            features |= feature::POOLER;
        }
        let config = TextConfig {
            tower: keys.tower(features, pooling)?,
            vocab: keys.required("vocab_size")?,
            context: positions - skipped,
            ..TextConfig::zeroed()
        };
        let bert = Bert { prefix: prefix.into(), skipped: skipped as usize };
        // Only some rows of these are used; whether there are more or fewer is checked here.
        for (name, rows) in [(POSITIONS, positions), (TYPES, types)] {
            let name = bert.name(name);
            let expected = [rows as usize, config.tower.width as usize];
            if let Some(info) = tensors.get(&name).filter(|info| info.shape != expected) {
                let problem = format!(
                    "has shape {:?}, but the configuration says {expected:?} (it becomes text.position)",
                    info.shape
                );
                return Err(Error::tensor(name, problem));
            }
        }
        Ok((bert, config))
    }

    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Where a canonical tensor comes from; `rest` is its name without the tower's.
    pub(super) fn origin(&self, rest: &str) -> Origin {
        let (module, end) = rest.rsplit_once('.').unwrap_or((rest, ""));
        let one = |name: &str| Origin::rows([format!("{}.{end}", self.name(name))]);
        match module {
            "token_embed" => Origin::rows([self.name("embeddings.word_embeddings.weight")]),
            "position" => Origin {
                parts: vec![Part::Slice(self.name(POSITIONS), self.skipped)],
                ..Origin::rows([""; 0]).plus(self.name(TYPES))
            },
            "pre_norm" => one("embeddings.LayerNorm"),
            "pooler" => one("pooler.dense"),
            _ => {
                let (block, part) = module.rsplit_once('.').expect("the rest are parts of blocks");
                let layer = block.replacen("block", "encoder.layer", 1);
                let modules: &[&str] = match part {
                    "norm1" => &["attention.output.LayerNorm"],
                    "norm2" => &["output.LayerNorm"],
                    "qkv" => &["attention.self.query", "attention.self.key", "attention.self.value"],
                    "out" => &["attention.output.dense"],
                    "fc1" => &["intermediate.dense"],
                    _ => &["output.dense"],
                };
                Origin::rows(modules.iter().map(|module| self.name(&format!("{layer}.{module}.{end}"))))
            }
        }
    }

    /// Why a tensor of this tower may be left out.
    pub(super) fn ignore(&self, name: &str) -> Option<&'static str> {
        match name.strip_prefix(self.prefix.as_str())? {
            "embeddings.position_ids" | "embeddings.token_type_ids" => {
                Some("a buffer of token numbers, not a weight")
            }
            name if name.starts_with("pooler.") => Some("a pooler that this kind of model does not use"),
            _ => None,
        }
    }
}

const POSITIONS: &str = "embeddings.position_embeddings.weight";
const TYPES: &str = "embeddings.token_type_embeddings.weight";
