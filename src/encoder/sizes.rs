//! From a model's configuration to the sizes of an encoder.

use super::buffers::{FrameSizes, ImageSizes, TowerSizes};
use super::options::ImageOptions;
use crate::error::{Error, Result};
use crate::format::{
    Act, Config, Interpolation, Merging, Position, PreprocessConfig, TEXT_ROWS, TEXTS_AT_ONCE, TowerConfig,
    VisionConfig, feature,
};
use crate::model::{Block, Linear, Projection, TextWeights, VisionWeights};
use crate::nn::{MergePlan, Shape, activation, rope};
use crate::preprocess::{FrameSpec, MAX_SIDE, ResizePlan, naflex};
use crate::runtime::Runtime;
use crate::vision::head_shape;
use crate::vision::position::pyramid;
use ocelli_kernels::{Kernels, LhsFormat};
use std::vec::Vec;

/// An image has fewer patches than this.
const MAX_TOKENS: u32 = 65536;

/// The sizes of an image encoder.
pub(super) fn of_images(
    config: &Config,
    weights: &VisionWeights<'_>,
    runtime: &Runtime,
    options: &ImageOptions,
) -> Result<ImageSizes> {
    let vision = &config.vision;
    let frames = frames(config, options)?;
    let (rows, columns) = frames.grid;
    let shape = shape(&vision.tower, options.batch, vision.prefix_tokens as usize + rows * columns, false)?;
    let mut operands = Operands { kernels: runtime.kernels(), list: Vec::new() };
    let patches = shape.images * rows * columns;
    operands.add(patches, Some(&weights.patch_embed));
    let mut sizes = TowerSizes::of(shape, runtime);
    if let Some([square, four]) = &weights.patch_stem {
        operands.add(16 * patches, Some(square));
        operands.add(4 * patches, Some(four));
        sizes.work = sizes.work.max(16 * patches * square.weights.n());
    }
    operands.add_tower(&shape, &weights.blocks, &weights.projection);
    if let Some(head) = &weights.head {
        operands.add(shape.images * shape.tokens, Some(&head.kv));
        for linear in [&head.out, &head.fc1, &head.fc2] {
            operands.add(2 * shape.images, Some(linear));
        }
        let head = head_shape(head, &shape);
        sizes.work = sizes.work.max(head.work_len());
        sizes.scratch = sizes.scratch.max(head.attention_scratch());
    }
    operands.add(1, weights.classifier.as_ref());
    let merge = merge_plan(vision, options, rows * columns)?;
    if let Some(plan) = &merge {
        operands.list.push((plan.even(), LhsFormat::F32, shape.head_dim));
    }
    Ok(ImageSizes {
        merge,
        tower: TowerSizes { operands: operands.list, ..sizes },
        frames,
        rotary: rope::table_len(vision, rows * columns),
        levels: if is_pyramid(vision) { pyramid::levels_len(vision) } else { 0 },
        embed_dim: config.score.embed_dim as usize,
        classes: config.score.classes as usize,
    })
}

/// The sizes of a text encoder: as many tokens as the longest text has, or [`TEXT_ROWS`], in up to [`TEXTS_AT_ONCE`] texts.
pub(super) fn of_text(config: &Config, weights: &TextWeights<'_>, runtime: &Runtime) -> Result<TowerSizes> {
    let longest = config.text.context as usize;
    let tokens = longest.max(TEXT_ROWS).div_ceil(TEXTS_AT_ONCE);
    let shape = shape(&config.text.tower, TEXTS_AT_ONCE, tokens, config.text.causal != 0)?;
    let mut operands = Operands { kernels: runtime.kernels(), list: Vec::new() };
    operands.add_tower(&shape, &weights.blocks, &weights.projection);
    let scratch = Shape { tokens: longest, ..shape }.attention_scratch();
    Ok(TowerSizes { operands: operands.list, scratch, ..TowerSizes::of(shape, runtime) })
}

impl TowerSizes {
    /// What the blocks need, without the operands.
    fn of(shape: Shape, runtime: &Runtime) -> TowerSizes {
        TowerSizes {
            shape,
            work: shape.work_len(),
            scratch: shape.attention_scratch(),
            operands: Vec::new(),
            orders: 0,
            threads: runtime.threads(),
        }
    }
}

/// Collects the left operands of all GEMMs.
struct Operands<'k> {
    kernels: &'k Kernels,
    list: Vec<(usize, LhsFormat, usize)>,
}

impl Operands<'_> {
    fn add(&mut self, rows: usize, linear: Option<&Linear<'_>>) {
        let operand =
            |linear: &Linear<'_>| (rows, self.kernels.lhs_format(&linear.weights), linear.weights.k());
        self.list.extend(linear.map(operand));
    }

    fn add_tower(&mut self, shape: &Shape, blocks: &[Block<'_>], projection: &Projection<'_>) {
        for block in blocks {
            for linear in [&block.qkv, &block.out, &block.fc1, &block.fc2] {
                // And the remainders of one token of each.
                self.add(shape.images * (shape.tokens + 1), Some(linear));
            }
        }
        projection.layers().for_each(|linear| self.add(2 * shape.images, Some(linear)));
    }
}

