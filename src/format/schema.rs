//! Which tensors a configuration demands: the [part table](super::parts) spelled out for one model. The reader and the
//! converter share it.
//!
//! A file holds exactly these tensors, in exactly this order. `D` is the tower's width, `A` = heads · head_dim, `F` the
//! MLP's width, `P` = `project_hidden`, `E` the length of an embedding. A norm is two vectors, `.weight` and `.bias`; a
//! linear layer is a matrix `.weight` of `n` outputs × `k` inputs and a vector `.bias` of `n`; what else there is has the
//! part's own name.
//!
//! | part | form | n, or n × k | present | bias | |
//! |---|---|---|---|---|---|
//! | `vision.patch_norm` | norm | 3·patch² (stem: 1/16 of it) | `PATCH_NORM` | | SimpleViT; inputs ordered (row, column, channel) |
//! | `vision.patch_stem1` | linear | D/4 × 3·patch² (stem: 1/16 of it) | `PATCH_STEM` | always | MobileCLIP; of each sixteenth of a patch, then GELU; inputs ordered (row, column, channel) |
//! | `vision.patch_stem2` | linear | D/4 × D | `PATCH_STEM` | always | of four squares, ordered (row, column, channel), then GELU |
//! | `vision.patch_embed` | linear | D × 3·patch² (stem: D) | always | `PATCH_BIAS` | inputs ordered (row, column, channel) |
//! | `vision.embed_norm` | norm | D | `EMBED_NORM` | | SimpleViT |
//! | `vision.class_token` | vector | D | `CLASS_TOKEN` | | |
//! | `vision.registers` | positions | registers × D | more prefix tokens than the class token | | tokens between class token and patches |
//! | `vision.position` | positions | positions × D | learned positions, pyramids | | `position_prefix` rows, then the grid by rows |
//! | `vision.pre_norm` | norm | D | `PRE_NORM` | | CLIP, BERT |
//! | `text.token_embed` | tokens | vocab × D | always | | |
//! | `text.position` | positions | context × D | unless `ALIBI` | | |
//! | `text.pre_norm` | norm | D | `PRE_NORM` | | CLIP, BERT |
//! | `{tower}.block.{i}.norm1` | norm | D | always | | |
//! | `{tower}.block.{i}.qkv` | linear | 3·A × D | always | `QKV_BIAS` | all rows of q, then k, then v |
//! | `{tower}.block.{i}.attention_norm` | norm | A | `ATTENTION_NORM` | | EVA-02-CLIP; all heads together |
//! | `{tower}.block.{i}.out` | linear | D × A | always | `OUT_BIAS` | |
//! | `{tower}.block.{i}.norm2` | norm | D | always | | |
//! | `{tower}.block.{i}.fc1` | linear | F (gated: 2·F) × D | always | `MLP_BIAS` | gated: gate rows, then value rows |
//! | `{tower}.block.{i}.mlp_norm` | norm | F | `MLP_NORM` | | EVA-02 |
//! | `{tower}.block.{i}.fc2` | linear | D × F | always | `MLP_BIAS` | |
//! | `vision.final_norm` | norm | D | `FINAL_NORM` | | |
//! | `vision.head.query` | vector | A | pooling by an attention head | | already projected |
//! | `vision.head.kv` | linear | 2·A × D | pooling by an attention head | always | all rows of k, then v |
//! | `vision.head.out` | linear | D × A | pooling by an attention head | always | |
//! | `vision.head.norm` | norm | D | pooling by an attention head | | |
//! | `vision.head.fc1` | linear | H × D | pooling by an attention head | always | |
//! | `vision.head.fc2` | linear | D × H | pooling by an attention head | always | |
//! | `vision.pool_norm` | norm | D | `POOL_NORM` | | EVA |
//! | `vision.pooler` | linear | D × D | `POOLER` | always | then tanh: BERT, ViT |
//! | `vision.project_fc1` | linear | P × D | a projection of two layers | `PROJECT_BIAS` | then GELU |
//! | `vision.project` | linear | E × D (of two layers: P) | `PROJECT` | `PROJECT_BIAS` | |
//! | `vision.classifier` | linear | classes × E | `CLASSIFIER` | always | |
//! | `text.final_norm` | norm | D | `FINAL_NORM` | | |
//! | `text.pooler` | linear | D × D | `POOLER` | always | then tanh: BERT, ViT |
//! | `text.project_fc1` | linear | P × D | a projection of two layers | `PROJECT_BIAS` | then GELU |
//! | `text.project` | linear | E × D (of two layers: P) | `PROJECT` | `PROJECT_BIAS` | |
//!
//! Some parts of a checkpoint have no tensor, because the converter folds them into others: layer scale into `out` and
//! `fc2`, the probe of an attention-pooling head with its query projection into `head.query`, and the row of BERT's token
//! types that every token has into `text.position`, or into `text.token_embed` where there are no positions.

use super::config::Config;
use super::parts::{TEXT, TowerParts, VISION};
use super::tensor::{Dtype, Layout};
use crate::Name;

/// What a demanded tensor is for, which decides its layout and precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Norm weights, biases, the class token: f32.
    Vector,
    /// A position table: f32 rows.
    Positions,
    /// The token table: rows of any type.
    Tokens,
    /// The weights of a linear layer: panels of any type.
    Matrix,
}

impl Kind {
    /// How such a tensor lies in the file.
    pub const fn layout(self) -> Layout {
        match self {
            Kind::Vector => Layout::Vector,
            Kind::Positions | Kind::Tokens => Layout::Table,
            Kind::Matrix => Layout::Panels,
        }
    }

    /// Whether such a tensor may be stored as `dtype`.
    pub const fn allows(self, dtype: Dtype) -> bool {
        matches!(self, Kind::Tokens | Kind::Matrix) || matches!(dtype, Dtype::F32)
    }
}

/// One tensor that a configuration demands.
#[derive(Clone, Copy, Debug)]
pub struct TensorSpec {
    /// Canonical name.
    pub name: Name,
    /// What it is for.
    pub kind: Kind,
    /// Output channels, rows or elements.
    pub n: usize,
    /// Inputs or columns; 1 for vectors.
    pub k: usize,
}

/// Calls `f` for every tensor that `config` demands, in the order of the file, until it fails.
///
/// `config` must have passed [`Config::validate`].
///
/// # Errors
/// The first error that `f` returns.
pub fn for_each_tensor<E>(config: &Config, f: &mut dyn FnMut(TensorSpec) -> Result<(), E>) -> Result<(), E> {
    for_each_of_tower(&VISION, config, f)?;
    for_each_of_tower(&TEXT, config, f)
}

fn for_each_of_tower<E>(
    parts: &TowerParts,
    config: &Config,
    f: &mut dyn FnMut(TensorSpec) -> Result<(), E>,
) -> Result<(), E> {
    let Some(tower) = parts.of(config) else { return Ok(()) };
    parts.each(config, &mut |block, part| {
        part.tensors(config, tower).try_for_each(|(end, kind, n, k)| {
            f(TensorSpec { name: parts.tensor_name(block, part, end), kind, n, k })
        })
    })
}
