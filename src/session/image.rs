//! Images through a session.

use super::buffers::Buffers;
use super::{Parts, Session, check_finite, check_len, forward};
use crate::error::{Error, Result};
use crate::format::{Bank, Pooling, feature};
use crate::preprocess::PixelView;
use crate::profile::Op;
use crate::score::{Scored, normalize, score};
use crate::vit::position::{self, rope::Rotations};
use crate::vit::{EncoderBuffers, Forward, ImageInput, Layer, Observer, Shape, Tap, Task, encode};

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
        let Parts { team, dimensions, resizer, profile, buffers, .. } = self.parts();
        let (Some(vision), Some(resizer)) = (&dimensions.vision, resizer) else { return Err(no_vision()) };
        let Buffers { frames, mut tables, rings, .. } = buffers;
        let frame_len = vision.frame.frame_len();
        let (height, row_len) = (vision.frame.height as usize, vision.frame.width as usize * 3);
        let threads = team.threads();
        for (image, frame) in images.iter().zip(frames.chunks_exact_mut(frame_len)) {
            profile.time(Op::Resize, 0, || {
                resizer.prepare(image, &mut tables)?;
                let (resizer, tables) = (&*resizer, &tables);
                let mut rest = frame;
                let parts =
                    rings.chunks_exact_mut(vision.resize.scratch_len()).enumerate().map(|(thread, ring)| {
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
        let Parts { dimensions, buffers, .. } = self.parts();
        let frame_len = dimensions.vision.as_ref().ok_or_else(no_vision)?.frame.frame_len();
        Ok(&buffers.frames[index * frame_len..][..frame_len])
    }

    /// Replaces the frame of image `index` by one that was preprocessed elsewhere, [height, width, 3].
    ///
    /// # Errors
    /// As [`frame`](Self::frame); or `pixels` has another size.
    pub fn set_frame(&mut self, index: usize, pixels: &[u8]) -> Result<()> {
        self.check_batch(index + 1)?;
        let Parts { dimensions, buffers, .. } = self.parts();
        let frame_len = dimensions.vision.as_ref().ok_or_else(no_vision)?.frame.frame_len();
        if pixels.len() != frame_len {
            return Err(Error::Message(std::format!(
                "a frame of {} bytes; the model's has {frame_len}",
                pixels.len()
            )));
        }
        buffers.frames[index * frame_len..][..frame_len].copy_from_slice(pixels);
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
            Layer::Patch => Ok((vision.grid.0 * vision.grid.1, width)),
            Layer::Class if !self.config.vision.tower.has(feature::CLASS_TOKEN) => {
                Err(Error::Message("this model has no class token".into()))
            }
            Layer::Class | Layer::Pooled => Ok((1, width)),
            Layer::Projected => Ok((1, self.dimensions.embed_dim)),
        }
    }

    /// Rows and columns of the patches of an image, in whose order [`Layer::Patch`] lists them.
    ///
    /// # Errors
    /// No image tower.
    pub fn grid(&self) -> Result<(usize, usize)> {
        self.dimensions.vision.as_ref().map(|vision| vision.grid).ok_or_else(no_vision)
    }

    /// Height and width of the image that the model sees, in pixels.
    ///
    /// # Errors
    /// No image tower.
    pub fn image_size(&self) -> Result<(u32, u32)> {
        let vision = self.dimensions.vision.as_ref().ok_or_else(no_vision)?;
        Ok((vision.frame.height, vision.frame.width))
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

    fn encode(
        &mut self,
        source: Source<'_>,
        layer: Layer,
        out: &mut [f32],
        observer: Option<Observer<'_>>,
        tap: Option<Tap<'_>>,
    ) -> Result<()> {
        let images = match (&source, &self.dimensions.vision) {
            (Source::Frames(images), _) => *images,
            (_, None) => return Err(no_vision()),
            (Source::Planar(pixels), Some(vision)) => {
                let len = vision.frame.frame_len();
                if !pixels.len().is_multiple_of(len) {
                    return Err(Error::Message(std::format!(
                        "{} values are no images of {len} each",
                        pixels.len()
                    )));
                }
                pixels.len() / len
            }
        };
        self.check_batch(images)?;
        let (vectors, channels) = self.layer_shape(layer)?;
        check_len(images * vectors * channels, out)?;
        encode_images(self.parts(), source, layer, out, observer, tap)
    }

    fn check_batch(&self, images: usize) -> Result<()> {
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
        if let (Some(weights), Some(vision)) = (vision, &dimensions.vision) {
            position::fill(&config.vision, weights.position, vision.grid, buffers.positions);
            let (cos, sin) = buffers.rotary;
            position::rope::fill(&config.vision, vision.grid, cos, sin);
        }
    }
}

/// Runs the image tower.
pub(super) fn encode_images(
    parts: Parts<'_, '_>,
    source: Source<'_>,
    layer: Layer,
    out: &mut [f32],
    observer: Option<Observer<'_>>,
    tap: Option<Tap<'_>>,
) -> Result<()> {
    let (Some(weights), Some(vision)) = (parts.vision, &parts.dimensions.vision) else {
        return Err(no_vision());
    };
    let config = &parts.config.vision;
    let (height, width) = (vision.frame.height as usize, vision.frame.width as usize);
    let patch = config.patch as usize;
    let frame_len = vision.frame.frame_len();
    let input = match source {
        Source::Frames(images) => {
            let frames = &parts.buffers.frames[..images * frame_len];
            ImageInput::Frames { frames, height, width, patch, levels: parts.levels }
        }
        Source::Planar(pixels) => ImageInput::Planar { pixels, height, width, patch },
    };
    let shape = Shape { images: input.images(), ..vision.shape };
    let mut forward = forward!(parts, tap);
    let Buffers { x, work, pooled, positions, rotary: (cos, sin), .. } = parts.buffers;
    let task = Task {
        positions,
        rotations: Rotations::new(config, cos, sin),
        pooling: Pooling::from_stored(config.tower.pooling).unwrap_or(Pooling::Class),
        layer,
    };
    let buffers = EncoderBuffers { x, work, pooled, out: &mut *out };
    encode(&mut forward, weights, &shape, &input, &task, buffers, observer);
    check_finite(out)
}

/// What to encode.
pub(super) enum Source<'a> {
    /// The session's first frames.
    Frames(usize),
    /// Normalised pixels.
    Planar(&'a [f32]),
}

pub(super) fn no_vision() -> Error {
    Error::Message("this session has no image tower".into())
}
