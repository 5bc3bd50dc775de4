//! From f32 weights to what is stored, and what that costs.
//!
//! ```text
//! canonical model ─► f32 draft ─► activations (observe) ┐
//!        │                                              ├─► repairs, each measured ─► recipe ─► packed file + promise
//!        └────────► int8 draft ─► cosines (measure) ────┘
//! ```
//!
//! Drafts are packed files that the runtime itself runs; nothing here computes a forward pass of its own.

mod accuracy;
mod auto;
mod calibration;
mod canonical;
mod evaluator;
mod gptq;
mod layer;
mod measure;
mod merge;
mod observe;
mod options;
mod precision;
mod raise;
mod recipe;
mod repair;
mod smooth;
#[cfg(test)]
mod tests;

pub use crate::codes::{Codes, magnitude_of, quantize_row, round_row};
pub use accuracy::{AccuracyReport, Layer, Measured, Step};
pub use auto::plan;
pub use calibration::{Calibration, DEFAULT_IMAGES, Kind as CalibrationKind, split};
pub use canonical::{Canonical, Source};
pub use measure::{Cosine, Cosines, Tower, cosine, cosines};
pub use merge::{MergeTokens, Merged};
pub use options::{DEFAULT_TARGET, Labels, QuantizeOptions};
pub use precision::Precision;
pub use recipe::{Recipe, Treatment};
pub use repair::{Repair, parse as parse_repairs};
