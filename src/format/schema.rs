//! Which tensors a configuration demands: the single list that the reader and the converter share.
//!
//! A file holds exactly these tensors, in exactly this order. `D` is the tower's width, `A` = heads · head_dim, `F` the
//! MLP's width, `E` the length of an embedding; matrices are `n` outputs × `k` inputs.
//!
//! | name | kind | n × k | present |
//! |---|---|---|---|
//! | `vision.patch_norm.{weight,bias}` | vector, inputs ordered (row, column, channel) | 3·patch² | `PATCH_NORM` |
//! | `vision.patch_embed.weight` | matrix, inputs ordered (row, column, channel) | D × 3·patch² | image tower |
//! | `vision.patch_embed.bias` | vector | D | `PATCH_BIAS` |
//! | `vision.embed_norm.{weight,bias}` | vector | D | `EMBED_NORM` |
//! | `vision.class_token` | vector | D | `CLASS_TOKEN` |
//! | `vision.registers` | positions: tokens between class token and patches | · × D | more prefix tokens than the class token |
//! | `vision.position` | positions: `position_prefix` rows, then the grid by rows | · × D | learned positions, pyramids |
//! | `vision.pre_norm.{weight,bias}` | vector | D | `PRE_NORM` |
//! | `text.token_embed` | tokens | vocab × D | text tower |
//! | `text.position` | positions | context × D | text tower |
//! | `{tower}.block.{i}.norm1.{weight,bias}` | vector | D | every block |
//! | `{tower}.block.{i}.qkv.weight` | matrix: all rows of q, then k, then v | 3·A × D | every block |
//! | `{tower}.block.{i}.qkv.bias` | vector | 3·A | `QKV_BIAS` |
//! | `{tower}.block.{i}.out.weight`, `.bias` | matrix, vector | D × A, D | every block, `OUT_BIAS` |
//! | `{tower}.block.{i}.norm2.{weight,bias}` | vector | D | every block |
//! | `{tower}.block.{i}.fc1.weight`, `.bias` | matrix, vector | F × D, F; gated: 2F, gate rows first | every block, `MLP_BIAS` |
//! | `{tower}.block.{i}.mlp_norm.{weight,bias}` | vector | F | `MLP_NORM` |
//! | `{tower}.block.{i}.fc2.weight`, `.bias` | matrix, vector | D × F, D | every block, `MLP_BIAS` |
//! | `{tower}.final_norm.{weight,bias}` | vector | D | `FINAL_NORM` |
//! | `vision.head.query` | vector: the pooling query, already projected | A | pooling by an attention head |
//! | `vision.head.kv.weight`, `.bias` | matrix, vector: all rows of k, then v | 2·A × D, 2·A | the same |
//! | `vision.head.out.weight`, `.bias` | matrix, vector | D × A, D | the same |
//! | `vision.head.norm.{weight,bias}` | vector | D | the same |
//! | `vision.head.fc1.weight`, `.bias` | matrix, vector | F × D, F | the same |
//! | `vision.head.fc2.weight`, `.bias` | matrix, vector | D × F, D | the same |
//! | `vision.pool_norm.{weight,bias}` | vector | D | `POOL_NORM` |
//! | `{tower}.project.weight`, `.bias` | matrix, vector | E × D, E | `PROJECT`, `PROJECT_BIAS` |
//! | `vision.classifier.weight`, `.bias` | matrix, vector | classes × E, classes | `CLASSIFIER` |
//!
//! Some parts of a checkpoint have no tensor, because the converter folds them into others: layer scale into `out` and
//! `fc2`, and the probe of an attention-pooling head with its query projection into `head.query`.

use super::config::{Config, Pooling, Position, TowerConfig, feature};
use super::tensor::{Dtype, Layout};
use crate::Name;
use core::fmt::Write;

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

