//! Images through a session.

use super::buffers::Buffers;
use super::{Parts, Session, check_finite, forward};
use crate::error::{Error, Result};
use crate::format::Bank;
use crate::preprocess::PixelView;
use crate::profile::Op;
use crate::score::{Scored, normalize, score};
use crate::vit::{EncoderBuffers, Forward, ImageInput, Observer, Shape, Tap, encode};

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
        self.encode(Source::Frames(images), out, None, None)
    }

    /// The same, with what every GEMM reads shown to `tap`.
    ///
    /// # Errors
    /// As [`embed_batch_into`](Self::embed_batch_into).
    pub fn tap_frames(&mut self, images: usize, out: &mut [f32], tap: Tap<'_>) -> Result<()> {
        self.encode(Source::Frames(images), out, None, Some(tap))
    }

    /// Embeds already normalised pixels, [images, 3, height, width] (red first), into `out`, not normalised.
    ///
    /// # Errors
    /// As [`embed_batch_into`](Self::embed_batch_into); or `pixels` is no whole number of images.
    pub fn embed_pixels_into(&mut self, pixels: &[f32], out: &mut [f32]) -> Result<()> {
        self.encode(Source::Planar(pixels), out, None, None)
    }

    /// [`embed_pixels_into`](Self::embed_pixels_into) with every stage shown to `observer`. The last block then
    /// carries all tokens, which the plain call skips; the embedding is the same.
    ///
    /// # Errors
    /// As [`embed_pixels_into`](Self::embed_pixels_into).
    pub fn trace_pixels(&mut self, pixels: &[f32], out: &mut [f32], observer: Observer<'_>) -> Result<()> {
        self.encode(Source::Planar(pixels), out, Some(observer), None)
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
        encode_images(parts, Source::Frames(1), embedding, None, None)?;
        normalize(embedding);
        score(&config.score, embedding, bank, out);
        Ok(())
    }

    fn encode(
        &mut self,
        source: Source<'_>,
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
        self.check_out(images, out)?;
        encode_images(self.parts(), source, out, observer, tap)
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

    pub(super) fn check_out(&self, rows: usize, out: &[f32]) -> Result<()> {
        let expected = rows * self.dimensions.embed_dim;
        if out.len() != expected {
            return Err(Error::Message(std::format!(
                "room for {} values; {expected} are written",
                out.len()
            )));
        }
        Ok(())
    }

    /// Copies the position table to where every frame adds it from.
    pub(super) fn fill_positions(&mut self) {
        let Parts { vision, dimensions, buffers, .. } = self.parts();
        if let (Some(weights), Some(vision)) = (vision, &dimensions.vision) {
            for (i, row) in buffers.positions.chunks_exact_mut(vision.shape.width).enumerate() {
                if let Some(position) = &weights.position {
                    position.row_into(i, row);
                }
            }
        }
    }
}

/// Runs the image tower.
fn encode_images(
    parts: Parts<'_, '_>,
    source: Source<'_>,
    out: &mut [f32],
    observer: Option<Observer<'_>>,
    tap: Option<Tap<'_>>,
) -> Result<()> {
    let (Some(weights), Some(vision)) = (parts.vision, &parts.dimensions.vision) else {
        return Err(no_vision());
    };
    let (height, width) = (vision.frame.height as usize, vision.frame.width as usize);
    let patch = parts.config.vision.patch as usize;
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
    let Buffers { x, work, pooled, positions, .. } = parts.buffers;
    let buffers = EncoderBuffers { x, work, pooled, out: &mut *out };
    encode(&mut forward, weights, &shape, &input, positions, buffers, observer);
    check_finite(out)
}

/// What to encode.
enum Source<'a> {
    /// The session's first frames.
    Frames(usize),
    /// Normalised pixels.
    Planar(&'a [f32]),
}

fn no_vision() -> Error {
    Error::Message("this session has no image tower".into())
}
