//! The offline side of ocelli: turns checkpoints into packed files, and inspects and verifies them.

pub mod convert;
mod error;
pub mod eval;
pub mod families;
pub mod images;
pub mod inspect;
pub mod quant;
mod read;
pub mod source;
pub mod verify;
pub mod write;

pub use convert::{ConvertOptions, Ignored, LabelSet, Report, Used, convert};
pub use error::{Error, Result};
pub use quant::Precision;
