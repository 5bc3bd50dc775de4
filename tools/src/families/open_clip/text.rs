//! The text tower of open_clip's own class, `TextTransformer`.

use super::section::Section;
use super::tower::{self, Tower};
use crate::Result;
use crate::families::origin::{Origin, Transform};
use crate::families::tokenizer;
use crate::source::Tensors;
use bytemuck::Zeroable;
use ocelli::format::*;
use serde_json::json;
use std::path::Path;

const KEYS: [&str; 8] =
    ["context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio", "pad_id", "eos_id"];

/// The tower and its tokenizer, which is in the folder `directory`.
pub(super) fn recognise(
    section: &Section<'_>,
    act: Act,
    tensors: &Tensors,
    directory: &Path,
) -> Result<(Tower<TextConfig>, tokenizer::Loaded)> {
    section.check_keys(&KEYS)?;
    let loaded = tokenizer::load_open_clip(directory, section.get("vocab_size", json!(49408))?)?;
    let (width, heads): (u32, u32) = (section.get("width", json!(512))?, section.get("heads", json!(8))?);
    if heads == 0 || !width.is_multiple_of(heads) {
        return Err(section.wrong("heads", format!("is {heads}, no divisor of {width}")));
    }
    let config = TextConfig {
        tower: section.tower(width, heads, act, 0, Pooling::ArgMax)?,
        vocab: section.get("vocab_size", json!(49408))?,
        context: section.get("context_length", json!(77))?,
        causal: 1,
        eos: loaded.end,
        pad: loaded.pad,
        canonical: loaded.canonical.map_or(0, |canonical| canonical as u32),
        ..TextConfig::zeroed()
    };
    // A tower that is a module of its own (`custom_text`) has its tensors under `text.`.
    let custom = tensors.names().any(|name| name.starts_with("text."));
    let (prefix, scaled) = (if custom { "text." } else { "" }, section.has_layer_scale());
    let tower = Tower {
        config,
        origin: Box::new(move |rest| origin(rest, prefix, scaled)),
        ignore: Box::new(|_| None),
    };
    Ok((tower, loaded))
}

fn origin(rest: &str, prefix: &str, scaled: bool) -> Origin {
    let whole = |name: &str| Origin::rows([format!("{prefix}{name}")]);
    tower::origin(rest, prefix, scaled, |module, end| match module {
        "token_embed" => whole("token_embedding.weight"),
        "position" => whole("positional_embedding"),
        "final_norm" => whole(&format!("ln_final.{end}")),
        // The projection; there is no other part.
        _ => whole("text_projection").with(Transform::Transposed),
    })
}
