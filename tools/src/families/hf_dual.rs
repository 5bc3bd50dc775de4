//! An image and a text tower of transformers that were trained to meet: `VisionTextDualEncoderModel`, which takes any two
//! of them (what locked-image tuning gives, arXiv 2111.07991), and `ChineseCLIPModel` (arXiv 2211.01335), CLIP's image
//! tower beside BERT.

use super::hf::{self, Keys};
use super::origin::Origin;
use super::recognised::{ModelOptions, Recognised};
use super::{hf_preprocess, key_names, towers};
use crate::Result;
use crate::source::{Checkpoint, Tensors};
use bytemuck::Zeroable;
use ocelli::format::*;
use serde_json::{Value, json};
use std::path::Path;

pub(super) fn recognise(
    checkpoint: &Checkpoint,
    path: &Path,
    json: &Value,
    tensors: &Tensors,
    model_options: &ModelOptions,
) -> Result<Recognised> {
    // Chinese-CLIP projects the first token itself; the other class what BERT's pooler makes of it.
    let chinese = json["model_type"] == "chinese_clip";
    let kind = |section, of_chinese| {
        if chinese { Ok(of_chinese) } else { towers::kind_of(json, section, path) }
    };
    let image_kind = kind("vision_config", "chinese_clip_vision_model")?;
    let preprocess = hf_preprocess::load(&checkpoint.directory, image_kind)?;
    let image = towers::image(json, path, image_kind, tensors, preprocess.size)?;
    let mut config = Config::zeroed();
    config.preprocess = preprocess.config;
    config.vision = image.config;
    config.vision.tower.features |= feature::PROJECT;
    config.score = ScoreConfig {
        kind: Scoring::Softmax as u32,
        embed_dim: Keys::new(json, None, json!({"projection_dim": 512}), path)?.required("projection_dim")?,
        logit_scale: hf::logit_scale(tensors)?,
        ..ScoreConfig::zeroed()
    };
    let (mut files, mut tokenizer, mut text) = (vec![preprocess.path], None, None);
    if !model_options.vision_only {
        let kind = kind("text_config", "chinese_clip_text_model")?;
        let tower = towers::text(json, path, kind, (checkpoint, tensors), model_options, !chinese)?;
        config.text = tower.config;
        config.text.tower.features |= feature::PROJECT;
        files.extend(tower.tokenizer.files);
        tokenizer = Some(tower.tokenizer.text);
        text = Some((tower.origin, tower.ignore));
    }
    let (text_origin, text_ignore) = text.unzip();
    Ok(Recognised {
        config,
        tokenizer,
        labels: Vec::new(),
        scalars: vec!["logit_scale".into()],
        path: path.to_path_buf(),
        files,
        origin: Box::new(move |demand| match (demand.name.as_str(), &text_origin) {
            ("vision.project.weight", _) => Origin::rows(["visual_projection.weight"]),
            ("text.project.weight", _) => Origin::rows(["text_projection.weight"]),
            (name, Some(text)) if name.starts_with("text.") => text(name),
            (name, _) => (image.origin)(name),
        }),
        key_of: key_names::transformers("vision_config.", "text_config."),
        ignore: Box::new(move |name| {
            let of_text = name.starts_with("text_model.") || name == "text_projection.weight";
            match &text_ignore {
                None if of_text => Some("text tower (--vision-only)"),
                Some(ignore) if of_text => ignore(name),
                _ => (image.ignore)(name),
            }
        }),
    })
}
