//! The text tower, JinaBERT: its configuration, the origin of its tensors.

use super::only;
use crate::families::hf::Keys;
use crate::families::origin::{Origin, Part};
use crate::source::Tensors;
use crate::{Error, Result};
use bytemuck::Zeroable;
use ocelli::format::*;
use serde_json::{Value, json};
use std::path::Path;

const TEXT: &str = "text_model.transformer.";
const TYPES: &str = "embeddings.token_type_embeddings.weight";
/// The repository of the text tower, without its owner.
const TEXT_MODEL: &str = "jina-bert-flash-implementation";
/// What `encode_text` cuts texts to, unless it is told otherwise.
const CONTEXT: u32 = 512;

/// Refuses a text tower of another name than v1's.
pub(in crate::families) fn check_text_model(json: &Value, path: &Path) -> Result<()> {
    let keys = Keys::new(json, Some("text_config"), json!({}), path)?;
    let name: String = keys.required("hf_model_name_or_path")?;
    if name.rsplit(['/', '\\']).find(|part| !part.is_empty()) == Some(TEXT_MODEL) {
        return Ok(());
    }
    let problem = format!(
        "is {name:?}; supported: \"jinaai/{TEXT_MODEL}\", the text tower of Jina-CLIP v1 (that of v2 is an XLM-RoBERTa \
         with rotary positions and LoRA)"
    );
    Err(keys.wrong("hf_model_name_or_path", problem))
}

/// The text tower's own configuration: what its repository says, changed by this checkpoint.
pub(super) fn keys<'p>(json: &Value, path: &'p Path) -> Result<Keys<'p>> {
    check_text_model(json, path)?;
    let prefix = "text_config.hf_model_config_kwargs.";
    let changes = &json["text_config"]["hf_model_config_kwargs"];
    let mut all = json!({
        "vocab_size": 30528, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
        "intermediate_size": 3072, "hidden_act": "gelu", "layer_norm_eps": 1e-12, "type_vocab_size": 2, "pad_token_id": 0,
        "mlp_type": "glu", "use_qk_norm": false, "window_size": [-1, -1], "pad_vocab_size_multiple": 1,
        "last_layer_subset": false,
    });
    // Of training, of classes around the tower, or of how it is computed.
    let idle = [
        "use_flash_attn",
        "attention_probs_dropout_prob",
        "hidden_dropout_prob",
        "classifier_dropout",
        "initializer_range",
        "dense_seq_output",
        "emb_pooler",
        "fused_bias_fc",
        "fused_dropout_add_ln",
        "mlp_checkpoint_lvl",
        "num_loras",
        "torch_dtype",
    ];
    for (key, value) in changes.as_object().into_iter().flatten() {
        if !idle.contains(&key.as_str()) {
            match all.get_mut(key) {
                Some(known) => *known = value.clone(),
                None => {
                    let problem = format!("is {value}: such a model is not supported");
                    return Err(Error::field(path, format!("{prefix}{key}"), problem));
                }
            }
        }
    }
    Ok(Keys::of(all, prefix, path))
}

/// The text tower, and whether it has token types.
pub(super) fn config(
    json: &Value,
    keys: &Keys<'_>,
    path: &Path,
    tensors: &Tensors,
) -> Result<(TextConfig, bool)> {
    let outer = Keys::new(json, Some("text_config"), json!({}), path)?;
    only(&outer, "pooler_type", json!("mean_pooler"))?;
    for key in ["proj_type", "default_instruction_task", "default_lora_task"] {
        only(&outer, key, Value::Null)?;
    }
    for (key, expected) in [
        ("hidden_act", json!("gelu")),
        ("mlp_type", json!("glu")),
        ("use_qk_norm", json!(false)),
        ("window_size", json!([-1, -1])),
        ("pad_vocab_size_multiple", json!(1)),
        ("last_layer_subset", json!(false)),
        // What is masked.
        ("pad_token_id", json!(0)),
    ] {
        only(keys, key, expected)?;
    }
    let features = feature::QKV_BIAS
        | feature::OUT_BIAS
        | feature::MLP_BIAS
        | feature::PRE_NORM
        | feature::POST_NORM
        | feature::GATED_MLP
        | feature::ALIBI;
    let tower = keys.tower(features, Pooling::MeanAll)?;
    let dim: u32 = outer.required("embed_dim")?;
    if dim != tower.width {
        let problem =
            format!("is {dim}, but the text tower has {} channels, which nothing projects", tower.width);
        return Err(outer.wrong("embed_dim", problem));
    }
    let types: u32 = keys.required("type_vocab_size")?;
    // Only one row is used; whether there are more or fewer is checked here.
    let (name, expected) = (format!("{TEXT}{TYPES}"), [types as usize, dim as usize]);
    if let Some(info) = tensors.get(&name).filter(|info| info.shape != expected) {
        let problem = format!(
            "has shape {:?}, but the configuration says {expected:?} (it becomes text.token_embed)",
            info.shape
        );
        return Err(Error::tensor(name, problem));
    }
    let config =
        TextConfig { tower, vocab: keys.required("vocab_size")?, context: CONTEXT, ..TextConfig::zeroed() };
    Ok((config, types > 0))
}

/// Where a tensor of the text tower comes from. All tokens are of type 0: that row of the types is added to every token's.
pub(super) fn origin(rest: &str, has_types: bool) -> Origin {
    let (module, end) = rest.rsplit_once('.').unwrap_or((rest, ""));
    let one = |name: &str| Origin::rows([format!("{TEXT}{name}.{end}")]);
    match module {
        "token_embed" => {
            let tokens = Origin::rows([format!("{TEXT}embeddings.word_embeddings.weight")]);
            if has_types { tokens.plus(format!("{TEXT}{TYPES}")) } else { tokens }
        }
        "pre_norm" => one("emb_ln"),
        _ => {
            let (block, part) = module.rsplit_once('.').expect("the rest are parts of blocks");
            let layer = block.replacen("block", "encoder.layers", 1);
            match part {
                // Only the second layer of the MLP has a bias.
                "fc1" if end == "bias" => Origin { parts: vec![Part::Zeros], ..Origin::rows([""; 0]) },
                "fc1" => one(&format!("{layer}.mlp.gated_layers")),
                "fc2" => one(&format!("{layer}.mlp.wo")),
                "qkv" => one(&format!("{layer}.mixer.Wqkv")),
                "out" => one(&format!("{layer}.mixer.out_proj")),
                _ => one(&format!("{layer}.{part}")),
            }
        }
    }
}

/// Why a tensor of the text tower may be left out.
pub(super) fn ignore(name: &str) -> Option<&'static str> {
    let pooler = name.strip_prefix(TEXT)?.starts_with("pooler.dense.");
    pooler.then_some("a pooler that this kind of model does not use")
}
