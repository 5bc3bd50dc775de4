//! Images to embeddings.

use super::buffers::{ImageBuffers, ImageSizes};
use super::frames::{self, Frame, Preprocessor};
use super::input::{Input, Watch, no_patches};
use super::options::{ImageOptions, no_vision};
use super::parts::Parts;
use super::{check_len, sizes, unfit};
use crate::error::{Error, Result};
use crate::format::{Config, feature};
use crate::model::Model;
use crate::nn::{Orders, rope};
use crate::preprocess::{FrameSpec, NormalizationTable, PixelView, Resizer, normalization_table};
use crate::profile::{Op, Profile, Work};
use crate::runtime::{Arena, Carver, Plan, Runtime};
use crate::score::normalize;
use crate::vision::{Layer, position};
use std::boxed::Box;
use std::sync::Arc;
use std::vec;
use std::vec::Vec;

/// An image tower ready to run.
///
/// All memory is taken by [`ImageEncoder::new`]; embedding an image afterwards allocates nothing, on any thread.
pub struct ImageEncoder {
    model: Arc<Model>,
    runtime: Runtime,
    sizes: ImageSizes,
    plan: Plan,
    arena: Arena,
    orders: Orders,
    normalization: Box<NormalizationTable>,
    resizer: Option<Resizer>,
    /// Rows and columns of patches in each frame.
    grids: Vec<(usize, usize)>,
    profile: Profile,
}

impl ImageEncoder {
    /// Plans the memory for the image tower of `model` and takes it.
    ///
    /// # Errors
    /// The model has no image tower, `options` don't fit it, it costs more than their limits allow, or the memory can't
    /// be had.
    pub fn new(model: &Arc<Model>, runtime: &Runtime, options: &ImageOptions) -> Result<ImageEncoder> {
        let config = model.config();
        let weights = model.vision().ok_or_else(no_vision)?;
        options.check(config, runtime.threads())?;
        let mut sizes = sizes::of_images(config, weights, runtime, options)?;
        let orders = Orders::of(runtime.kernels(), model.vision_tensors());
        sizes.tower.orders = orders.bytes();
        let mut plan = Plan::default();
        sizes.lay_out(&mut plan);
        let mut encoder = ImageEncoder {
            arena: Arena::new(plan.bytes())?,
            plan,
            orders,
            normalization: Box::new(normalization_table(&config.preprocess)),
            resizer: sizes.frames.resize.map(|plan| Resizer::new(plan, *runtime.kernels())),
            grids: vec![sizes.frames.grid; options.batch],
            profile: Profile::default(),
            sizes,
            runtime: runtime.clone(),
            model: Arc::clone(model),
        };
        encoder.fill_positions();
        Ok(encoder)
    }

    /// Preprocesses and embeds one image into `out`, normalised to length 1. Allocates nothing.
    ///
    /// # Errors
    /// `out` has another length than an embedding.
    pub fn embed_into(&mut self, image: &PixelView<'_>, out: &mut [f32]) -> Result<()> {
        self.embed_batch_into(core::slice::from_ref(image), out)
    }

