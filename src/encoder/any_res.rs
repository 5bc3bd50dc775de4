//! Large and wide images, tile by tile.

use super::input::{Input, Watch};
use super::{ImageEncoder, check_len};
use crate::error::Result;
use crate::preprocess::{PixelView, TileBox, Tiles};
use crate::score::normalize;
use crate::vision::Layer;

impl ImageEncoder {
    /// The grid of at most `most` tiles that fits `image` and what this encoder's model sees of each.
    pub fn fit_tiles(&self, most: Tiles, image: &PixelView<'_>) -> Tiles {
        Tiles::fit(most, image.width(), image.height(), self.image_size())
    }

    /// Embeds `image` as a whole and each of its `tiles`, and writes the mean of these embeddings to `out`: each is
    /// normalised to length 1 before, and the mean after. A single tile is the image itself, which then counts once.
    /// `show` is given every part of the image and its embedding, not normalised: the whole image first, then the tiles
    /// along the rows. Allocates nothing.
    ///
    /// # Errors
    /// More tiles than pixels, or `out` has another length than an embedding.
    pub fn embed_tiles_into(
        &mut self,
        image: &PixelView<'_>,
        tiles: Tiles,
        out: &mut [f32],
        show: &mut dyn FnMut(TileBox, &[f32]),
    ) -> Result<()> {
        check_len(self.embed_dim(), out)?;
        self.mean_of_tiles(image, tiles, normalize, show)?;
        out.copy_from_slice(self.buffers().mean);
        normalize(out);
        Ok(())
    }

    /// The mean of the embeddings of `image` and its `tiles`, each put through `each`, in the buffer for it.
    pub(super) fn mean_of_tiles(
        &mut self,
        image: &PixelView<'_>,
        tiles: Tiles,
        each: fn(&mut [f32]),
        show: &mut dyn FnMut(TileBox, &[f32]),
    ) -> Result<()> {
        let dim = self.embed_dim();
        let parts = if tiles.count() > 1 { tiles.count() } else { 0 };
        for index in 0..=parts {
            let (width, height) = (image.width(), image.height());
            let part = match index {
                0 => TileBox { left: 0, top: 0, width, height },
                _ => tiles.tile(index - 1, width, height),
            };
            let view = image.crop(part.left, part.top, part.width, part.height)?;
            self.preprocess(core::slice::from_ref(&view))?;
            let mut now = self.parts()?;
            let embeddings = core::mem::take(&mut now.buffers.embeddings);
            now.encode(Input::Frames(1), Layer::Projected, &mut embeddings[..dim], Watch::default())?;
            // `encode` has written the embedding into the arena; it is read back from there.
            let buffers = self.buffers();
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
