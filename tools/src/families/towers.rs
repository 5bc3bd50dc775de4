//! Towers of transformers as parts of a larger model: any of these image towers beside any of these text towers.

use super::hf::{Keys, prefix_of};
use super::hf_bert::{self, Bert};
use super::origin::Origin;
use super::recognised::{IgnoreReason, ModelOptions};
use super::tokenizer::{self, Loaded};
use super::{hf_clip, hf_dino, hf_siglip, hf_vit};
use crate::source::{Checkpoint, Tensors};
use crate::{Error, Result};
use ocelli::format::{Pooling, TextConfig, VisionConfig};
use serde_json::Value;
use std::path::Path;

/// Where a tower's canonical tensor comes from, by its whole name.
pub(super) type OriginOf = dyn Fn(&str) -> Origin;

/// An image tower without a projection.
pub(super) struct ImageTower {
    pub(super) config: VisionConfig,
    pub(super) origin: Box<OriginOf>,
    /// Why a tensor of the tower may be left out.
    pub(super) ignore: Box<IgnoreReason>,
}

/// A text tower without a projection.
pub(super) struct TextTower {
    pub(super) config: TextConfig,
    pub(super) tokenizer: Loaded,
    pub(super) origin: Box<OriginOf>,
    /// Why a tensor of the tower may be left out.
    pub(super) ignore: Box<IgnoreReason>,
}

const IMAGE_KINDS: [&str; 6] =
    ["vit", "clip_vision_model", "siglip_vision_model", "dinov2", "dinov2_with_registers", "dinov3_vit"];

/// The `model_type` in the section `name` of a configuration.
pub(super) fn kind_of<'j>(json: &'j Value, name: &str, path: &Path) -> Result<&'j str> {
    let kind = json[name]["model_type"].as_str();
    kind.ok_or_else(|| Error::field(path, format!("{name}.model_type"), "is missing"))
}

fn unknown(path: &Path, name: &str, kind: &str, known: &[&str]) -> Error {
    let problem = format!("is {kind:?}; supported: {}", known.join(", "));
    Error::field(path, format!("{name}.model_type"), problem)
}

/// The image tower in the section `vision_config`, whose tensors' names start with `vision_model.`, for images of `size`,
/// (height, width). What it gives is its class's `pooler_output`.
pub(super) fn image(
    json: &Value,
    path: &Path,
    kind: &str,
    tensors: &Tensors,
    size: (u32, u32),
) -> Result<ImageTower> {
    const SECTION: &str = "vision_config";
    let keys = |defaults| Keys::new(json, Some(SECTION), defaults, path);
    let prefix = "vision_model.";
    // Older releases save a tower inside the class that wraps it.
    let wrapped = |name| prefix_of(tensors, &["vision_model.vision_model.", prefix], name);
    match kind {
        "vit" => hf_vit::tower(&keys(hf_vit::defaults())?, prefix, size),
        "dinov2" | "dinov2_with_registers" | "dinov3_vit" => {
            hf_dino::tower(&keys(hf_dino::defaults(&json[SECTION]))?, kind, tensors, prefix, size)
        }
        "clip_vision_model" | "chinese_clip_vision_model" => {
            let config = hf_clip::vision(&keys(hf_clip::vision_defaults())?, false, size)?;
            let (prefix, patch) = (wrapped("embeddings.class_embedding"), config.patch as usize);
            let origin = move |name: &str| hf_clip::origin(name, (prefix, ""), patch);
            Ok(ImageTower { config, origin: Box::new(origin), ignore: Box::new(position_ids) })
        }
        "siglip_vision_model" => {
            let config = hf_siglip::vision(&keys(hf_siglip::vision_defaults())?, size)?;
            let prefix = wrapped("embeddings.patch_embedding.weight");
            let (patch, width) = (config.patch as usize, config.tower.width as usize);
            let origin = move |name: &str| hf_siglip::origin(name, (prefix, ""), patch, width);
            Ok(ImageTower { config, origin: Box::new(origin), ignore: Box::new(position_ids) })
        }
        _ => Err(unknown(path, SECTION, kind, &IMAGE_KINDS)),
    }
}

/// The text tower in the section `text_config`, whose tensors' names start with `text_model.`, and its tokenizer. What it
/// gives is its class's `pooler_output`; of BERT's classes, without `pooled`, the first token.
pub(super) fn text(
    json: &Value,
    path: &Path,
    kind: &str,
    (checkpoint, tensors): (&Checkpoint, &Tensors),
    model_options: &ModelOptions,
    pooled: bool,
) -> Result<TextTower> {
    const SECTION: &str = "text_config";
    let keys = |defaults| Keys::new(json, Some(SECTION), defaults, path);
    let prefix = "text_model.";
    let directory = model_options.tokenizer.as_deref().unwrap_or(&checkpoint.directory);
    match kind {
        _ if hf_bert::KINDS.contains(&kind) => {
            let keys = keys(hf_bert::defaults(kind))?;
            let (bert, config) = Bert::new(&keys, tensors, prefix, Pooling::Class, pooled)?;
            let tokenizer = tokenizer::load_bert(directory, config.vocab)?;
            Ok(TextTower::of_bert(bert, config, tokenizer))
        }
        "clip_text_model" => {
            let keys = keys(hf_clip::text_defaults())?;
            let tokenizer = tokenizer::load_clip(directory, keys.required("vocab_size")?)?;
            let config = hf_clip::text(&keys, false, &tokenizer)?;
            let wrapped = ["text_model.text_model.", prefix];
            let prefix = prefix_of(tensors, &wrapped, "embeddings.token_embedding.weight");
            let origin = move |name: &str| hf_clip::origin(name, ("", prefix), 0);
            let ignore = Box::new(position_ids);
            Ok(TextTower { config, tokenizer, origin: Box::new(origin), ignore })
        }
        "distilbert" => {
            let problem = "is \"distilbert\", whose class gives no pooled vector: the library cannot run such a model either";
            Err(Error::field(path, "text_config.model_type", problem))
        }
        _ => Err(unknown(path, SECTION, kind, &[&hf_bert::KINDS[..3], &["clip_text_model"]].concat())),
    }
}

impl TextTower {
    /// A tower like BERT's with the tokenizer that was found for it.
    pub(super) fn of_bert(bert: Bert, config: TextConfig, tokenizer: Loaded) -> TextTower {
        let names = bert.clone();
        TextTower::new(config, tokenizer, move |rest| names.origin(rest), move |name| bert.ignore(name))
    }

    /// A tower whose texts run at their own length. `origin` gets names without the tower's. The tokenizer says how texts
    /// begin and end, and how long they are at most.
    pub(super) fn new(
        config: TextConfig,
        tokenizer: Loaded,
        origin: impl Fn(&str) -> Origin + 'static,
        ignore: impl Fn(&str) -> Option<&'static str> + 'static,
    ) -> TextTower {
        let config = tokenizer.complete(config);
        let origin = move |name: &str| origin(name.strip_prefix("text.").unwrap_or(name));
        TextTower { config, tokenizer, origin: Box::new(origin), ignore: Box::new(ignore) }
    }
}

fn position_ids(name: &str) -> Option<&'static str> {
    name.ends_with("position_ids").then_some("a buffer of token numbers, not a weight")
}
