//! Checkpoint families: from a library's configuration and tensor names to ocelli's.

mod classes;
mod hf;
mod hf_clip;
mod hf_dino;
mod hf_preprocess;
mod hf_processor;
mod hf_siglip;
mod hf_vit;
pub(crate) mod key_names;
mod open_clip;
mod simple_vit;
mod timm;
mod timm_vit;
pub mod tokenizer;

use crate::source::{Checkpoint, SourceFile, Tensors, hash, read_json};
use crate::{Error, Result};
use ocelli::format::{Config, Demand};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// How rows of a source tensor become rows of a packed one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transform {
    /// As they are. Leading dimensions of 1 in the checkpoint (`[1, 1, 768]`) do not count.
    Rows,
    /// A convolution kernel [n, 3, side, side]: each row from (channel, row, column) to (row, column, channel).
    Convolution {
        /// Side of the kernel.
        side: usize,
    },
    /// A matrix stored as inputs × outputs: its columns become rows.
    Transposed,
    /// The vector `rows · input + bias`: a linear layer whose input never changes is computed once, here.
    Applied {
        /// The vector that it is applied to.
        input: String,
        /// Its bias, if it has one: elements from `bias_row` on.
        bias: Option<(String, usize)>,
    },
}

/// Rows of a checkpoint's tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All rows of this tensor.
    Tensor(String),
    /// As many rows as the other parts have, from this one on, of a tensor that has more (a packed `in_proj`).
    Slice(String, usize),
    /// Zeros: a bias that the checkpoint leaves out.
    Zeros,
}

impl Part {
    /// The tensor's name, if there is one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Part::Tensor(name) | Part::Slice(name, _) => Some(name),
            Part::Zeros => None,
        }
    }
}

/// Where a demanded tensor comes from: the rows of these parts, one after the other.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The parts; all have the same number of rows.
    pub parts: Vec<Part>,
    /// What happens to each row.
    pub transform: Transform,
    /// A vector with a factor for every row: layer scale.
    pub scale: Option<String>,
}

impl Origin {
    /// The rows of these tensors as they are.
    pub fn rows(names: impl IntoIterator<Item = impl Into<String>>) -> Origin {
        let parts = names.into_iter().map(|name| Part::Tensor(name.into())).collect();
        Origin { parts, transform: Transform::Rows, scale: None }
    }

    /// The same with another transform.
    pub fn with(self, transform: Transform) -> Origin {
        Origin { transform, ..self }
    }

    /// The same with every row multiplied by its element of the tensor `name`.
    pub fn scaled(self, name: impl Into<String>) -> Origin {
        Origin { scale: Some(name.into()), ..self }
    }

    /// Every tensor of the checkpoint that goes into it.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let (input, bias) = match &self.transform {
            Transform::Applied { input, bias } => (Some(input), bias.as_ref().map(|(name, _)| name)),
            _ => (None, None),
        };
        let others = [input, bias, self.scale.as_ref()].into_iter().flatten().map(String::as_str);
        self.parts.iter().filter_map(Part::name).chain(others)
    }
}

/// Why a tensor of this name may be ignored.
pub type IgnoreReason = dyn Fn(&str) -> Option<&'static str>;

/// The reason for what belongs to a tower that the configuration leaves out: one tower's configuration beside the weights
/// of the whole model.
pub const OTHER_TOWER: &str = "of a tower that the configuration does not have";

/// A checkpoint that was understood.
pub struct Recognised {
    /// Everything but the checkpoint id.
    pub config: Config,
    /// The tokenizer, if there is a text tower.
    pub tokenizer: Option<String>,
    /// Names of the classes, if there is a classifier.
    pub labels: Vec<String>,
    /// Tensors that were used to make the configuration.
    pub scalars: Vec<String>,
    /// The file with the architecture.
    pub path: PathBuf,
    /// Other configuration files that were read.
    pub files: Vec<PathBuf>,
    /// Where a demanded tensor comes from.
    pub origin: Box<dyn Fn(&Demand) -> Origin>,
    /// Why a tensor that nothing demands may be ignored; `None` if it must not be there.
    pub ignore: Box<IgnoreReason>,
    /// The key that a field of `config` comes from.
    pub key_of: Box<key_names::KeyOf>,
}

