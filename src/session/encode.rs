//! The image tower on what a session was given: frames, pixels or patches.

use super::buffers::Buffers;
use super::image::no_vision;
use super::{Parts, Session, check_finite, check_len, forward};
use crate::error::{Error, Result};
use crate::format::Pooling;
use crate::nn::rope::Rotations;
use crate::nn::{Forward, Observer, Shape, Stage, Tap};
use crate::preprocess::Levels;
use crate::vision::{EncoderBuffers, ImageInput, Layer, Task, encode, position};

/// What to encode.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    /// The session's first frames.
    Frames(usize),
    /// Normalised pixels.
    Planar(&'a [f32]),
    /// Normalised patches of one image, and their grid.
    Patches(&'a [f32], (usize, usize)),
}

impl Session<'_> {
    /// Runs the image tower on `source` and writes the vectors of `layer` to `out`, not normalised.
    pub(super) fn encode(
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
            (Source::Patches(patches, grid), Some(vision)) => {
                let patch_values = self.config.vision.patch_values();
                if vision.resize.is_some() || grid.0 * grid.1 * patch_values != patches.len() {
                    let message = "not the patches of one image, or this model takes whole images";
                    return Err(Error::Message(message.into()));
                }
                if grid.0 * grid.1 > self.config.vision.max_patches as usize {
                    let most = self.config.vision.max_patches;
                    return Err(Error::Message(std::format!(
                        "{grid:?} patches; at most {most} are possible"
                    )));
                }
                1
            }
            (Source::Planar(_), Some(vision)) if vision.resize.is_none() => {
                let message = "this model's images have no fixed size: give it patches";
                return Err(Error::Message(message.into()));
            }
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
        if layer == Layer::Patch && images > 1 && self.config.vision.max_patches > 0 {
            let message =
                "patches of one image at a time: every image of this model has its own number of them";
            return Err(Error::Message(message.into()));
        }
        check_len(images * vectors * channels, out)?;
        encode_images(self.parts(), source, layer, out, observer, tap)
    }
}

/// Runs the image tower.
pub(super) fn encode_images(
    parts: Parts<'_, '_>,
    source: Source<'_>,
    layer: Layer,
    out: &mut [f32],
    mut observer: Option<Observer<'_>>,
    tap: Option<Tap<'_>>,
) -> Result<()> {
    let (Some(weights), Some(vision)) = (parts.vision, &parts.dimensions.vision) else {
        return Err(no_vision());
    };
    let config = &parts.config.vision;
    let patch = config.patch as usize;
    let pooling = Pooling::from_stored(config.tower.pooling).unwrap_or(Pooling::Class);
    let mut forward = forward!(parts, tap);
    let Buffers { frames, levels, x, work, pooled, positions, rotary: (cos, sin), .. } = parts.buffers;
    let observed = observer.is_some();
    let mut relay = |stage: Stage, values: &[f32]| {
        if let Some(observer) = &mut observer {
            observer(stage, values);
        }
    };
    let mut run = |input: ImageInput<'_>, images, tokens: usize, positions: &[f32], out: &mut [f32]| {
        let shape = Shape { images, tokens, ..vision.shape };
        let task = Task { positions, rotations: Rotations::new(config, cos, sin), pooling, layer };
        let buffers = EncoderBuffers { x: &mut *x, work: &mut *work, pooled: &mut *pooled, out };
        let observer: Option<Observer<'_>> = if observed { Some(&mut relay) } else { None };
        encode(&mut forward, weights, &shape, &input, &task, buffers, observer);
    };
    let (height, width) = (vision.frame.height as usize, vision.frame.width as usize);
    match source {
        _ if vision.resize.is_none() => {
            // Every image has a grid, and so positions, of its own.
            let images = if let Source::Frames(images) = source { images } else { 1 };
            let of_image = out.len() / images;
            for (i, out) in out.chunks_exact_mut(of_image).enumerate() {
                let frame = &frames[i * vision.slot..][..vision.slot];
                let grid = if let Source::Patches(_, grid) = source { grid } else { parts.grids[i] };
                let tokens = config.prefix_tokens as usize + grid.0 * grid.1;
                let positions = &mut positions[..tokens * config.tower.width as usize];
                position::fill(config, weights.position, grid, positions);
                let input = match source {
                    Source::Patches(patches, _) => ImageInput::Patches { patches },
                    _ => {
                        let (height, width) = (grid.0 * patch, grid.1 * patch);
                        let frames = &frame[..3 * height * width];
                        ImageInput::Frames { frames, height, width, patch, levels: parts.levels }
                    }
                };
                run(input, 1, tokens, positions, out);
            }
        }
        Source::Frames(_) | Source::Planar(_) if vision.levels > 0 => {
            let images = match source {
                Source::Planar(pixels) => pixels.len() / (3 * height * width),
                Source::Frames(images) => images,
                Source::Patches(..) => 0,
            };
            let levels = &mut levels[..images * vision.levels];
            for (i, levels) in levels.chunks_exact_mut(vision.levels).enumerate() {
                let (len, finest) = (3 * height * width, &mut levels[..3 * height * width]);
                match source {
                    Source::Planar(pixels) => channels_last(&pixels[i * len..][..len], finest),
                    _ => normalize_frame(&frames[i * len..][..len], parts.levels, finest),
                }
                position::pyramid::resize_levels(config, levels);
            }
            run(ImageInput::Pyramid { levels, config }, images, vision.shape.tokens, positions, out);
        }
        Source::Frames(images) => {
            let frames = &frames[..images * vision.slot];
            let input = ImageInput::Frames { frames, height, width, patch, levels: parts.levels };
            run(input, images, vision.shape.tokens, positions, out);
        }
        Source::Planar(pixels) => {
            let images = pixels.len() / (3 * height * width);
            let input = ImageInput::Planar { pixels, height, width, patch };
            run(input, images, vision.shape.tokens, positions, out);
        }
        Source::Patches(..) => return Err(no_vision()),
    }
    check_finite(out)
}

/// `pixels`, [3, height, width], as [height, width, 3].
fn channels_last(pixels: &[f32], out: &mut [f32]) {
    let plane = pixels.len() / 3;
    for (i, rgb) in out.chunks_exact_mut(3).enumerate() {
        rgb.iter_mut().enumerate().for_each(|(channel, value)| *value = pixels[channel * plane + i]);
    }
}

/// The normalised values of a frame of levels.
fn normalize_frame(frame: &[u8], levels: &Levels, out: &mut [f32]) {
    for (pixel, rgb) in frame.chunks_exact(3).zip(out.chunks_exact_mut(3)) {
        for channel in 0..3 {
            rgb[channel] = levels[channel][usize::from(pixel[channel])];
        }
    }
}
