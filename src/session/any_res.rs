//! Large and wide images through a session, tile by tile.

use super::classes::classify;
use super::encode::{Source, encode_images};
use super::{Session, check_len};
use crate::error::Result;
use crate::format::Bank;
use crate::preprocess::{PixelView, TileBox, Tiles};
use crate::score::{Scored, normalize, score, score_logits};
use crate::vision::Layer;

impl Session<'_> {
    /// The grid of at most `most` tiles that fits `image` and what this session's model sees of each.
    ///
    /// # Errors
    /// No image tower.
    pub fn fit_tiles(&self, most: Tiles, image: &PixelView<'_>) -> Result<Tiles> {
        Ok(Tiles::fit(most, image.width(), image.height(), self.image_size()?))
    }

    /// Embeds `image` as a whole and each of its `tiles`, and writes the mean of these embeddings to `out`: each is
    /// normalised to length 1 before, and the mean after. A single tile is the image itself, which then counts once.
    /// Allocates nothing.
    ///
    /// # Errors
    /// No image tower, more tiles than pixels, or `out` has another length than an embedding.
    pub fn embed_any_res_into(&mut self, image: &PixelView<'_>, tiles: Tiles, out: &mut [f32]) -> Result<()> {
        self.embed_tiles_into(image, tiles, out, &mut |_, _| ())
    }

    /// The same; `show` is given every part of the image and its embedding, not normalised: the whole image first,
    /// then the tiles along the rows.
    ///
    /// # Errors
    /// As [`embed_any_res_into`](Self::embed_any_res_into).
    pub fn embed_tiles_into(
        &mut self,
        image: &PixelView<'_>,
        tiles: Tiles,
        out: &mut [f32],
        show: &mut dyn FnMut(TileBox, &[f32]),
    ) -> Result<()> {
        check_len(self.dimensions.embed_dim, out)?;
        self.mean_of_tiles(image, tiles, normalize, show)?;
        out.copy_from_slice(self.parts().buffers.mean);
        normalize(out);
        Ok(())
    }

    /// Embeds `image` tile by tile as [`embed_any_res_into`](Self::embed_any_res_into) does, and scores the result
    /// against every label of `bank`, best first, to `out`. Allocates nothing.
    ///
    /// # Errors
    /// As [`embed_any_res_into`](Self::embed_any_res_into); or the bank was made with another checkpoint.
    pub fn classify_any_res_into(
        &mut self,
        image: &PixelView<'_>,
        tiles: Tiles,
        bank: &Bank<'_>,
        out: &mut [Scored],
    ) -> Result<()> {
        bank.check_fits(self.config)?;
        self.mean_of_tiles(image, tiles, normalize, &mut |_, _| ())?;
        let config = self.config;
        let mean = self.parts().buffers.mean;
        normalize(mean);
        score(&config.score, mean, bank, out);
        Ok(())
    }

    /// Classifies `image` tile by tile with the model's own classifier: its logits are the means of those of the whole
    /// image and of each tile. Every class, best first, goes to `out`. Allocates nothing.
    ///
    /// # Errors
    /// As [`classify_own_into`](Self::classify_own_into); or more tiles than pixels.
    pub fn classify_own_any_res_into(
        &mut self,
        image: &PixelView<'_>,
        tiles: Tiles,
        out: &mut [Scored],
    ) -> Result<()> {
        self.check_classes(out)?;
        // The classifier is linear: the mean of the logits is the logits of the mean.
        self.mean_of_tiles(image, tiles, |_| (), &mut |_, _| ())?;
        let mut parts = self.parts();
        let mean = core::mem::take(&mut parts.buffers.mean);
        let logits = core::mem::take(&mut parts.buffers.logits);
        classify(parts, mean, logits)?;
        score_logits(logits, out);
        Ok(())
    }

    /// The mean of the embeddings of `image` and its `tiles`, each put through `each`, in the buffer for it.
    fn mean_of_tiles(
        &mut self,
        image: &PixelView<'_>,
        tiles: Tiles,
        each: fn(&mut [f32]),
        show: &mut dyn FnMut(TileBox, &[f32]),
    ) -> Result<()> {
        let dim = self.dimensions.embed_dim;
        let parts = if tiles.count() > 1 { tiles.count() } else { 0 };
        for index in 0..=parts {
            let (width, height) = (image.width(), image.height());
            let part = match index {
                0 => TileBox { left: 0, top: 0, width, height },
                _ => tiles.tile(index - 1, width, height),
            };
            let view = image.crop(part.left, part.top, part.width, part.height)?;
            self.preprocess(core::slice::from_ref(&view))?;
            let mut now = self.parts();
            let embeddings = core::mem::take(&mut now.buffers.embeddings);
            encode_images(now, Source::Frames(1), Layer::Projected, &mut embeddings[..dim], None, None)?;
            // The same memory once more: the embedding is still there.
            let buffers = self.parts().buffers;
            let (embedding, mean) = (&mut buffers.embeddings[..dim], buffers.mean);
            show(part, embedding);
            each(embedding);
            if index == 0 {
                mean.fill(0.0);
            }
            let share = 1.0 / (parts + 1) as f32;
            mean.iter_mut().zip(embedding).for_each(|(mean, value)| *mean += *value * share);
        }
        Ok(())
    }
}
