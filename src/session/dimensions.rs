//! From a model's configuration to the sizes of a session.

use super::Options;
use super::buffers::{Dimensions, VisionDimensions};
use crate::error::{Error, Result};
use crate::format::{Act, Config, Pooling, Position, TowerConfig, feature};
use crate::model::{Block, Linear, TextWeights, VisionWeights};
use crate::preprocess::{FrameSpec, MAX_SIDE, ResizePlan};
use crate::vit::{Shape, activation};
use ocelli_kernels::{Kernels, RowFormat};
use std::vec::Vec;

/// The sizes of a session for these towers.
pub(super) fn of(
    config: &Config,
    vision: Option<&VisionWeights<'_>>,
    text: Option<&TextWeights<'_>>,
    kernels: &Kernels,
    options: &Options,
) -> Result<Dimensions> {
    let mut operands = Operands { kernels, list: Vec::new() };
    let vision = match vision {
        None => None,
        Some(weights) => {
            let VisionDimensions { shape, frame, resize } = vision_dimensions(config, options.batch)?;
            let patches = shape.images * (shape.tokens - config.vision.prefix_tokens as usize);
            operands.add(patches, Some(&weights.patch_embed));
            operands.add_tower(&shape, &weights.blocks, weights.project.as_ref());
            Some(VisionDimensions { shape, frame, resize })
        }
    };
    let text = match text {
        None => None,
        Some(weights) => {
            let shape = shape(&config.text.tower, 1, config.text.context as usize, config.text.causal != 0)?;
            operands.add_tower(&shape, &weights.blocks, weights.project.as_ref());
            Some(shape)
        }
    };
    Ok(Dimensions {
        vision,
        text,
        embed_dim: config.score.embed_dim as usize,
        operands: operands.list,
        threads: options.threads,
    })
}

/// Collects the left operands of all GEMMs.
struct Operands<'k> {
    kernels: &'k Kernels,
    list: Vec<(usize, RowFormat, usize)>,
}

impl Operands<'_> {
    fn add(&mut self, rows: usize, linear: Option<&Linear<'_>>) {
        let operand =
            |linear: &Linear<'_>| (rows, self.kernels.row_format(&linear.weights), linear.weights.k());
        self.list.extend(linear.map(operand));
    }

    fn add_tower(&mut self, shape: &Shape, blocks: &[Block<'_>], project: Option<&Linear<'_>>) {
        for block in blocks {
            for linear in [&block.qkv, &block.out, &block.fc1, &block.fc2] {
                self.add(shape.images * shape.tokens, Some(linear));
            }
        }
        self.add(shape.images, project);
    }
}

fn vision_dimensions(config: &Config, batch: usize) -> Result<VisionDimensions> {
    let vision = &config.vision;
    let later = feature::POOL_NORM
        | feature::GATED_MLP
        | feature::MLP_NORM
        | feature::PATCH_NORM
        | feature::EMBED_NORM
        | feature::CLASSIFIER;
    if vision.tower.features & later != 0
        || vision.rope != 0
        || vision.registers() != 0
        || vision.position != Position::Learned as u32
        || vision.tower.pooling != Pooling::Class as u32
        || vision.max_patches != 0
    {
        return Err(Error::Message("this image tower has parts that this version cannot run".into()));
    }
    let (rows, columns) = (vision.height / vision.patch, vision.width / vision.patch);
    if (rows, columns) != (vision.grid_rows, vision.grid_cols) {
        return Err(Error::Message(std::format!(
            "positions for {}x{} patches, but {}x{} pixels make {rows}x{columns}",
            vision.grid_rows,
            vision.grid_cols,
            vision.height,
            vision.width
        )));
    }
    let tokens = vision.prefix_tokens as usize + rows as usize * columns as usize;
    let frame = FrameSpec::new(&config.preprocess, vision.height, vision.width)?;
    let resize = ResizePlan::new(frame, MAX_SIDE)?;
    Ok(VisionDimensions { shape: shape(&vision.tower, batch, tokens, false)?, frame, resize })
}

fn shape(tower: &TowerConfig, images: usize, tokens: usize, causal: bool) -> Result<Shape> {
    let act = Act::from_stored(tower.act)
        .ok_or_else(|| Error::Message(std::format!("unknown activation {}", tower.act)))?;
    Ok(Shape {
        images,
        tokens,
        width: tower.width as usize,
        heads: tower.heads as usize,
        head_dim: tower.head_dim as usize,
        mlp_width: tower.mlp_width as usize,
        act: activation(act),
        eps: tower.norm_eps,
        causal,
    })
}
