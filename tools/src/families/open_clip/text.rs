//! The text tower of open_clip's own class, `TextTransformer`.

use super::section::Section;
use super::tower::{self, Tower};
use crate::Result;
use crate::families::origin::{Origin, Transform};
use crate::families::tokenizer::{self, Loaded};
use crate::source::Tensors;
use bytemuck::Zeroable;
use ocelli::format::*;
use serde_json::{Value, json};
use std::path::Path;

const KEYS: [&str; 14] = [
    "context_length",
    "vocab_size",
    "width",
    "heads",
    "layers",
    "mlp_ratio",
    "pad_id",
    "eos_id",
    "pool_type",
    "no_causal_mask",
    "proj_type",
    "proj_bias",
    "hf_tokenizer_name",
    "tokenizer_kwargs",
];

/// The tower and its tokenizer, which is in the folder `directory`.
pub(super) fn recognise(
    section: &Section<'_>,
    act: Act,
    tensors: &Tensors,
    directory: &Path,
) -> Result<(Tower<TextConfig>, Loaded)> {
    section.check_keys(&KEYS)?;
    let vocab = section.get("vocab_size", json!(49408))?;
    let loaded = tokenizer(section, directory, vocab)?;
    let (width, heads): (u32, u32) = (section.get("width", json!(512))?, section.get("heads", json!(8))?);
    if heads == 0 || !width.is_multiple_of(heads) {
        return Err(section.wrong("heads", format!("is {heads}, no divisor of {width}")));
    }
    let causal = !section.get::<bool>("no_causal_mask", json!(false))?;
    let pooling = match section.get::<String>("pool_type", json!("argmax"))?.as_str() {
        "argmax" => Pooling::ArgMax,
        "last" => Pooling::Last,
        "eos" => Pooling::FirstEos,
        other => {
            let problem = format!("is {other:?}; supported: \"argmax\", \"last\", \"eos\"");
            return Err(section.wrong("pool_type", problem));
        }
    };
    let bias: bool = section.get("proj_bias", json!(false))?;
    let features = match section.get::<String>("proj_type", json!("linear"))?.as_str() {
        "none" => 0,
        "linear" if bias => feature::PROJECT | feature::PROJECT_BIAS,
        "linear" => feature::PROJECT,
        other => {
            return Err(section.wrong("proj_type", format!("is {other:?}; supported: \"linear\", \"none\"")));
        }
    };
    let config = TextConfig {
        tower: section.tower(width, heads, act, features | feature::FINAL_NORM, pooling)?,
        vocab,
        context: section.get("context_length", json!(77))?,
        causal: causal.into(),
        // The class's own default, which CLIP's tokenizer does not share.
        eos: if pooling == Pooling::FirstEos { section.get("eos_id", json!(2))? } else { loaded.end },
        pad: loaded.pad,
        // Tokens that see what follows them see the padding too, and the last position is its end.
        padded: (!causal || pooling == Pooling::Last).into(),
        canonical: loaded.canonical.map_or(0, |canonical| canonical as u32),
        ..TextConfig::zeroed()
    };
    // A tower that is a module of its own (`custom_text`) has its tensors under `text.`.
    let custom = tensors.names().any(|name| name.starts_with("text."));
    let (prefix, scaled) = (if custom { "text." } else { "" }, section.has_layer_scale());
    let tower = Tower {
        config,
        origin: Box::new(move |rest| origin(rest, prefix, scaled, bias)),
        ignore: Box::new(|_| None),
    };
    Ok((tower, loaded))
}

/// CLIP's tokenizer, which open_clip has built in, or one of transformers (`hf_tokenizer_name`).
fn tokenizer(section: &Section<'_>, directory: &Path, vocab: u32) -> Result<Loaded> {
    let settings = &section.json["tokenizer_kwargs"];
    let clean = settings.get("clean").and_then(Value::as_str);
    let strip_end = settings["strip_sep_token"] == true;
    for (key, value) in settings.as_object().into_iter().flatten() {
        if key != "clean"
            && (key != "strip_sep_token" || !section.has("hf_tokenizer_name"))
            && value != &Value::Bool(false)
            && !value.is_null()
        {
            let problem = format!("is {value}: such a tokenizer is not supported");
            return Err(section.wrong(&format!("tokenizer_kwargs.{key}"), problem));
        }
    }
    match (section.has("hf_tokenizer_name"), clean) {
        (false, None | Some("lower")) => tokenizer::load_open_clip(directory, vocab),
        (true, Some("canonicalize")) if !strip_end => tokenizer::load_open_clip_siglip(directory, vocab),
        (false, Some(other)) => {
            Err(section
                .wrong("tokenizer_kwargs.clean", format!("is {other:?}; CLIP's tokenizer has \"lower\"")))
        }
        (true, None | Some("whitespace" | "lower")) => {
            let load = if strip_end { tokenizer::load_bert_without_end } else { tokenizer::load_bert };
            let lower = clean == Some("lower");
            let canonical = Some(if lower { Canonical::OpenClip } else { Canonical::OpenClipCase });
            Ok(Loaded { canonical, ..load(directory, vocab)? })
        }
        (true, Some(other)) => {
            let problem = format!("is {other:?} with strip_sep_token {strip_end}, which is not supported");
            Err(section.wrong("tokenizer_kwargs.clean", problem))
        }
    }
}

/// `bias`: the projection is a linear layer, and not a bare matrix.
fn origin(rest: &str, prefix: &str, scaled: bool, bias: bool) -> Origin {
    let whole = |name: &str| Origin::rows([format!("{prefix}{name}")]);
    tower::origin(rest, prefix, scaled, |module, end| match module {
        "token_embed" => whole("token_embedding.weight"),
        "position" => whole("positional_embedding"),
        "final_norm" => whole(&format!("ln_final.{end}")),
        // The projection; there is no other part.
        _ if bias => whole(&format!("text_projection.{end}")),
        _ => whole("text_projection").with(Transform::Transposed),
    })
}
