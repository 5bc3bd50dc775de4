//! The weights as borrowed views, one struct per block, read along the [part table](parts).

use crate::error::{Error, Name, Result};
use crate::format::parts::{self, Form, Part, TowerParts};
use crate::format::{File, Table, Tensor, TowerConfig};
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

/// A transformer block: `x += out(attention_norm(attention(qkv(norm1 x))))`, `x += fc2(mlp_norm(act(fc1(norm2 x))))`. Of a gated MLP
/// `fc1` gives gate and value, and `act(gate) · value` goes on. In a post-norm tower the norms follow the sums:
/// `x = norm1(x + out(attention(qkv x)))`, `x = norm2(x + fc2(mlp_norm(act(fc1 x))))`.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the formula above names them")]
pub struct Block<'a> {
    pub norm1: Norm<'a>,
    pub qkv: Linear<'a>,
    pub attention_norm: Option<Norm<'a>>,
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
    /// Attention heads.
    pub heads: usize,
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

/// The pooled vector to the embedding: `tanh(pooler x)`, then `project(gelu(fc1 x))`, each part as far as it is there.
#[derive(Clone, Copy, Debug)]
pub struct Projection<'a> {
    /// Width → width, before tanh.
    pub pooler: Option<Linear<'a>>,
    /// Width → hidden, of a projection of two layers.
    pub fc1: Option<Linear<'a>>,
    /// To the embedding.
    pub project: Option<Linear<'a>>,
}

impl<'a> Projection<'a> {
    /// The layers that are there.
    pub fn layers(&self) -> impl Iterator<Item = &Linear<'a>> {
        [&self.pooler, &self.fc1, &self.project].into_iter().flatten()
    }
}

/// The image tower.
#[derive(Clone, Debug)]
pub struct VisionWeights<'a> {
    /// Of a patch's pixels (SimpleViT).
    pub patch_norm: Option<Norm<'a>>,
    /// Squares of a patch, in (row, column, channel) order → four of them → what `patch_embed` reads (MobileCLIP).
    pub patch_stem: Option<[Linear<'a>; 2]>,
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
    /// Pooled vector → embedding.
    pub projection: Projection<'a>,
    /// Embedding → class logits.
    pub classifier: Option<Linear<'a>>,
}

/// The text tower.
#[derive(Clone, Debug)]
pub struct TextWeights<'a> {
    /// One row per token id.
    pub token_embed: Table<'a>,
    /// One row per position; none with ALiBi.
    pub position: Option<Table<'a>>,
    /// Of the tokens with their positions (BERT).
    pub pre_norm: Option<Norm<'a>>,
    /// The blocks.
    pub blocks: Vec<Block<'a>>,
    /// After the last block; a post-norm tower has none.
    pub final_norm: Option<Norm<'a>>,
    /// Pooled vector → embedding.
    pub projection: Projection<'a>,
}

/// Takes the tensors of a tower one by one, in the order of the file, each as the part that it belongs to. Whoever takes
/// them in another order than that of the [part table](parts), or leaves one out, gets an error that names the tensor.
struct Reader<'a> {
    file: File<'a>,
    parts: &'static TowerParts,
    tower: &'a TowerConfig,
    block: Option<u32>,
    /// The next tensor's number in the file.
    next: usize,
}

impl<'a> Reader<'a> {
    fn new(file: File<'a>, parts: &'static TowerParts, tower: &'a TowerConfig) -> Reader<'a> {
        // The towers' tensors follow each other.
        let next = file.tensors().take_while(|tensor| !belongs(tensor, parts)).count();
        Reader { file, parts, tower, block: None, next }
    }

    fn has(&self, part: &Part) -> bool {
        part.when.holds(self.file.config(), self.tower)
    }

    fn tensor(&mut self, part: &Part, end: &str) -> Result<Tensor<'a>> {
        let name = self.parts.tensor_name(self.block, part, end);
        match self.file.tensor_at(self.next) {
            Some(tensor) if tensor.name() == name.as_str() => {
                self.next += 1;
                Ok(tensor)
            }
            Some(tensor) if belongs(&tensor, self.parts) => Err(unread(&tensor)),
            _ => Err(Error::TensorMissing { name }),
        }
    }

