#![doc = include_str!("../README.md")]

mod codes;
pub mod convert;
mod encoders;
mod error;
pub mod eval;
pub mod families;
#[cfg(feature = "hub")]
pub mod hub;
pub mod images;
pub mod inspect;
mod join;
pub mod progress;
pub mod quant;
mod read;
pub mod source;
pub mod verify;
pub mod write;

pub use convert::{ConvertOptions, Ignored, LabelSet, Report, Used, convert, convert_with};
pub use error::{Error, Result};
pub use join::join;
pub use progress::{Progress, Silent};
pub use quant::Precision;
