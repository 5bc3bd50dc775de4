//! Images through a session.

use super::buffers::{Buffers, VisionDimensions};
use super::encode::{Source, encode_images};
use super::{Parts, Session};
use crate::error::{Error, Result};
use crate::format::{Bank, VisionConfig, feature};
use crate::nn::{Observer, Tap, rope};
use crate::preprocess::{FrameSpec, PixelView, ResizePlan, Resizer, naflex};
use crate::profile::{Op, Work};
use crate::score::{Scored, normalize, score};
use crate::vision::{Layer, position};
use ocelli_kernels::Kernels;

impl Session<'_> {
    /// Preprocesses and embeds one image into `out`, normalised to length 1. Allocates nothing.
    ///
    /// # Errors
    /// No image tower, or `out` has another length than an embedding.
    pub fn embed_into(&mut self, image: &PixelView<'_>, out: &mut [f32]) -> Result<()> {
        self.embed_batch_into(core::slice::from_ref(image), out)
    }

    /// Preprocesses and embeds `images`, at most the session's batch, into `out`, [images, embed_dim], each normalised
    /// to length 1. Allocates nothing.
    ///
    /// # Errors
    /// No image tower, more images than planned for, or `out` has another length.
    pub fn embed_batch_into(&mut self, images: &[PixelView<'_>], out: &mut [f32]) -> Result<()> {
        self.embed_batch_raw_into(images, out)?;
        out.chunks_exact_mut(self.dimensions.embed_dim).for_each(normalize);
        Ok(())
    }

    /// The same, not normalised.
    ///
    /// # Errors
    /// As [`embed_batch_into`](Self::embed_batch_into).
    pub fn embed_batch_raw_into(&mut self, images: &[PixelView<'_>], out: &mut [f32]) -> Result<()> {
        self.preprocess(images)?;
        self.encode_frames(images.len(), out)
    }

    /// Preprocesses `images` into the session's frames.
    ///
    /// # Errors
    /// No image tower, or more images than planned for.
    pub fn preprocess(&mut self, images: &[PixelView<'_>]) -> Result<()> {
        self.check_batch(images.len())?;
        let Parts { config, kernels, team, dimensions, resizer, grids, profile, buffers, .. } = self.parts();
        let Some(vision) = &dimensions.vision else { return Err(no_vision()) };
        let Buffers { frames, mut tables, rings, .. } = buffers;
        let threads = team.threads();
        for ((image, slot), grid) in images.iter().zip(frames.chunks_exact_mut(vision.slot)).zip(grids) {
            // Bytes of red, green and blue; the frame of a model without a fixed size may be smaller.
            let read = 3 * image.width() as usize * image.height() as usize;
            profile.time(Op::Resize, Work::moved(read + vision.slot), || {
                let (resizer, spec) = resizer_for(kernels, &config.vision, vision, resizer, image, grid)?;
                resizer.prepare(image, &mut tables)?;
                let (resizer, tables) = (&*resizer, &tables);
                let (height, row_len) = (spec.height as usize, spec.width as usize * 3);
                let mut rest = &mut slot[..height * row_len];
                let parts =
                    rings.chunks_exact_mut(vision.memory.scratch).enumerate().map(|(thread, ring)| {
                        let rows = height * thread / threads..height * (thread + 1) / threads;
                        let (part, others) = core::mem::take(&mut rest).split_at_mut(rows.len() * row_len);
                        rest = others;
                        (rows, part, ring)
                    });
                team.run_parts(parts, |(rows, part, ring)| {
                    resizer.resize_rows(image, tables, rows, ring, part).expect("prepared for this image");
                });
                Ok(())
            })?;
        }
        Ok(())
    }

    /// The frame that [`preprocess`](Self::preprocess) made of image `index`: [height, width, 3], red first.
    ///
    /// # Errors
    /// No image tower, or `index` is not below the session's batch.
    pub fn frame(&mut self, index: usize) -> Result<&[u8]> {
        self.check_batch(index + 1)?;
        let Parts { config, dimensions, grids, buffers, .. } = self.parts();
        let vision = dimensions.vision.as_ref().ok_or_else(no_vision)?;
        let (rows, columns) = grids[index];
        let len = match vision.resize {
            Some(_) => vision.slot,
            None => rows * columns * config.vision.patch_values(),
        };
        Ok(&buffers.frames[index * vision.slot..][..len])
    }

    /// Replaces the frame of image `index` by one that was preprocessed elsewhere, [height, width, 3].
    ///
    /// # Errors
    /// As [`frame`](Self::frame); `pixels` has another size, or the model's images have no fixed size (NaFlex).
    pub fn set_frame(&mut self, index: usize, pixels: &[u8]) -> Result<()> {
        let vision = self.dimensions.vision.as_ref().ok_or_else(no_vision)?;
        if vision.resize.is_none() {
            let message =
                "this model's images have no fixed size: a frame that was made elsewhere needs its grid";
            return Err(Error::Message(message.into()));
        }
        let grid = vision.grid;
        self.set_frame_of_grid(index, grid, pixels)
    }

    /// The same, [rows · patch, columns · patch, 3], where every image may have a `grid` (rows, columns) of patches of its
    /// own.
    ///
    /// # Errors
    /// As [`frame`](Self::frame); or `grid` is not possible, or not that of `pixels`.
    pub fn set_frame_of_grid(&mut self, index: usize, grid: (usize, usize), pixels: &[u8]) -> Result<()> {
        self.check_batch(index + 1)?;
        let Parts { config, dimensions, grids, buffers, .. } = self.parts();
        let vision = dimensions.vision.as_ref().ok_or_else(no_vision)?;
        let patches = grid.0.saturating_mul(grid.1);
        let possible = match vision.resize {
            Some(_) => grid == vision.grid,
            None => (1..=config.vision.max_patches as usize).contains(&patches),
        };
        if !possible {
            return Err(Error::Message(std::format!("{grid:?} patches are no grid of this model's images")));
        }
        let len = if vision.resize.is_some() { vision.slot } else { patches * config.vision.patch_values() };
        if pixels.len() != len {
            return Err(Error::Message(std::format!(
                "a frame of {} bytes; the model's has {len}",
                pixels.len()
            )));
        }
        buffers.frames[index * vision.slot..][..len].copy_from_slice(pixels);
        grids[index] = grid;
        Ok(())
    }

    /// Embeds the first `images` frames of the session into `out`, [images, embed_dim], not normalised.
    ///
    /// # Errors
    /// As [`embed_batch_into`](Self::embed_batch_into).
    pub fn encode_frames(&mut self, images: usize, out: &mut [f32]) -> Result<()> {
        self.encode(Source::Frames(images), Layer::Projected, out, None, None)
    }

    /// The same, with what every GEMM reads shown to `tap`.
    ///
    /// # Errors
    /// As [`embed_batch_into`](Self::embed_batch_into).
    pub fn tap_frames(&mut self, images: usize, out: &mut [f32], tap: Tap<'_>) -> Result<()> {
        self.encode(Source::Frames(images), Layer::Projected, out, None, Some(tap))
    }

    /// The shape of what [`encode_layer`](Self::encode_layer) gives for one image: vectors, and channels of each.
    ///
    /// # Errors
    /// No image tower, or it has no class token.
    pub fn layer_shape(&self, layer: Layer) -> Result<(usize, usize)> {
        let vision = self.dimensions.vision.as_ref().ok_or_else(no_vision)?;
        let width = vision.shape.width;
        match layer {
            Layer::Patch => {
                let (rows, columns) = self.grid()?;
                Ok((rows * columns, width))
            }
            Layer::Class if !self.config.vision.tower.has(feature::CLASS_TOKEN) => {
                Err(Error::Message("this model has no class token".into()))
            }
            Layer::Class | Layer::Pooled => Ok((1, width)),
            Layer::Projected => Ok((1, self.dimensions.embed_dim)),
        }
    }

    /// Rows and columns of the patches of an image, in whose order [`Layer::Patch`] lists them; where every image has
    /// its own (NaFlex), those of the first frame.
    ///
    /// # Errors
    /// No image tower.
    pub fn grid(&self) -> Result<(usize, usize)> {
        self.dimensions.vision.as_ref().ok_or_else(no_vision)?;
        Ok(self.grids[0])
    }

    /// Height and width of the image that the model sees, in pixels.
    ///
    /// # Errors
    /// No image tower.
    pub fn image_size(&self) -> Result<(u32, u32)> {
        let vision = self.dimensions.vision.as_ref().ok_or_else(no_vision)?;
        Ok((vision.frame.height, vision.frame.width))
    }

    /// How a picture becomes the frame that the model sees.
    ///
    /// # Errors
    /// No image tower.
    pub fn frame_spec(&self) -> Result<&FrameSpec> {
        self.dimensions.vision.as_ref().map(|vision| &vision.frame).ok_or_else(no_vision)
    }

    /// Writes the vectors of `layer` for the first `images` frames of the session to `out`, [images, vectors,
    /// channels] as [`layer_shape`](Self::layer_shape) says, not normalised.
    ///
    /// # Errors
    /// As [`embed_batch_into`](Self::embed_batch_into); or the model has no such layer.
    pub fn encode_layer(&mut self, images: usize, layer: Layer, out: &mut [f32]) -> Result<()> {
        self.encode(Source::Frames(images), layer, out, None, None)
    }

    /// Embeds already normalised pixels, [images, 3, height, width] (red first), into `out`, not normalised.
    ///
    /// # Errors
    /// As [`embed_batch_into`](Self::embed_batch_into); or `pixels` is no whole number of images.
    pub fn embed_pixels_into(&mut self, pixels: &[f32], out: &mut [f32]) -> Result<()> {
        self.encode(Source::Planar(pixels), Layer::Projected, out, None, None)
    }

    /// [`embed_pixels_into`](Self::embed_pixels_into) with every stage shown to `observer`. The last block then
    /// carries all tokens, which the plain call skips; the embedding is the same.
    ///
    /// # Errors
    /// As [`embed_pixels_into`](Self::embed_pixels_into).
    pub fn trace_pixels(&mut self, pixels: &[f32], out: &mut [f32], observer: Observer<'_>) -> Result<()> {
        self.encode(Source::Planar(pixels), Layer::Projected, out, Some(observer), None)
    }

    /// Embeds one image of a model without a fixed image size (NaFlex) from its normalised patches, [rows · columns,
    /// patch² · 3] along the rows of `grid`, channel last in each, and shows every stage to `observer`.
    ///
    /// # Errors
    /// Another kind of model, or too many patches, or a length does not fit.
    pub fn trace_patches(
        &mut self,
        patches: &[f32],
        grid: (usize, usize),
        out: &mut [f32],
        observer: Observer<'_>,
    ) -> Result<()> {
        self.encode(Source::Patches(patches, grid), Layer::Projected, out, Some(observer), None)
    }

    /// Embeds `image`, scores it against every label of `bank`, and writes the results, best first, to `out` (one
    /// element per label). Allocates nothing.
    ///
    /// # Errors
    /// As [`embed_into`](Self::embed_into) and [`score`](Self::score).
    pub fn classify_into(
        &mut self,
        image: &PixelView<'_>,
        bank: &Bank<'_>,
        out: &mut [Scored],
    ) -> Result<()> {
        bank.check_fits(self.config)?;
        self.preprocess(core::slice::from_ref(image))?;
        let config = self.config;
        let mut parts = self.parts();
        let embeddings = core::mem::take(&mut parts.buffers.embeddings);
        let embedding = &mut embeddings[..parts.dimensions.embed_dim];
        encode_images(parts, Source::Frames(1), Layer::Projected, embedding, None, None)?;
        normalize(embedding);
        score(&config.score, embedding, bank, out);
        Ok(())
    }

    pub(super) fn check_batch(&self, images: usize) -> Result<()> {
        let batch = self.dimensions.vision.as_ref().ok_or_else(no_vision)?.shape.images;
        if !(1..=batch).contains(&images) {
            return Err(Error::Message(std::format!(
                "{images} images in a session planned for 1 to {batch}"
            )));
        }
        Ok(())
    }

    /// Computes positions and rotations where every frame reads them.
    pub(super) fn fill_positions(&mut self) {
        let Parts { config, vision, dimensions, buffers, .. } = self.parts();
        if let (Some(weights), Some(vision)) = (vision, &dimensions.vision)
            && vision.resize.is_some()
        {
            position::fill(&config.vision, weights.position, vision.grid, buffers.positions);
            let (cos, sin) = buffers.rotary;
            rope::fill(&config.vision, vision.grid, cos, sin);
        }
    }
}

/// The resizer for `image`, and the frame that it makes; `grid` becomes that of the frame's patches.
fn resizer_for<'r>(
    kernels: &Kernels,
    config: &VisionConfig,
    vision: &VisionDimensions,
    resizer: &'r mut Option<Resizer>,
    image: &PixelView<'_>,
    grid: &mut (usize, usize),
) -> Result<(&'r mut Resizer, FrameSpec)> {
    let mut spec = vision.frame;
    if vision.resize.is_none() {
        *grid = naflex::fit(image.width(), image.height(), config.patch, config.max_patches);
        (spec.height, spec.width) = (grid.0 as u32 * config.patch, grid.1 as u32 * config.patch);
        if !resizer.as_ref().is_some_and(|resizer| resizer.is_for(&spec, image)) {
            let plan = ResizePlan::for_picture(spec, image.width(), image.height())?;
            let (needed, room) = (plan.memory().scratch, vision.memory.scratch);
            if needed > room {
                return Err(Error::Message(std::format!(
                    "resizing takes {needed} bytes, planned are {room}"
                )));
            }
            *resizer = Some(Resizer::new(plan, *kernels));
        }
    }
    Ok((resizer.as_mut().ok_or_else(no_vision)?, spec))
}

pub(super) fn no_vision() -> Error {
    Error::Message("this session has no image tower".into())
}
