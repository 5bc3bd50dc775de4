//! What an image encoder is made for.

use super::unfit;
use crate::error::{Error, Result};
use crate::format::{Config, Cost, Limits, Merging};

/// What an [`ImageEncoder`](super::ImageEncoder) is made for.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ImageOptions {
    /// Most images in one call of [`embed_batch_into`](super::ImageEncoder::embed_batch_into).
    pub batch: usize,
    /// Height and width of the image that the model sees, instead of those in the file: positions are interpolated as
    /// the model's family does it, when the encoder is made.
    pub image_size: Option<(u32, u32)>,
    /// How tokens are merged, instead of as the file says: [`Merging::NONE`] for not at all. Where patches are asked for
    /// ([`Layer::Patch`](crate::vision::Layer)), none are merged in any case.
    pub merging: Option<Merging>,
    /// The most that a model may cost.
    pub limits: Limits,
}

impl Default for ImageOptions {
    /// One image at a time, of the model's own size.
    fn default() -> ImageOptions {
        ImageOptions { batch: 1, image_size: None, merging: None, limits: Limits::default() }
    }
}

impl ImageOptions {
    /// The same for batches of up to `batch` images.
    #[must_use]
    pub fn batch(self, batch: usize) -> ImageOptions {
        ImageOptions { batch, ..self }
    }

    /// The same with images of this (height, width) in pixels; `None` for the model's own.
    #[must_use]
    pub fn image_size(self, image_size: Option<(u32, u32)>) -> ImageOptions {
        ImageOptions { image_size, ..self }
    }

    /// The same with tokens merged in this way; `None` for as the file says.
    #[must_use]
    pub fn merging(self, merging: Option<Merging>) -> ImageOptions {
        ImageOptions { merging, ..self }
    }

    /// The same with other limits.
    #[must_use]
    pub fn limits(self, limits: Limits) -> ImageOptions {
        ImageOptions { limits, ..self }
    }

    /// Holds the model's cost against the limits, before anything is allocated.
    pub(super) fn check(&self, config: &Config, threads: usize) -> Result<()> {
        if self.batch == 0 {
            return Err(unfit("a batch has at least one image", 1, 0));
        }
        let mut config = *config;
        if let Some(merging) = self.merging {
            config.vision.tower.set_merging(merging);
        }
        let cost = Cost::of_images(&config, self.image_size, self.batch, threads).ok_or_else(no_vision)?;
        cost.check(&self.limits)
    }
}

pub(super) fn no_vision() -> Error {
    Error::ModelLacks { part: "image tower", remedy: "it embeds texts only" }
}