/// How the tokens of images of `patches` patches are merged, if they are.
fn merge_plan(vision: &VisionConfig, options: &ImageOptions, patches: usize) -> Result<Option<MergePlan>> {
    let merging = options.merging.unwrap_or(Merging::of(&vision.tower));
    if merging.is_none() {
        return Ok(None);
    }
    if let Some(remedy) = vision.no_merging() {
        return Err(Error::ModelLacks { part: "merging of tokens", remedy });
    }
    Ok(Some(MergePlan {
        merging,
        patches: (patches, vision.patches()),
        prefix: vision.prefix_tokens as usize,
        depth: vision.tower.depth as usize,
    }))
}

fn is_pyramid(vision: &VisionConfig) -> bool {
    vision.position == Position::ScaledAverage as u32
}

/// How pictures become the frames that the model sees, and what that takes.
pub(super) fn frames(config: &Config, options: &ImageOptions) -> Result<FrameSizes> {
    let vision = &config.vision;
    if vision.max_patches > 0 {
        return naflex_frames(config, options);
    }
    if is_pyramid(vision) && options.image_size.is_some() {
        return Err(Error::ModelLacks {
            part: "other image size",
            remedy: "it sees an image pyramid, whose sizes cannot be changed",
        });
    }
    let (height, width) = options.image_size.unwrap_or((vision.height, vision.width));
    let grid = if is_pyramid(vision) { (1, pyramid::count(vision)) } else { grid(vision, height, width)? };
    let preprocess = PreprocessConfig { shortest: config.shortest(height, width), ..config.preprocess };
    let spec = FrameSpec::new(&preprocess, height, width)?;
    let resize = ResizePlan::new(spec, MAX_SIDE)?;
    Ok(FrameSizes { spec, resize: Some(resize), memory: resize.memory(), slot: spec.frame_len(), grid })
}

/// Room for the most patches that an image may have, however they lie.
fn naflex_frames(config: &Config, options: &ImageOptions) -> Result<FrameSizes> {
    let vision = &config.vision;
    if options.image_size.is_some() {
        return Err(Error::ModelLacks {
            part: "image size",
            remedy: "it keeps the aspect ratio of every image",
        });
    }
    let spec = FrameSpec::new(&config.preprocess, vision.height, vision.width)?;
    let patches = vision.max_patches as usize;
    Ok(FrameSizes {
        spec,
        resize: None,
        memory: naflex::memory(spec.filter, vision.patch, vision.max_patches),
        slot: patches * vision.patch_values(),
        // Until the first image says otherwise.
        grid: (1, patches),
    })
}

/// Rows and columns of patches in an image of `height` × `width`; pixels that do not fill a patch are left out.
fn grid(vision: &VisionConfig, height: u32, width: u32) -> Result<(usize, usize)> {
    let wrong = |problem: &str| Err(Error::ImageSize { size: (height, width), problem: problem.into() });
    if height.max(width) > MAX_SIDE {
        return wrong(&std::format!("at most {MAX_SIDE} pixels per side are possible"));
    }
    let (rows, columns) = (height / vision.patch, width / vision.patch);
    if rows == 0 || columns == 0 {
        return wrong(&std::format!("smaller than a patch of {} pixels", vision.patch));
    }
    if rows * columns >= MAX_TOKENS {
        return wrong(&std::format!("{} patches; fewer than {MAX_TOKENS} are possible", rows * columns));
    }
    let fixed = vision.interpolation == Interpolation::Fixed as u32;
    if fixed && (rows, columns) != (vision.grid_rows, vision.grid_cols) {
        return wrong("this model cannot run at another size than its own");
    }
    Ok((rows as usize, columns as usize))
}

fn shape(tower: &TowerConfig, images: usize, tokens: usize, causal: bool) -> Result<Shape> {
    let found = f64::from(tower.act);
    let act = Act::from_stored(tower.act).ok_or(Error::Config {
        field: "tower.act",
        expected: "an activation that this version knows",
        found,
    })?;
    Ok(Shape {
        images,
        tokens,
        width: tower.width as usize,
        heads: tower.heads as usize,
        head_dim: tower.head_dim as usize,
        mlp_width: tower.mlp_width as usize,
        gated: tower.has(feature::GATED_MLP),
        act: activation(act),
        eps: tower.norm_eps,
        causal,
        alibi: tower.has(feature::ALIBI),
        post_norm: tower.has(feature::POST_NORM),
        project_hidden: tower.project_hidden as usize,
    })
}
