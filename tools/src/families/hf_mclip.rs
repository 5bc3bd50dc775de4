//! M-CLIP (Multilingual-CLIP): a text tower alone, XLM-RoBERTa or BERT, whose embeddings meet those of the image tower of
//! another checkpoint. The mean of all tokens goes through one linear layer.

use super::hf::Keys;
use super::hf_base::configuration;
use super::hf_bert::{self, Bert};
use super::origin::Origin;
use super::recognised::{ModelOptions, Recognised};
use super::towers::TextTower;
use super::{classes, key_names, tokenizer};
use crate::source::{Checkpoint, Tensors};
use crate::{Error, Result};
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
    if model_options.vision_only {
        let problem = "is that of a text tower, which --vision-only leaves out";
        return Err(Error::field(path, "model_type", problem));
    }
    let own = Keys::new(json, None, json!({}), path)?;
    let directory = model_options.tokenizer.as_deref().unwrap_or(&checkpoint.directory);
    let base: String = own.required("modelBase")?;
    let (base, base_path) =
        configuration((&base, "modelBase", path), &checkpoint.directory, directory, &hf_bert::KINDS[..3])?;
    let kind = base["model_type"].as_str().unwrap_or_default();
    let keys = Keys::new(&base, None, hf_bert::defaults(kind), &base_path)?;
    let (bert, mut text) = Bert::new(&keys, tensors, "transformer.", Pooling::MeanAll, false)?;
    text.tower.features |= feature::PROJECT | feature::PROJECT_BIAS;
    let width: u32 = own.required("transformerDimensions")?;
    if width != text.tower.width {
        let problem = format!("is {width}, but the text tower has {} channels", text.tower.width);
        return Err(own.wrong("transformerDimensions", problem));
    }
    let tokenizer = tokenizer::load_bert(directory, text.vocab)?;
    let tower = TextTower::of_bert(bert, text, tokenizer);
    let mut config = Config::zeroed();
    config.score = classes::embedding_only(own.required("numDims")?);
    config.text = tower.config;
    let mut files = tower.tokenizer.files;
    files.extend((base_path != path).then_some(base_path));
    Ok(Recognised {
        config,
        tokenizer: Some(tower.tokenizer.text),
        labels: Vec::new(),
        scalars: Vec::new(),
        path: path.to_path_buf(),
        files,
        origin: Box::new(move |demand| match demand.name.as_str() {
            "text.project.weight" => Origin::rows(["LinearTransformation.weight"]),
            "text.project.bias" => Origin::rows(["LinearTransformation.bias"]),
            name => (tower.origin)(name),
        }),
        key_of: key_names::transformers("", ""),
        ignore: tower.ignore,
    })
}
