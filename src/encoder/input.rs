//! What an image encoder starts from, and the image tower on it.
use ocelli_kernels::Remainders;

use super::buffers::{ImageBuffers, TowerBuffers};
use super::check_finite;
use super::parts::Parts;
use crate::error::{Error, Result};
use crate::format::Pooling;
use crate::nn::rope::Rotations;
use crate::nn::{Forward, Merger, Observer, Shape, Stage, Tap};
use crate::preprocess::NormalizationTable;
use crate::vision::{EncoderBuffers, ImageInput, Layer, Task, encode, position};

/// What to encode.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// So many of the encoder's frames, from the first.
    Frames(usize),
    /// Normalised pixels, [images, 3, height, width], red first.
    Planar(&'a [f32]),
    /// Normalised patches of one image of a model without a fixed image size (NaFlex), [rows · columns, patch² · 3] along
    /// the rows of the grid (rows, columns), channel last in each.
    Patches(&'a [f32], (usize, usize)),
}

/// Who looks on while an encoder works.
#[derive(Default)]
pub struct Watch<'w> {
    /// Is shown the tensors of every stage.
    pub observer: Option<Observer<'w>>,
    /// Is shown what every GEMM multiplies.
    pub tap: Option<Tap<'w>>,
}

impl<'w> Watch<'w> {
    /// `observer` alone.
    pub fn stages(observer: Observer<'w>) -> Watch<'w> {
        Watch { observer: Some(observer), tap: None }
    }

    /// `tap` alone.
    pub fn operands(tap: Tap<'w>) -> Watch<'w> {
        Watch { observer: None, tap: Some(tap) }
    }
}

impl core::fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Watch")
            .field("observer", &self.observer.is_some())
            .field("tap", &self.tap.is_some())
            .finish()
    }
}

impl Parts<'_> {
    /// Runs the image tower on `input`, which fits it, and writes the vectors of `layer` to `out`, not normalised.
    pub(super) fn encode(
        mut self,
        input: Input<'_>,
        layer: Layer,
        out: &mut [f32],
        watch: Watch<'_>,
    ) -> Result<()> {
        let (weights, sizes) = (self.weights, &self.sizes.frames);
        let (largest, pyramid_len) = (self.sizes.tower.shape, self.sizes.levels);
        let config = &self.config.vision;
        let patch = config.patch as usize;
        let pooling = Pooling::from_stored(config.tower.pooling).unwrap_or(Pooling::Class);
        let ImageBuffers { frames, levels, positions, rotary: (cos, sin), mut merge, tower, .. } =
            self.buffers;
        // Patches have to stay apart to be asked for.
        let plan = self.sizes.merge.filter(|_| layer != Layer::Patch);
        let TowerBuffers { x, work, pooled, rows, orders, scratch } = tower;
        let mut observer = watch.observer;
        let mut forward = Forward {
            tap: watch.tap,
            kernels: self.kernels,
            team: &mut self.team,
            profile: self.profile,
            scratch,
            rows,
            orders: (self.orders, orders),
            remainders: Remainders::default(),
        };

        let observed = observer.is_some();
        let mut relay = |stage: Stage, values: &[f32]| {
            if let Some(observer) = &mut observer {
                observer(stage, values);
            }
        };
        let mut run = |input: ImageInput<'_>, images, tokens: usize, positions: &[f32], out: &mut [f32]| {
            let shape = Shape { images, tokens, ..largest };
            let task = Task { positions, rotations: Rotations::new(config, cos, sin), pooling, layer };
            let merger = plan.map(|plan| Merger::new(plan, merge.reborrow()));
            let buffers = EncoderBuffers { x: &mut *x, work: &mut *work, pooled: &mut *pooled, out, merger };
            let observer: Option<Observer<'_>> = if observed { Some(&mut relay) } else { None };
            encode(&mut forward, weights, &shape, &input, &task, buffers, observer);
        };
        let (height, width) = (sizes.spec.height as usize, sizes.spec.width as usize);
        match input {
            _ if sizes.resize.is_none() => {
                // Every image has a grid, and so positions, of its own.
                let images = if let Input::Frames(images) = input { images } else { 1 };
                let of_image = out.len() / images;
                for (i, out) in out.chunks_exact_mut(of_image).enumerate() {
                    let frame = &frames[i * sizes.slot..][..sizes.slot];
                    let grid = if let Input::Patches(_, grid) = input { grid } else { self.grids[i] };
                    let tokens = config.prefix_tokens as usize + grid.0 * grid.1;
                    let positions = &mut positions[..tokens * config.tower.width as usize];
                    position::fill(config, weights.position, grid, positions);
                    let input = match input {
                        Input::Patches(patches, _) => ImageInput::Patches { patches },
                        _ => {
                            let (height, width) = (grid.0 * patch, grid.1 * patch);
                            let frames = &frame[..3 * height * width];
                            ImageInput::Frames {
                                frames,
                                height,
                                width,
                                patch,
                                normalization: self.normalization,
                            }
                        }
                    };
                    run(input, 1, tokens, positions, out);
                }
            }
            Input::Frames(_) | Input::Planar(_) if pyramid_len > 0 => {
                let images = match input {
                    Input::Planar(pixels) => pixels.len() / (3 * height * width),
                    Input::Frames(images) => images,
                    Input::Patches(..) => 0,
                };
                let levels = &mut levels[..images * pyramid_len];
                for (i, levels) in levels.chunks_exact_mut(pyramid_len).enumerate() {
                    let (len, finest) = (3 * height * width, &mut levels[..3 * height * width]);
                    match input {
                        Input::Planar(pixels) => channels_last(&pixels[i * len..][..len], finest),
                        _ => normalize_frame(&frames[i * len..][..len], self.normalization, finest),
                    }
                    position::pyramid::resize_levels(config, levels);
                }
                run(ImageInput::Pyramid { levels, config }, images, largest.tokens, positions, out);
            }
            Input::Frames(images) => {
                let frames = &frames[..images * sizes.slot];
                let input =
                    ImageInput::Frames { frames, height, width, patch, normalization: self.normalization };
                run(input, images, largest.tokens, positions, out);
            }
            Input::Planar(pixels) => {
                let images = pixels.len() / (3 * height * width);
                let input = ImageInput::Planar { pixels, height, width, patch };
                run(input, images, largest.tokens, positions, out);
            }
            Input::Patches(..) => {
                return Err(no_patches());
            }
        }
        check_finite(out)
    }
}

/// Of a model whose images have a fixed size.
pub(super) fn no_patches() -> Error {
    Error::ModelLacks { part: "input for patches", remedy: "give it whole images" }
}

/// `pixels`, [3, height, width], as [height, width, 3].
fn channels_last(pixels: &[f32], out: &mut [f32]) {
    let plane = pixels.len() / 3;
    for (i, rgb) in out.chunks_exact_mut(3).enumerate() {
        rgb.iter_mut().enumerate().for_each(|(channel, value)| *value = pixels[channel * plane + i]);
    }
}

/// The normalised values of a frame of bytes.
fn normalize_frame(frame: &[u8], table: &NormalizationTable, out: &mut [f32]) {
    for (pixel, rgb) in frame.chunks_exact(3).zip(out.chunks_exact_mut(3)) {
        for channel in 0..3 {
            rgb[channel] = table[channel][usize::from(pixel[channel])];
        }
    }
}