/// What the user wants of a checkpoint.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// Leave the text tower out.
    pub vision_only: bool,
    /// Where to look for the tokenizer instead of the checkpoint's folder.
    pub tokenizer: Option<PathBuf>,
    /// Height and width of the image that the model is to see, instead of the checkpoint's own.
    pub image_size: Option<(u32, u32)>,
    /// Lower-case texts although the library does not: SigLIP 2 was trained so.
    pub lowercase: bool,
}

/// Recognises a checkpoint by the `model_type` in its `config.json`, or by an `open_clip_config.json` that fits its
/// tensors' names.
pub fn recognise(checkpoint: &Checkpoint, tensors: &Tensors, wishes: &Wishes) -> Result<Recognised> {
    let mut recognised = recognise_family(checkpoint, tensors, wishes)?;
    recognised.config.validate().map_err(|error| key_names::explain(error, &recognised))?;
    if let Some(size) = wishes.image_size {
        resize(&mut recognised.config, size)?;
    }
    Ok(recognised)
}

fn recognise_family(checkpoint: &Checkpoint, tensors: &Tensors, wishes: &Wishes) -> Result<Recognised> {
    let path = checkpoint.directory.join(open_clip::CONFIG);
    if path.exists() && tensors.names().any(|name| name.starts_with("visual.")) {
        return open_clip::recognise(checkpoint, &path, &read_json(&path)?, tensors, wishes);
    }
    let path = checkpoint.directory.join("config.json");
    if !path.exists() {
        let problem = "has no config.json (of open_clip: open_clip_config.json) beside the weights, which says what \
                       they are: download it too";
        return Err(Error::file(&checkpoint.directory, problem));
    }
    let json = read_json(&path)?;
    let recognise = match json.get("model_type").and_then(Value::as_str) {
        Some("clip" | "clip_vision_model" | "clip_text_model") => hf_clip::recognise,
        Some(
            "siglip"
            | "siglip_vision_model"
            | "siglip_text_model"
            | "siglip2"
            | "siglip2_vision_model"
            | "siglip2_text_model",
        ) => hf_siglip::recognise,
        Some("vit" | "vit_mae") => hf_vit::recognise,
        Some("dinov2" | "dinov2_with_registers" | "dinov3_vit") => hf_dino::recognise,
        None if json["library"] == "vit-pytorch" => simple_vit::recognise,
        None if json.get("architecture").is_some() => timm_vit::recognise,
        Some(other) => {
            return Err(Error::field(
                &path,
                "model_type",
                format!("is {other:?}; supported: {}", FAMILIES.join(", ")),
            ));
        }
        None => {
            let problem = "is missing, and so is the \"architecture\" of a timm checkpoint";
            return Err(Error::field(&path, "model_type", problem));
        }
    };
    recognise(checkpoint, &path, &json, tensors, wishes)
}

/// Makes `config` one for images of `height` × `width`. The stored positions stay as they are: sessions interpolate
/// them as the family's library does. A shortest side before a crop keeps its ratio to the crop.
fn resize(config: &mut Config, (height, width): (u32, u32)) -> Result<()> {
    if !config.has_vision() || config.vision.max_patches > 0 || config.vision.pyramid_stride > 0 {
        let problem = "an image size was asked for, but this model has none, or takes its images as they are";
        return Err(ocelli::Error::Message(problem.into()).into());
    }
    config.preprocess.shortest = config.shortest(height, width);
    (config.vision.height, config.vision.width) = (height, width);
    Ok(config.validate()?)
}

/// Every `model_type` that is supported.
const FAMILIES: [&str; 14] = [
    "clip",
    "clip_vision_model",
    "clip_text_model",
    "siglip",
    "siglip_vision_model",
    "siglip_text_model",
    "siglip2",
    "siglip2_vision_model",
    "siglip2_text_model",
    "vit",
    "vit_mae",
    "dinov2",
    "dinov2_with_registers",
    "dinov3_vit",
];

/// Names, sizes and hashes of the files that decide what a model computes, and the id made of them.
pub fn identify(config: &Path, checkpoint: &Checkpoint) -> Result<(Vec<SourceFile>, [u8; 16])> {
    use sha2::{Digest, Sha256};

    let paths = std::iter::once::<&Path>(config).chain(checkpoint.weights.iter().map(PathBuf::as_path));
    let (mut files, mut all) = (Vec::new(), Sha256::new());
    for path in paths {
        let (file, digest) = hash(path)?;
        files.push(file);
        all.update(digest);
    }
    let digest: [u8; 32] = all.finalize().into();
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    Ok((files, id))
}
