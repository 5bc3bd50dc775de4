//! Encoders as the environment asks for them.

use crate::error::Result;
use ocelli::{ImageEncoder, ImageOptions, Model, Runtime, TextEncoder, knobs};
use std::sync::Arc;

/// The image tower of `model`, on threads of its own.
pub(crate) fn image_encoder(model: &Arc<Model>) -> Result<ImageEncoder> {
    let runtime = Runtime::new(&knobs::runtime_options()?)?;
    Ok(ImageEncoder::new(model, &runtime, &ImageOptions::default().limits(knobs::limits()?))?)
}

/// The text tower of `model`, on threads of its own.
pub(crate) fn text_encoder(model: &Arc<Model>) -> Result<TextEncoder> {
    let runtime = Runtime::new(&knobs::runtime_options()?)?;
    Ok(TextEncoder::new(model, &runtime, &knobs::limits()?)?)
}
