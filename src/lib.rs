//! ocelli: CLIP and Vision Transformers on small CPUs.
//!
//! The data path is the architecture:
//!
//! ```text
//! file ─► mmap ─► plan + arena ─► preprocess ─► patch embed ─► blocks ─► pool / project ─► score
//! format   model     plan          preprocess        vit                                    score
//! ```

#![no_std]
#![deny(unsafe_code)]

#[cfg(feature = "std")]
extern crate std;

#[cfg(feature = "write")]
pub mod atomic;
pub mod error;
pub mod format;

#[cfg(feature = "std")]
pub mod encoder;
#[cfg(feature = "std")]
pub mod knobs;
#[cfg(feature = "std")]
pub mod model;
#[cfg(feature = "std")]
pub mod nn;
#[cfg(feature = "std")]
pub mod preprocess;
#[cfg(feature = "std")]
mod printable;
#[cfg(feature = "std")]
pub mod profile;
#[cfg(feature = "std")]
pub mod runtime;
#[cfg(feature = "std")]
pub mod score;
#[cfg(feature = "std")]
pub mod text;
#[cfg(feature = "std")]
pub mod vision;

#[cfg(feature = "std")]
pub use encoder::{Classifier, ImageEncoder, ImageOptions, Input, Labels, Preprocessor, TextEncoder, Watch};
pub use error::{Error, Name, Result};
#[cfg(feature = "std")]
pub use model::Model;
#[cfg(feature = "std")]
pub use ocelli_kernels::Isa;
#[cfg(feature = "std")]
pub use printable::{is_unprintable, printable};
#[cfg(feature = "std")]
pub use runtime::{Runtime, RuntimeOptions};
