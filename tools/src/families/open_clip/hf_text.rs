//! A text tower of transformers in a checkpoint of open_clip (`HFTextEncoder`): XLM-RoBERTa, RoBERTa, BERT or NLLB's
//! encoder, pooled and projected as `text_cfg` says.

use super::section::Section;
use super::tower::Tower;
use crate::Result;
use crate::families::hf::Keys;
use crate::families::hf_base::configuration;
use crate::families::hf_bert::{self, Bert};
use crate::families::hf_nllb::{self, Nllb};
use crate::families::origin::Origin;
use crate::families::tokenizer::{self, Loaded};
use crate::source::Tensors;
use ocelli::format::{Canonical, Pooling, TextConfig, feature};
use serde_json::{Value, json};
use std::path::Path;

/// Keys that this text tower reads, and those of open_clip's own one, which it does not.
const KEYS: [&str; 14] = [
    "hf_model_name",
    "hf_tokenizer_name",
    "hf_pooler_type",
    "hf_proj_type",
    "hf_model_pretrained",
    "context_length",
    "vocab_size",
    "width",
    "heads",
    "layers",
    "mlp_ratio",
    "pad_id",
    "eos_id",
    "tokenizer_kwargs",
];
const PREFIX: &str = "text.transformer.";

/// How the pooled vector is projected.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Projection {
    None,
    Linear,
    Mlp,
}

/// Whether the text tower is transformers'.
pub(super) fn is_one(section: &Section<'_>) -> bool {
    section.has("hf_model_name")
}

/// The tower of `section`, projected to `embed_dim` values, and its tokenizer, which is in the folder `directory`.
pub(super) fn recognise(
    section: &Section<'_>,
    embed_dim: u32,
    tensors: &Tensors,
    checkpoint: &Path,
    directory: &Path,
) -> Result<(Tower<TextConfig>, Loaded)> {
    section.check_keys(&KEYS)?;
    let name: String = section.get("hf_model_name", Value::Null)?;
    let at = (name.as_str(), "model_cfg.text_cfg.hf_model_name", section.path);
    let kinds = [&hf_bert::KINDS[..3], &[hf_nllb::KIND]].concat();
    let (json, path) = configuration(at, checkpoint, directory, &kinds)?;
    let (pooling, pooled) = match section.get::<String>("hf_pooler_type", json!("mean_pooler"))?.as_str() {
        "mean_pooler" => (Pooling::MeanAll, false),
        "cls_pooler" => (Pooling::Class, true),
        "cls_last_hidden_state_pooler" => (Pooling::Class, false),
        other => {
            let problem =
                format!("is {other:?}; supported: mean_pooler, cls_pooler, cls_last_hidden_state_pooler");
            return Err(section.wrong("hf_pooler_type", problem));
        }
    };
    let (mut config, mut loaded, names) = match json["model_type"].as_str().unwrap_or_default() {
        hf_nllb::KIND => {
            let keys = Keys::new(&json, None, hf_nllb::defaults(), &path)?;
            let (nllb, config) = Nllb::new(&keys, PREFIX, pooling)?;
            (config, tokenizer::load_nllb(directory, config.vocab)?, Names::Nllb(nllb))
        }
        kind => {
            let keys = Keys::new(&json, None, hf_bert::defaults(kind), &path)?;
            let (bert, config) = Bert::new(&keys, tensors, PREFIX, pooling, pooled)?;
            (config, tokenizer::load_bert(directory, config.vocab)?, Names::Bert(bert))
        }
    };
    let width = config.tower.width;
    let projection = projection(section, width == embed_dim)?;
    if projection != Projection::None {
        config.tower.features |= feature::PROJECT;
    }
    if projection == Projection::Mlp {
        config.tower.project_hidden = (width + embed_dim) / 2;
    }
    loaded.canonical = Some(cleaning(section)?);
    // Whatever the tokenizer's own files say, open_clip cuts here.
    loaded.longest = Some(section.get("context_length", json!(77))?);
    if path != section.path {
        loaded.files.push(path);
    }
    let ignored = names.clone();
    let origin = move |rest: &str| match (rest, projection) {
        ("project_fc1.weight", _) => Origin::rows(["text.proj.0.weight"]),
        ("project.weight", Projection::Mlp) => Origin::rows(["text.proj.2.weight"]),
        ("project.weight", _) => Origin::rows(["text.proj.weight"]),
        _ => names.origin(rest),
    };
    let tower = Tower {
        config: loaded.complete(config),
        origin: Box::new(origin),
        ignore: Box::new(move |name| ignored.ignore(name)),
    };
    Ok((tower, loaded))
}

/// The names of a kind of text tower.
#[derive(Clone)]
enum Names {
    Bert(Bert),
    Nllb(Nllb),
}

impl Names {
    fn origin(&self, rest: &str) -> Origin {
        match self {
            Names::Bert(bert) => bert.origin(rest),
            Names::Nllb(nllb) => nllb.origin(rest),
        }
    }

    fn ignore(&self, name: &str) -> Option<&'static str> {
        match self {
            Names::Bert(bert) => bert.ignore(name),
            Names::Nllb(_) => None,
        }
    }
}

/// `fits`: the pooled vector is as long as an embedding.
fn projection(section: &Section<'_>, fits: bool) -> Result<Projection> {
    // `null` is a choice of its own here: no projection.
    let found = section.json.get("hf_proj_type").cloned().unwrap_or(json!("mlp"));
    match found.as_str() {
        Some("linear") => Ok(Projection::Linear),
        Some("mlp") => Ok(Projection::Mlp),
        None if found.is_null() && fits => Ok(Projection::None),
        _ => Err(section.wrong("hf_proj_type", format!("is {found}; supported: linear, mlp"))),
    }
}

/// What happens to a text before the tokenizer: `clean` of `HFTokenizer`.
fn cleaning(section: &Section<'_>) -> Result<Canonical> {
    let arguments: Value = section.get("tokenizer_kwargs", json!({}))?;
    let mut cleaning = Canonical::OpenClipCase;
    for (key, value) in arguments.as_object().into_iter().flatten() {
        match (key.as_str(), value.as_str()) {
            ("clean", Some("whitespace")) => {}
            ("clean", Some("lower")) => cleaning = Canonical::OpenClip,
            (_, None) if value.is_null() || value == false => {}
            _ => {
                let problem = format!("is {value}, which is not supported");
                return Err(section.wrong(&format!("tokenizer_kwargs.{key}"), problem));
            }
        }
    }
    Ok(cleaning)
}
