//! A model ready to run: memory taken, kernels chosen, threads started.
//!
//! An [`ImageEncoder`] or a [`TextEncoder`] takes all its memory when it is made; encoding an image afterwards allocates
//! nothing, on any thread. A [`Classifier`] is an image encoder and the labels that it scores against. All of them share
//! the model and own everything else, so they can go to another thread. A [`Preprocessor`] makes frames on a thread of
//! its own while an encoder works.

mod any_res;
mod buffers;
mod classifier;
mod frames;
mod image;
mod input;
#[cfg(feature = "text")]
mod labels;
mod options;
mod parts;
mod sizes;
mod text;

pub use classifier::{Classifier, Labels};
pub use frames::{Frame, Preprocessor};
pub use image::ImageEncoder;
pub use input::{Input, Watch};
pub use options::ImageOptions;
pub use text::TextEncoder;

use crate::error::{Error, Result};

/// The error of an argument with the value `found`.
fn unfit(problem: &'static str, expected: usize, found: usize) -> Error {
    Error::Argument { problem, expected: expected as u64, found: found as u64 }
}

/// The result must fit exactly where it goes.
fn check_len(expected: usize, out: &[f32]) -> Result<()> {
    if out.len() == expected {
        return Ok(());
    }
    Err(unfit("a vector has the wrong length", expected, out.len()))
}

/// Refuses an embedding that would give every label a meaningless score.
fn check_finite(embedding: &[f32]) -> Result<()> {
    if embedding.iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    Err(Error::NotFinite)
}