    /// A vector without its padding.
    fn vector(&mut self, part: &Part, end: &str) -> Result<&'a [f32]> {
        let tensor = self.tensor(part, end)?;
        Ok(&tensor.vector()?[..tensor.n()])
    }

    fn norm(&mut self, part: &Part) -> Result<Norm<'a>> {
        Ok(Norm { gamma: self.vector(part, ".weight")?, beta: self.vector(part, ".bias")? })
    }

    fn linear(&mut self, part: &Part) -> Result<Linear<'a>> {
        let weights = self.tensor(part, ".weight")?.weights()?;
        let has_bias =
            matches!(part.form, Form::Linear(_, _, bias) if bias.holds(self.file.config(), self.tower));
        let bias = if has_bias { self.tensor(part, ".bias")?.vector()? } else { &[] };
        Ok(Linear { weights, bias })
    }

    fn table(&mut self, part: &Part) -> Result<Table<'a>> {
        self.tensor(part, "")?.table()
    }

    /// The rows of an f32 table.
    fn rows(&mut self, part: &Part) -> Result<&'a [f32]> {
        let tensor = self.tensor(part, "")?;
        match tensor.table()? {
            Table::F32 { values, .. } => Ok(values),
            // The schema allows no other type.
            _ => Err(unread(&tensor)),
        }
    }

    /// What `take` makes of a part that only some towers have.
    fn if_any<T>(
        &mut self,
        part: &Part,
        take: impl FnOnce(&mut Reader<'a>, &Part) -> Result<T>,
    ) -> Result<Option<T>> {
        if self.has(part) { take(self, part).map(Some) } else { Ok(None) }
    }

    fn blocks(&mut self) -> Result<Vec<Block<'a>>> {
        let depth = self.tower.depth;
        let block = |i| {
            self.block = Some(i);
            Ok(Block {
                norm1: self.norm(&parts::NORM1)?,
                qkv: self.linear(&parts::QKV)?,
                attention_norm: self.if_any(&parts::ATTENTION_NORM, Reader::norm)?,
                out: self.linear(&parts::OUT)?,
                norm2: self.norm(&parts::NORM2)?,
                fc1: self.linear(&parts::FC1)?,
                mlp_norm: self.if_any(&parts::MLP_NORM, Reader::norm)?,
                fc2: self.linear(&parts::FC2)?,
            })
        };
        let blocks = (0..depth).map(block).collect();
        self.block = None;
        blocks
    }

    fn projection(&mut self) -> Result<Projection<'a>> {
        Ok(Projection {
            pooler: self.if_any(&parts::POOLER, Reader::linear)?,
            fc1: self.if_any(&parts::PROJECT_FC1, Reader::linear)?,
            project: self.if_any(&parts::PROJECT, Reader::linear)?,
        })
    }

    fn head(&mut self) -> Result<AttentionHead<'a>> {
        Ok(AttentionHead {
            heads: self.file.config().vision.pool_tower().heads as usize,
            query: self.vector(&parts::HEAD_QUERY, "")?,
            kv: self.linear(&parts::HEAD_KV)?,
            out: self.linear(&parts::HEAD_OUT)?,
            norm: self.norm(&parts::HEAD_NORM)?,
            fc1: self.linear(&parts::HEAD_FC1)?,
            fc2: self.linear(&parts::HEAD_FC2)?,
        })
    }

    /// Every tensor of the tower must have been taken.
    fn finish<T>(self, weights: T) -> Result<T> {
        match self.file.tensor_at(self.next) {
            Some(tensor) if belongs(&tensor, self.parts) => Err(unread(&tensor)),
            _ => Ok(weights),
        }
    }
}

/// The tensors of a tower.
pub(crate) fn tensors<'a>(file: File<'a>, parts: &TowerParts) -> impl Iterator<Item = Tensor<'a>> {
    file.tensors().filter(|tensor| belongs(tensor, parts))
}

/// Whether `tensor` is one of this tower's.
fn belongs(tensor: &Tensor<'_>, parts: &TowerParts) -> bool {
    tensor.name().strip_prefix(parts.name).is_some_and(|rest| rest.starts_with('.'))
}

fn unread(tensor: &Tensor<'_>) -> Error {
    let problem = "the runtime does not read it where the part table lists it";
    Error::Tensor { name: Name::new(tensor.name()), problem, expected: 0, found: 0 }
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
        let mut reader = Reader::new(file, &parts::VISION, &file.config().vision.tower);
        let weights = VisionWeights {
            patch_norm: reader.if_any(&parts::PATCH_NORM, Reader::norm)?,
            patch_stem: reader.if_any(&parts::PATCH_STEM1, |reader, part| {
                Ok([reader.linear(part)?, reader.linear(&parts::PATCH_STEM2)?])
            })?,
            patch_embed: reader.linear(&parts::PATCH_EMBED)?,
            embed_norm: reader.if_any(&parts::EMBED_NORM, Reader::norm)?,
            class_token: reader.if_any(&parts::CLASS_TOKEN, |reader, part| reader.vector(part, ""))?,
            registers: reader.if_any(&parts::REGISTERS, Reader::rows)?,
            position: reader.if_any(&parts::POSITION, Reader::rows)?,
            pre_norm: reader.if_any(&parts::PRE_NORM, Reader::norm)?,
            blocks: reader.blocks()?,
            final_norm: reader.if_any(&parts::FINAL_NORM, Reader::norm)?,
            head: reader.if_any(&parts::HEAD_QUERY, |reader, _| reader.head())?,
            pool_norm: reader.if_any(&parts::POOL_NORM, Reader::norm)?,
            projection: reader.projection()?,
            classifier: reader.if_any(&parts::CLASSIFIER, Reader::linear)?,
        };
        reader.finish(weights)
    }
}

impl<'a> TextWeights<'a> {
    /// The text tower of `file`.
    ///
    /// # Errors
    /// A tensor is missing (a parsed file has them all).
    pub fn new(file: File<'a>) -> Result<TextWeights<'a>> {
        let mut reader = Reader::new(file, &parts::TEXT, &file.config().text.tower);
        let weights = TextWeights {
            token_embed: reader.table(&parts::TOKEN_EMBED)?,
            position: reader.if_any(&parts::TEXT_POSITION, Reader::table)?,
            pre_norm: reader.if_any(&parts::PRE_NORM, Reader::norm)?,
            blocks: reader.blocks()?,
            final_norm: reader.if_any(&parts::FINAL_NORM, Reader::norm)?,
            projection: reader.projection()?,
        };
        reader.finish(weights)
    }
}
