//! The weights as borrowed views, one struct per block. Building them looks every tensor up once.

use crate::error::{Name, Result};
use crate::format::{File, Table, TowerConfig};
use core::fmt::Write;
use ocelli_kernels::Weights;
use std::vec::Vec;

/// LayerNorm parameters.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    /// Factors, one per channel.
    pub gamma: &'a [f32],
    /// Offsets, one per channel.
    pub beta: &'a [f32],
}

/// A linear layer.
#[derive(Clone, Copy, Debug)]
pub struct Linear<'a> {
    /// Packed weights.
    pub weights: Weights<'a>,
    /// Bias padded to a multiple of 16, or empty.
    pub bias: &'a [f32],
}

/// A pre-norm transformer block: `x += out(attention(qkv(norm1 x)))`, `x += fc2(act(fc1(norm2 x)))`.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the formula above names them")]
pub struct Block<'a> {
    pub norm1: Norm<'a>,
    pub qkv: Linear<'a>,
    pub out: Linear<'a>,
    pub norm2: Norm<'a>,
    pub fc1: Linear<'a>,
    pub fc2: Linear<'a>,
}

/// The image tower.
#[derive(Clone, Debug)]
pub struct VisionWeights<'a> {
    /// Patch pixels in (row, column, channel) order → width.
    pub patch_embed: Linear<'a>,
    /// The class token.
    pub class_token: &'a [f32],
    /// Positions: the class token's, then the grid's.
    pub position: Table<'a>,
    /// CLIP normalises before the first block.
    pub pre_norm: Option<Norm<'a>>,
    /// The blocks.
    pub blocks: Vec<Block<'a>>,
    /// After the last block.
    pub final_norm: Norm<'a>,
    /// Width → embedding.
    pub project: Option<Linear<'a>>,
}

/// The text tower.
#[derive(Clone, Debug)]
pub struct TextWeights<'a> {
    /// One row per token id.
    pub token_embed: Table<'a>,
    /// One row per position.
    pub position: Table<'a>,
    /// The blocks.
    pub blocks: Vec<Block<'a>>,
    /// After the last block.
    pub final_norm: Norm<'a>,
    /// Width → embedding.
    pub project: Option<Linear<'a>>,
}

/// Looks tensors up under a common prefix.
struct Tensors<'a> {
    file: File<'a>,
    tower: &'static str,
}

impl<'a> Tensors<'a> {
    fn name(&self, part: &str, leaf: &str) -> Name {
        let mut name = Name::default();
        // Canonical names are short; one that did not fit would be reported as missing.
        let _ = write!(name, "{}.{part}{leaf}", self.tower);
        name
    }

    fn vector(&self, part: &str, leaf: &str, len: usize) -> Result<&'a [f32]> {
        Ok(&self.file.vector(self.name(part, leaf).as_str())?[..len])
    }

    fn norm(&self, part: &str, width: usize) -> Result<Norm<'a>> {
        Ok(Norm { gamma: self.vector(part, ".weight", width)?, beta: self.vector(part, ".bias", width)? })
    }

    fn linear(&self, part: &str) -> Result<Linear<'a>> {
        let bias = self.name(part, ".bias");
        let bias =
            if self.file.tensor(bias.as_str()).is_ok() { self.file.vector(bias.as_str())? } else { &[] };
        Ok(Linear { weights: self.file.weights(self.name(part, ".weight").as_str())?, bias })
    }

    fn has(&self, part: &str) -> bool {
        self.file.tensor(self.name(part, ".weight").as_str()).is_ok()
    }

    fn blocks(&self, config: &TowerConfig) -> Result<Vec<Block<'a>>> {
        let width = config.width as usize;
        (0..config.depth)
            .map(|i| {
                let part = |leaf| std::format!("block.{i}.{leaf}");
                Ok(Block {
                    norm1: self.norm(&part("norm1"), width)?,
                    qkv: self.linear(&part("qkv"))?,
                    out: self.linear(&part("out"))?,
                    norm2: self.norm(&part("norm2"), width)?,
                    fc1: self.linear(&part("fc1"))?,
                    fc2: self.linear(&part("fc2"))?,
                })
            })
            .collect()
    }
}

impl<'a> VisionWeights<'a> {
    /// The image tower of `file`.
    ///
    /// # Errors
    /// A tensor is missing (a parsed file has them all).
    pub fn new(file: File<'a>) -> Result<VisionWeights<'a>> {
        let tensors = Tensors { file, tower: "vision" };
        let tower = &file.config().vision.tower;
        let width = tower.width as usize;
        Ok(VisionWeights {
            patch_embed: tensors.linear("patch_embed")?,
            class_token: tensors.vector("class_token", "", width)?,
            position: file.table("vision.position")?,
            pre_norm: if tensors.has("pre_norm") { Some(tensors.norm("pre_norm", width)?) } else { None },
            blocks: tensors.blocks(tower)?,
            final_norm: tensors.norm("final_norm", width)?,
            project: if tensors.has("project") { Some(tensors.linear("project")?) } else { None },
        })
    }
}

impl<'a> TextWeights<'a> {
    /// The text tower of `file`.
    ///
    /// # Errors
    /// A tensor is missing (a parsed file has them all).
    pub fn new(file: File<'a>) -> Result<TextWeights<'a>> {
        let tensors = Tensors { file, tower: "text" };
        let tower = &file.config().text.tower;
        Ok(TextWeights {
            token_embed: file.table("text.token_embed")?,
            position: file.table("text.position")?,
            blocks: tensors.blocks(tower)?,
            final_norm: tensors.norm("final_norm", tower.width as usize)?,
            project: if tensors.has("project") { Some(tensors.linear("project")?) } else { None },
        })
    }
}
