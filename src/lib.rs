//! ocelli: CLIP and Vision Transformers on small CPUs.
//!
//! The data path is the architecture:
//!
//! ```text
//! file ─► mmap ─► plan + arena ─► preprocess ─► patch embed ─► blocks ─► pool / project ─► score
//! format   model     plan          preprocess        vit                                    score
//! ```

#![no_std]

#[cfg(feature = "std")]
extern crate std;

#[cfg(feature = "write")]
pub mod atomic;
pub mod error;
pub mod format;

pub use error::{Error, Name, Result};
