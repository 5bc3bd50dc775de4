//! A checkpoint that was understood, and what was asked of it.

use super::origin::Origin;
use ocelli::format::{Config, TensorSpec};
use std::path::PathBuf;

/// The key in a checkpoint's configuration that a packed field such as `vision.tower.width` comes from.
pub type KeyOf = dyn Fn(&str) -> Option<String>;

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
    pub origin: Box<dyn Fn(&TensorSpec) -> Origin>,
    /// Why a tensor that nothing demands may be ignored; `None` if it must not be there.
    pub ignore: Box<IgnoreReason>,
    /// The key that a field of `config` comes from.
    pub key_of: Box<KeyOf>,
}

/// What the user wants of a checkpoint.
#[derive(Clone, Debug, Default)]
pub struct ModelOptions {
    /// Leave the text tower out.
    pub vision_only: bool,
    /// Where to look for the tokenizer instead of the checkpoint's folder.
    pub tokenizer: Option<PathBuf>,
    /// Height and width of the image that the model is to see, instead of the checkpoint's own.
    pub image_size: Option<(u32, u32)>,
    /// Lower-case texts although the library does not: SigLIP 2 was trained so.
    pub lowercase: bool,
}