/// One demanded tensor.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
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
pub fn for_each_tensor<E>(config: &Config, f: &mut dyn FnMut(Demand) -> Result<(), E>) -> Result<(), E> {
    let embed_dim = config.score.embed_dim as usize;
    let vision = &config.vision;
    if config.has_vision() {
        let (mut list, width) = (List { tower: "vision", f: &mut *f }, vision.tower.width as usize);
        if vision.tower.has(feature::PATCH_NORM) {
            list.norm("patch_norm", vision.patch_values())?;
        }
        list.matrix("patch_embed", width, vision.patch_values(), vision.tower.has(feature::PATCH_BIAS))?;
        if vision.tower.has(feature::EMBED_NORM) {
            list.norm("embed_norm", width)?;
        }
        if vision.tower.has(feature::CLASS_TOKEN) {
            list.push("class_token", Kind::Vector, width, 1)?;
        }
        if vision.registers() > 0 {
            list.push("registers", Kind::Positions, vision.registers() as usize, width)?;
        }
        if has_table(vision.position) {
            list.push("position", Kind::Positions, vision.position_rows(), width)?;
        }
        if vision.tower.has(feature::PRE_NORM) {
            list.norm("pre_norm", width)?;
        }
        list.transformer(&vision.tower, embed_dim)?;
        if vision.tower.has(feature::CLASSIFIER) {
            list.matrix("classifier", config.score.classes as usize, embed_dim, true)?;
        }
    }
    let text = &config.text;
    if config.has_text() {
        let (mut list, width) = (List { tower: "text", f }, text.tower.width as usize);
        list.push("token_embed", Kind::Tokens, text.vocab as usize, width)?;
        list.push("position", Kind::Positions, text.context as usize, width)?;
        list.transformer(&text.tower, embed_dim)?;
    }
    Ok(())
}

/// Whether a [`Position`] has a table in the file.
const fn has_table(position: u32) -> bool {
    position == Position::Learned as u32 || position == Position::ScaledAverage as u32
}

struct List<'f, E> {
    tower: &'static str,
    f: &'f mut dyn FnMut(Demand) -> Result<(), E>,
}

impl<E> List<'_, E> {
    fn name(&self, part: core::fmt::Arguments<'_>) -> Name {
        let mut name = Name::default();
        write!(name, "{}.{part}", self.tower).expect("canonical names are short");
        name
    }

    fn push(&mut self, part: &str, kind: Kind, n: usize, k: usize) -> Result<(), E> {
        let name = self.name(format_args!("{part}"));
        (self.f)(Demand { name, kind, n, k })
    }

    fn norm(&mut self, part: &str, width: usize) -> Result<(), E> {
        for end in ["weight", "bias"] {
            let name = self.name(format_args!("{part}.{end}"));
            (self.f)(Demand { name, kind: Kind::Vector, n: width, k: 1 })?;
        }
        Ok(())
    }

    fn matrix(&mut self, part: &str, n: usize, k: usize, bias: bool) -> Result<(), E> {
        let name = self.name(format_args!("{part}.weight"));
        (self.f)(Demand { name, kind: Kind::Matrix, n, k })?;
        if bias {
            let name = self.name(format_args!("{part}.bias"));
            (self.f)(Demand { name, kind: Kind::Vector, n, k: 1 })?;
        }
        Ok(())
    }

    fn transformer(&mut self, tower: &TowerConfig, embed_dim: usize) -> Result<(), E> {
        let (width, mlp) = (tower.width as usize, tower.mlp_width as usize);
        let attention = tower.attention_width();
        for block in 0..tower.depth {
            let named = |end: &str| {
                let mut part = Name::default();
                write!(part, "block.{block}.{end}").expect("canonical names are short");
                part
            };
            self.norm(named("norm1").as_str(), width)?;
            self.matrix(named("qkv").as_str(), 3 * attention, width, tower.has(feature::QKV_BIAS))?;
            self.matrix(named("out").as_str(), width, attention, tower.has(feature::OUT_BIAS))?;
            self.norm(named("norm2").as_str(), width)?;
            self.matrix(named("fc1").as_str(), tower.fc1_width(), width, tower.has(feature::MLP_BIAS))?;
            if tower.has(feature::MLP_NORM) {
                self.norm(named("mlp_norm").as_str(), mlp)?;
            }
            self.matrix(named("fc2").as_str(), width, mlp, tower.has(feature::MLP_BIAS))?;
        }
        if tower.has(feature::FINAL_NORM) {
            self.norm("final_norm", width)?;
        }
        if tower.pooling == Pooling::AttentionHead as u32 {
            self.push("head.query", Kind::Vector, attention, 1)?;
            self.matrix("head.kv", 2 * attention, width, true)?;
            self.matrix("head.out", width, attention, true)?;
            self.norm("head.norm", width)?;
            self.matrix("head.fc1", mlp, width, true)?;
            self.matrix("head.fc2", width, mlp, true)?;
        }
        if tower.has(feature::POOL_NORM) {
            self.norm("pool_norm", width)?;
        }
        if tower.has(feature::PROJECT) {
            self.matrix("project", embed_dim, width, tower.has(feature::PROJECT_BIAS))?;
        }
        Ok(())
    }
}
