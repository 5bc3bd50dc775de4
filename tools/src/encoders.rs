//! Encoders as the environment asks for them.

use crate::error::Result;
use ocelli::format::Merging;
use ocelli::{ImageEncoder, ImageOptions, Model, Runtime, TextEncoder, knobs};
use std::sync::Arc;

/// The image tower of `model`, on threads of its own.
pub(crate) fn image_encoder(model: &Arc<Model>) -> Result<ImageEncoder> {
    merging_encoder(model, None)
}

/// The same with tokens merged as `merging` says, if it says something.
pub(crate) fn merging_encoder(model: &Arc<Model>, merging: Option<Merging>) -> Result<ImageEncoder> {
    let runtime = Runtime::new(&knobs::runtime_options()?)?;
    let options = ImageOptions::default().limits(knobs::limits()?).merging(merging);
    Ok(ImageEncoder::new(model, &runtime, &options)?)
}

/// The text tower of `model`, on threads of its own.
pub(crate) fn text_encoder(model: &Arc<Model>) -> Result<TextEncoder> {
    let runtime = Runtime::new(&knobs::runtime_options()?)?;
    Ok(TextEncoder::new(model, &runtime, &knobs::limits()?)?)
}
