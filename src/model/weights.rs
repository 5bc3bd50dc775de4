//! The weights as borrowed views, one struct per block. Building them looks every tensor up once.

use crate::error::{Error, Name, Result};
use crate::format::{File, Pooling, Table, TowerConfig, feature};
use core::fmt::Write;
use half::f16;
use ocelli_kernels::Weights;
use ocelli_kernels::pack::{packed_len, padded_n};
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

impl Linear<'_> {
    /// Bytes of packed weights, of their scales and sums, and of the bias.
    pub fn bytes_len(&self) -> usize {
        let (n, k) = (self.weights.n(), self.weights.k());
        let packed = packed_len(n, k);
        let weights = match self.weights {
            Weights::I8(_) => packed + padded_n(n) * (size_of::<f32>() + size_of::<i32>()),
            Weights::F16(_) => packed * size_of::<f16>(),
            Weights::F32(_) => packed * size_of::<f32>(),
        };
        weights + size_of_val(self.bias)
    }
}

/// A pre-norm transformer block: `x += out(attention(qkv(norm1 x)))`, `x += fc2(mlp_norm(act(fc1(norm2 x))))`. Of a
/// gated MLP `fc1` gives gate and value, and `act(gate) · value` goes on.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the formula above names them")]
pub struct Block<'a> {
    pub norm1: Norm<'a>,
    pub qkv: Linear<'a>,
    pub out: Linear<'a>,
    pub norm2: Norm<'a>,
    pub fc1: Linear<'a>,
    pub mlp_norm: Option<Norm<'a>>,
    pub fc2: Linear<'a>,
}

/// Pooling by attention with one constant query (SigLIP, arXiv 2303.15343): `y = out(attention(query, kv(x)))`, then
/// `y + fc2(act(fc1(norm y)))`.
#[derive(Clone, Copy, Debug)]
pub struct AttentionHead<'a> {
    /// The probe after its projection, one vector for all heads.
    pub query: &'a [f32],
    /// Tokens → keys, then values.
    pub kv: Linear<'a>,
    /// Attended values → width.
    pub out: Linear<'a>,
    /// Before the MLP.
    pub norm: Norm<'a>,
    /// Width → hidden.
    pub fc1: Linear<'a>,
    /// Hidden → width.
    pub fc2: Linear<'a>,
}

/// The image tower.
#[derive(Clone, Debug)]
pub struct VisionWeights<'a> {
    /// Of a patch's pixels (SimpleViT).
    pub patch_norm: Option<Norm<'a>>,
    /// Patch pixels in (row, column, channel) order → width.
    pub patch_embed: Linear<'a>,
    /// Of a patch's embedding (SimpleViT).
    pub embed_norm: Option<Norm<'a>>,
    /// The class token, if there is one.
    pub class_token: Option<&'a [f32]>,
    /// Tokens between class token and patches, [registers, width], if there are any.
    pub registers: Option<&'a [f32]>,
    /// Stored positions, [position_prefix + grid, width]: those of the first tokens, then the grid's.
    pub position: Option<&'a [f32]>,
    /// CLIP normalises before the first block.
    pub pre_norm: Option<Norm<'a>>,
    /// The blocks.
    pub blocks: Vec<Block<'a>>,
    /// Of the tokens after the last block.
    pub final_norm: Option<Norm<'a>>,
    /// Pooling by attention.
    pub head: Option<AttentionHead<'a>>,
    /// Of the pooled vector.
    pub pool_norm: Option<Norm<'a>>,
    /// Width → embedding.
    pub project: Option<Linear<'a>>,
    /// Embedding → class logits.
    pub classifier: Option<Linear<'a>>,
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

    /// A norm that only some towers have.
    fn maybe_norm(&self, part: &str, width: usize) -> Result<Option<Norm<'a>>> {
        if self.has(part, ".weight") { self.norm(part, width).map(Some) } else { Ok(None) }
    }

    /// A linear layer that only some towers have.
    fn maybe_linear(&self, part: &str) -> Result<Option<Linear<'a>>> {
        if self.has(part, ".weight") { self.linear(part).map(Some) } else { Ok(None) }
    }

    /// The rows of an f32 table that only some towers have.
    fn rows(&self, part: &str) -> Result<Option<&'a [f32]>> {
        let name = self.name(part, "");
        if !self.has(part, "") {
            return Ok(None);
        }
        match self.file.table(name.as_str())? {
            Table::F32 { values, .. } => Ok(Some(values)),
            // The schema allows no other type.
            _ => Err(Error::TensorMissing { name }),
        }
    }

    fn linear(&self, part: &str) -> Result<Linear<'a>> {
        let bias = self.name(part, ".bias");
        let bias = if self.has(part, ".bias") { self.file.vector(bias.as_str())? } else { &[] };
        Ok(Linear { weights: self.file.weights(self.name(part, ".weight").as_str())?, bias })
    }

    fn has(&self, part: &str, leaf: &str) -> bool {
        self.file.tensor(self.name(part, leaf).as_str()).is_ok()
    }

    fn head(&self, config: &TowerConfig) -> Result<Option<AttentionHead<'a>>> {
        if config.pooling != Pooling::AttentionHead as u32 {
            return Ok(None);
        }
        Ok(Some(AttentionHead {
            query: self.vector("head.query", "", config.attention_width())?,
            kv: self.linear("head.kv")?,
            out: self.linear("head.out")?,
            norm: self.norm("head.norm", config.width as usize)?,
            fc1: self.linear("head.fc1")?,
            fc2: self.linear("head.fc2")?,
        }))
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
                    mlp_norm: self.maybe_norm(&part("mlp_norm"), config.mlp_width as usize)?,
                    fc2: self.linear(&part("fc2"))?,
                })
            })
            .collect()
    }
}

impl<'a> VisionWeights<'a> {
    /// Tokens before the patches, of `width` channels each.
    pub fn prefix_tokens(&self, width: usize) -> usize {
        (self.class_token.map_or(0, <[f32]>::len) + self.registers.map_or(0, <[f32]>::len)) / width
    }

    /// The image tower of `file`.
    ///
    /// # Errors
    /// A tensor is missing (a parsed file has them all).
    pub fn new(file: File<'a>) -> Result<VisionWeights<'a>> {
        let tensors = Tensors { file, tower: "vision" };
        let vision = &file.config().vision;
        let tower = &vision.tower;
        let width = tower.width as usize;
        let class = tower.has(feature::CLASS_TOKEN);
        Ok(VisionWeights {
            patch_norm: tensors.maybe_norm("patch_norm", vision.patch_values())?,
            patch_embed: tensors.linear("patch_embed")?,
            embed_norm: tensors.maybe_norm("embed_norm", width)?,
            class_token: class.then(|| tensors.vector("class_token", "", width)).transpose()?,
            registers: tensors.rows("registers")?,
            position: tensors.rows("position")?,
            pre_norm: tensors.maybe_norm("pre_norm", width)?,
            blocks: tensors.blocks(tower)?,
            final_norm: tensors.maybe_norm("final_norm", width)?,
            head: tensors.head(tower)?,
            pool_norm: tensors.maybe_norm("pool_norm", width)?,
            project: tensors.maybe_linear("project")?,
            classifier: tensors.maybe_linear("classifier")?,
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
            project: tensors.maybe_linear("project")?,
        })
    }
}
