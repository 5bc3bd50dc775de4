//! Pictures to frames: by an encoder's own threads, or by a [`Preprocessor`] beside it.

use super::buffers::FrameSizes;
use super::{ImageOptions, sizes, unfit};
use crate::error::{Error, Result};
use crate::format::VisionConfig;
use crate::model::Model;
use crate::preprocess::{FrameSpec, PixelView, ResizePlan, Resizer, Tables, Window, naflex};
use crate::runtime::{Divisible, Team};
use bytemuck::Zeroable;
use ocelli_kernels::{Isa, Kernels};
use std::vec;
use std::vec::Vec;

/// A picture as a model sees it, before normalisation.
#[derive(Clone, Debug)]
pub struct Frame {
    pub(super) pixels: Vec<u8>,
    /// Rows and columns of patches.
    pub(super) grid: (usize, usize),
    pub(super) len: usize,
}

impl Frame {
    /// [height, width, 3] bytes, red first.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels[..self.len]
    }

    /// Rows and columns of patches.
    pub fn grid(&self) -> (usize, usize) {
        self.grid
    }
}

/// Makes frames for a model on the calling thread, with memory of its own: so that the next picture can be preprocessed
/// while an [`ImageEncoder`](super::ImageEncoder) works on the one before.
pub struct Preprocessor {
    config: VisionConfig,
    kernels: Kernels,
    sizes: FrameSizes,
    resizer: Option<Resizer>,
    coefficients: Vec<i32>,
    windows: Vec<Window>,
    ring: Vec<u8>,
}

impl Preprocessor {
    /// Takes all memory. Of `options` the image size and the limits count; `isa` chooses the kernels.
    ///
    /// # Errors
    /// The model has no image tower, or `options` don't fit it.
    pub fn new(model: &Model, isa: Isa, options: &ImageOptions) -> Result<Preprocessor> {
        options.check(model.config(), 1)?;
        let sizes = sizes::frames(model.config(), options)?;
        Ok(Preprocessor::of(model.config().vision, Kernels::new(isa), sizes))
    }

    /// Takes all memory for frames of these sizes.
    pub(super) fn of(config: VisionConfig, kernels: Kernels, sizes: FrameSizes) -> Preprocessor {
        Preprocessor {
            config,
            kernels,
            resizer: sizes.resize.map(|plan| Resizer::new(plan, kernels)),
            coefficients: vec![0; sizes.memory.coefficients],
            windows: vec![Window::zeroed(); sizes.memory.windows],
            ring: vec![0; sizes.memory.scratch],
            sizes,
        }
    }

    /// How a picture becomes a frame.
    pub fn frame_spec(&self) -> &FrameSpec {
        &self.sizes.spec
    }

    /// A black frame with room for every picture.
    pub fn frame(&self) -> Frame {
        let FrameSizes { slot, grid, .. } = self.sizes;
        Frame { pixels: vec![0; slot], grid, len: slot }
    }

    /// Makes the frame of `image`. Allocates nothing if `frame` was made by [`frame`](Self::frame).
    ///
    /// # Errors
    /// A picture with a side of more than 65,535 pixels.
    pub fn preprocess(&mut self, image: &PixelView<'_>, frame: &mut Frame) -> Result<()> {
        let Preprocessor { config, kernels, sizes, resizer, coefficients, windows, ring } = self;
        frame.pixels.resize(sizes.slot, 0);
        let (resizer, spec) = resizer_for(kernels, config, sizes, resizer, image, &mut frame.grid)?;
        let mut tables = Tables { coefficients, windows };
        resizer.prepare(image, &mut tables)?;
        frame.len = spec.frame_len();
        let rows = 0..spec.height as usize;
        resizer.resize_rows(image, &tables, rows, ring, &mut frame.pixels[..frame.len])
    }
}

impl core::fmt::Debug for Preprocessor {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Preprocessor").field("frame", &self.sizes.spec).finish_non_exhaustive()
    }
}

/// Makes the frame of `image` in `slot` on all threads of `team`, each with its part of `rings`; `grid` becomes that of
/// its patches.
#[expect(clippy::too_many_arguments, reason = "a picture, its frame, and the memory between them")]
pub(super) fn preprocess(
    team: &mut Team,
    kernels: &Kernels,
    config: &VisionConfig,
    sizes: &FrameSizes,
    resizer: &mut Option<Resizer>,
    tables: &mut Tables<'_>,
    rings: &mut [u8],
    image: &PixelView<'_>,
    slot: &mut [u8],
    grid: &mut (usize, usize),
) -> Result<()> {
    let threads = team.threads();
    let (resizer, spec) = resizer_for(kernels, config, sizes, resizer, image, grid)?;
    resizer.prepare(image, tables)?;
    let (resizer, tables) = (&*resizer, &*tables);
    let (height, row_len) = (spec.height as usize, spec.width as usize * 3);
    // Rows of the picture that two pieces read are resized for each: no smaller pieces than needed.
    let frame = &mut slot[..height * row_len];
    let rows = Divisible::new(height, height.div_ceil(threads), frame, |frame, rows, at| {
        frame.split_at_mut((at - rows.start) * row_len)
    });
    team.divide(rows, rings.chunks_exact_mut(sizes.memory.scratch), |rows, frame, ring| {
        resizer.resize_rows(image, tables, rows, ring, frame).expect("prepared for this image");
    });
    Ok(())
}

/// The resizer for `image`, and the frame that it makes; `grid` becomes that of the frame's patches.
fn resizer_for<'r>(
    kernels: &Kernels,
    config: &VisionConfig,
    sizes: &FrameSizes,
    resizer: &'r mut Option<Resizer>,
    image: &PixelView<'_>,
    grid: &mut (usize, usize),
) -> Result<(&'r mut Resizer, FrameSpec)> {
    let mut spec = sizes.spec;
    *grid = sizes.grid;
    if sizes.resize.is_none() {
        *grid = naflex::fit(image.width(), image.height(), config.patch, config.max_patches);
        (spec.height, spec.width) = (grid.0 as u32 * config.patch, grid.1 as u32 * config.patch);
        if !resizer.as_ref().is_some_and(|resizer| resizer.is_for(&spec, image)) {
            let plan = ResizePlan::for_picture(spec, image.width(), image.height())?;
            let (needed, room) = (plan.memory().scratch, sizes.memory.scratch);
            if needed > room {
                return Err(unfit("resizing takes more memory than was planned, in bytes", room, needed));
            }
            *resizer = Some(Resizer::new(plan, *kernels));
        }
    }
    let none = || Error::Message("no resizer was planned".into());
    Ok((resizer.as_mut().ok_or_else(none)?, spec))
}
