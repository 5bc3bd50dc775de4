//! What is asked of a quantized model.

use super::calibration::DEFAULT_IMAGES;
use super::merge::MergeTokens;
use super::repair::Repair;
use ocelli::format::LabelBank;
use std::path::PathBuf;

/// What is asked of a quantized model.
#[derive(Clone, Debug)]
pub struct QuantizeOptions {
    /// A folder of pictures to calibrate with; made-up ones without.
    pub pictures: Option<PathBuf>,
    /// Most pictures to use.
    pub images: usize,
    /// Mean cosine that embeddings must keep; `None` to measure only.
    pub target: Option<f64>,
    /// Time that each tower's matrices may take next to all of them in int8, as predicted: the most sensitive become f16
    /// as far as it goes, whether the target holds without them or not. `None` to do that for the target alone.
    pub time_budget: Option<f64>,
    /// Repairs that may be made, in their order.
    pub repairs: Vec<Repair>,
    /// How tokens of images are merged, if they are: with `Auto`, as far as the target allows.
    pub merge: Option<MergeTokens>,
    /// Write the model even if it misses the target.
    pub allow_below_target: bool,
}

impl Default for QuantizeOptions {
    fn default() -> QuantizeOptions {
        QuantizeOptions {
            pictures: None,
            images: DEFAULT_IMAGES,
            target: Some(DEFAULT_TARGET),
            time_budget: None,
            repairs: Repair::ALL.to_vec(),
            merge: None,
            allow_below_target: false,
        }
    }
}

/// Mean cosine that is demanded unless another is asked for.
pub const DEFAULT_TARGET: f64 = 0.995;

/// Labels to compare answers over, and to make calibration texts of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Labels<'l> {
    /// The labels, if any were given.
    pub labels: &'l [String],
    /// Prompt templates.
    pub templates: &'l [&'l str],
    /// Their embeddings, as the packed file will hold them.
    pub bank: Option<&'l LabelBank>,
}