    /// Preprocesses and embeds `images`, at most the encoder's batch, into `out`, [images, embed_dim], each normalised
    /// to length 1. Allocates nothing.
    ///
    /// # Errors
    /// More images than planned for, or `out` has another length.
    pub fn embed_batch_into(&mut self, images: &[PixelView<'_>], out: &mut [f32]) -> Result<()> {
        self.preprocess(images)?;
        self.encode(Input::Frames(images.len()), Layer::Projected, out)?;
        out.chunks_exact_mut(self.embed_dim()).for_each(normalize);
        Ok(())
    }

    /// Preprocesses `images` into the encoder's frames.
    ///
    /// # Errors
    /// More images than planned for.
    pub fn preprocess(&mut self, images: &[PixelView<'_>]) -> Result<()> {
        self.check_batch(images.len())?;
        let Parts { config, kernels, mut team, sizes, resizer, grids, profile, buffers, .. } =
            self.parts()?;
        let (frame_sizes, ImageBuffers { frames, mut tables, rings, .. }) = (&sizes.frames, buffers);
        for ((image, slot), grid) in images.iter().zip(frames.chunks_exact_mut(frame_sizes.slot)).zip(grids) {
            // Bytes of red, green and blue; the frame of a model without a fixed size may be smaller.
            let read = 3 * image.width() as usize * image.height() as usize;
            profile.time(Op::Resize, Work::moved(read + frame_sizes.slot), || {
                let (config, tables) = (&config.vision, &mut tables);
                frames::preprocess(
                    &mut team,
                    kernels,
                    config,
                    frame_sizes,
                    resizer,
                    tables,
                    rings,
                    image,
                    slot,
                    grid,
                )
            })?;
        }
        Ok(())
    }

    /// The frame of image `index`, which [`preprocess`](Self::preprocess) made: [height, width, 3], red first.
    ///
    /// # Errors
    /// `index` is not below the encoder's batch.
    pub fn frame(&mut self, index: usize) -> Result<&[u8]> {
        self.check_batch(index.saturating_add(1))?;
        let (slot, len) = (self.sizes.frames.slot, self.frame_len(self.grids[index]));
        Ok(&self.buffers().frames[index * slot..][..len])
    }

    /// A preprocessor that makes this encoder's frames, on whatever thread it is given to.
    pub fn preprocessor(&self) -> Preprocessor {
        Preprocessor::of(self.config().vision, *self.runtime.kernels(), self.sizes.frames)
    }

    /// Replaces the frame of image `index` by one that a [`Preprocessor`] made for this model.
    ///
    /// # Errors
    /// As [`set_pixels`](Self::set_pixels).
    pub fn set_frame(&mut self, index: usize, frame: &Frame) -> Result<()> {
        self.set_pixels(index, frame.grid(), frame.pixels())
    }

    /// Replaces the frame of image `index` by one that was preprocessed elsewhere, [rows · patch, columns · patch, 3]
    /// where `grid` is (rows, columns). A model whose images have a fixed size has one [`grid`](Self::grid).
    ///
    /// # Errors
    /// `index` is not below the encoder's batch; `grid` is not possible, or not that of `pixels`.
    pub fn set_pixels(&mut self, index: usize, grid: (usize, usize), pixels: &[u8]) -> Result<()> {
        self.check_batch(index.saturating_add(1))?;
        match self.sizes.frames.resize {
            Some(_) if grid != self.sizes.frames.grid => {
                let (rows, columns) = self.sizes.frames.grid;
                return Err(match grid.0 == rows {
                    true => unfit("not the model's grid of patches, in columns", columns, grid.1),
                    false => unfit("not the model's grid of patches, in rows", rows, grid.0),
                });
            }
            None => self.check_patches(grid)?,
            _ => {}
        }
        let (slot, len) = (self.sizes.frames.slot, self.frame_len(grid));
        if pixels.len() != len {
            return Err(unfit("a frame has the wrong length, in bytes", len, pixels.len()));
        }
        self.buffers().frames[index * slot..][..len].copy_from_slice(pixels);
        self.grids[index] = grid;
        Ok(())
    }

    /// Encodes `input` and writes the vectors of `layer` for each of its images to `out`, [images, vectors, channels] as
    /// [`layer_shape`](Self::layer_shape) says, not normalised. Allocates nothing.
    ///
    /// # Errors
    /// `input` does not fit this encoder, the model has no such layer, or `out` has another length.
    pub fn encode(&mut self, input: Input<'_>, layer: Layer, out: &mut [f32]) -> Result<()> {
        self.encode_watched(input, layer, out, Watch::default())
    }

    /// [`encode`](Self::encode) with what happens shown to `watch`. With an observer the last block carries all tokens,
    /// which the plain call skips; the embedding is the same.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_watched(
        &mut self,
        input: Input<'_>,
        layer: Layer,
        out: &mut [f32],
        watch: Watch<'_>,
    ) -> Result<()> {
        let images = self.images_of(&input)?;
        self.check_batch(images)?;
        let (vectors, channels) = self.layer_shape(layer)?;
        if layer == Layer::Patch && images > 1 && self.config().vision.max_patches > 0 {
            let problem =
                "every image of this model has its own number of patches: ask for those of one at a time";
            return Err(unfit(problem, 1, images));
        }
        check_len(images * vectors * channels, out)?;
        let rows = images * self.sizes.tower.shape.tokens;
        let mut parts = self.parts()?;
        parts.find_orders(rows);
        parts.encode(input, layer, out, watch)
    }

    /// The classifier's logits, one per class, for an `embedding` that is not normalised. Allocates nothing.
    ///
    /// # Errors
    /// No classifier, or a length does not fit.
    pub fn logits_into(&mut self, embedding: &[f32], logits: &mut [f32]) -> Result<()> {
        check_len(self.classes(), logits)?;
        check_len(self.embed_dim(), embedding)?;
        self.parts()?.classify(embedding, logits)
    }

    /// The shape of what [`encode`](Self::encode) gives for one image: vectors, and channels of each.
    ///
    /// # Errors
    /// The model has no class token.
    pub fn layer_shape(&self, layer: Layer) -> Result<(usize, usize)> {
        let width = self.sizes.tower.shape.width;
        match layer {
            Layer::Patch => {
                let (rows, columns) = self.grid();
                Ok((rows * columns, width))
            }
            Layer::Class if !self.config().vision.tower.has(feature::CLASS_TOKEN) => {
                Err(Error::ModelLacks { part: "class token", remedy: "ask for its other layers" })
            }
            Layer::Class | Layer::Pooled => Ok((1, width)),
            Layer::Projected => Ok((1, self.embed_dim())),
        }
    }

    /// Rows and columns of the patches of an image, in whose order [`Layer::Patch`] lists them; where every image has
    /// its own (NaFlex), those of the first frame.
    pub fn grid(&self) -> (usize, usize) {
        self.grids[0]
    }

    /// Height and width of the image that the model sees, in pixels.
    pub fn image_size(&self) -> (u32, u32) {
        (self.frame_spec().height, self.frame_spec().width)
    }

    /// How a picture becomes the frame that the model sees.
    pub fn frame_spec(&self) -> &FrameSpec {
        &self.sizes.frames.spec
    }

    /// Length of an embedding.
    pub fn embed_dim(&self) -> usize {
        self.sizes.embed_dim
    }

    /// Classes of the model's own classifier; 0 if it has none. [`File::labels`](crate::format::File::labels) names
    /// them.
    pub fn classes(&self) -> usize {
        self.sizes.classes
    }

    /// Most images at a time.
    pub fn batch(&self) -> usize {
        self.sizes.tower.shape.images
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// What the encoder runs on.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Every buffer of the encoder.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Where the time went since the encoder was made, or since the profile was cleared.
    pub fn profile_mut(&mut self) -> &mut Profile {
        &mut self.profile
    }

    pub(super) fn config(&self) -> &Config {
        self.model.config()
    }

    /// Bytes of the frame with this grid of patches.
    fn frame_len(&self, (rows, columns): (usize, usize)) -> usize {
        match self.sizes.frames.resize {
            Some(_) => self.sizes.frames.slot,
            None => rows * columns * self.config().vision.patch_values(),
        }
    }

    /// How many images `input` has.
    fn images_of(&self, input: &Input<'_>) -> Result<usize> {
        let fixed = self.sizes.frames.resize.is_some();
        match input {
            Input::Frames(images) => Ok(*images),
            Input::Planar(_) if !fixed => {
                Err(Error::ModelLacks { part: "fixed image size", remedy: "give it frames or patches" })
            }
            Input::Planar(pixels) => {
                let len = self.frame_spec().frame_len();
                if !pixels.len().is_multiple_of(len) {
                    return Err(unfit("not a whole number of images, in values of each", len, pixels.len()));
                }
                Ok(pixels.len() / len)
            }
            Input::Patches(patches, grid) => {
                let vision = &self.config().vision;
                if fixed {
                    return Err(no_patches());
                }
                let values = grid.0.saturating_mul(grid.1).saturating_mul(vision.patch_values());
                if values != patches.len() {
                    return Err(unfit("not the patches of the grid, in values", values, patches.len()));
                }
                self.check_patches(*grid)?;
                Ok(1)
            }
        }
    }

    /// Holds the number of patches of an image against the most that the model takes.
    fn check_patches(&self, grid: (usize, usize)) -> Result<()> {
        let (count, most) = (grid.0.saturating_mul(grid.1), self.config().vision.max_patches as usize);
        if !(1..=most).contains(&count) {
            return Err(unfit("the number of patches is not possible: 1 at least, and at most", most, count));
        }
        Ok(())
    }

    fn check_batch(&self, images: usize) -> Result<()> {
        let batch = self.batch();
        if !(1..=batch).contains(&images) {
            return Err(unfit("the encoder was not planned for so many images", batch, images));
        }
        Ok(())
    }

    /// Computes positions and rotations where every frame reads them.
    fn fill_positions(&mut self) {
        let (model, grid) = (Arc::clone(&self.model), self.sizes.frames.grid);
        let (Some(weights), Some(_)) = (model.vision(), self.sizes.frames.resize) else { return };
        let (config, buffers) = (&model.config().vision, self.buffers());
        position::fill(config, weights.position, grid, buffers.positions);
        let (cos, sin) = buffers.rotary;
        rope::fill(config, grid, cos, sin);
    }

    /// The buffers.
    pub(super) fn buffers(&mut self) -> ImageBuffers<'_> {
        self.sizes.lay_out(&mut Carver::new(self.arena.bytes_mut()))
    }

    /// The encoder's parts for one forward pass, borrowed apart from each other.
    pub(super) fn parts(&mut self) -> Result<Parts<'_>> {
        Ok(Parts {
            model: &self.model,
            config: self.model.config(),
            weights: self.model.vision().ok_or_else(no_vision)?,
            kernels: self.runtime.kernels(),
            team: self.runtime.hold()?,
            sizes: &self.sizes,
            orders: &mut self.orders,
            normalization: &self.normalization,
            resizer: &mut self.resizer,
            grids: &mut self.grids,
            profile: &mut self.profile,
            buffers: self.sizes.lay_out(&mut Carver::new(self.arena.bytes_mut())),
        })
    }
}

impl core::fmt::Debug for ImageEncoder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ImageEncoder")
            .field("runtime", &self.runtime)
            .field("arena", &self.plan.bytes())
            .finish_non_exhaustive()
    }
}
