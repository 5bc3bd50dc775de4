//! Checkpoint families: from a library's configuration and tensor names to ocelli's.

mod hf_clip;
mod hf_preprocess;
pub mod tokenizer;

use crate::source::{Checkpoint, SourceFile, Tensors, hash, read_json};
use crate::{Error, Result};
use ocelli::format::{Config, Demand};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// How rows of a source tensor become rows of a packed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transform {
    /// As they are.
    Rows,
    /// A convolution kernel [n, 3, side, side]: each row from (channel, row, column) to (row, column, channel).
    Convolution {
        /// Side of the kernel.
        side: usize,
    },
}

/// Where a demanded tensor comes from: the rows of these tensors, one after the other.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Names in the checkpoint; all have the same number of rows.
    pub parts: Vec<String>,
    /// What happens to each row.
    pub transform: Transform,
}

/// Why a tensor of this name may be ignored.
pub type Excuse = dyn Fn(&str) -> Option<&'static str>;

/// A checkpoint that was understood.
pub struct Recognised {
    /// Everything but the checkpoint id.
    pub config: Config,
    /// The tokenizer, if there is a text tower.
    pub tokenizer: Option<String>,
    /// Tensors that were used to make the configuration.
    pub scalars: Vec<String>,
    /// Configuration files that were read.
    pub files: Vec<PathBuf>,
    /// Where a demanded tensor comes from.
    pub origin: Box<dyn Fn(&Demand) -> Origin>,
    /// Why a tensor that nothing demands may be ignored; `None` if it must not be there.
    pub ignore: Box<Excuse>,
}

/// What the user wants of a checkpoint.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// Leave the text tower out.
    pub vision_only: bool,
    /// Where to look for the tokenizer instead of the checkpoint's folder.
    pub tokenizer: Option<PathBuf>,
}

/// Recognises a checkpoint by the `model_type` in its `config.json`.
pub fn recognise(checkpoint: &Checkpoint, tensors: &Tensors, wishes: &Wishes) -> Result<Recognised> {
    let path = checkpoint.directory.join("config.json");
    let json = read_json(&path)?;
    match json.get("model_type").and_then(Value::as_str) {
        Some("clip" | "clip_vision_model") => hf_clip::recognise(checkpoint, &path, &json, tensors, wishes),
        Some(other) => Err(Error::field(
            &path,
            "model_type",
            format!("is {other:?}; supported: \"clip\", \"clip_vision_model\""),
        )),
        None => Err(Error::field(&path, "model_type", "is missing")),
    }
}

/// Names, sizes and hashes of the files that decide what a model computes, and the id made of them.
pub fn identify(checkpoint: &Checkpoint) -> Result<(Vec<SourceFile>, [u8; 16])> {
    use sha2::{Digest, Sha256};

    let config = checkpoint.directory.join("config.json");
    let paths = std::iter::once::<&Path>(&config).chain(checkpoint.weights.iter().map(PathBuf::as_path));
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
