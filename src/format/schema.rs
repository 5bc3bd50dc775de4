//! Which tensors a configuration demands: the single list that the reader and the converter share.
//!
//! A file holds exactly these tensors, in exactly this order. `D` is the tower's width, `A` = heads · head_dim, `F` the
//! MLP's width, `E` the length of an embedding; matrices are `n` outputs × `k` inputs.
//!
//! | name | kind | n × k | present |
//! |---|---|---|---|
//! | `vision.patch_embed.weight` | matrix, inputs ordered (row, column, channel) | D × 3·patch² | image tower |
//! | `vision.patch_embed.bias` | vector | D | `PATCH_BIAS` |
//! | `vision.class_token` | vector | D | `CLASS_TOKEN` |
//! | `vision.position` | positions: `position_prefix` rows, then the grid by rows | · × D | learned positions |
//! | `vision.pre_norm.{weight,bias}` | vector | D | `PRE_NORM` |
//! | `text.token_embed` | tokens | vocab × D | text tower |
//! | `text.position` | positions | context × D | text tower |
//! | `{tower}.block.{i}.norm1.{weight,bias}` | vector | D | every block |
//! | `{tower}.block.{i}.qkv.weight` | matrix: all rows of q, then k, then v | 3·A × D | every block |
//! | `{tower}.block.{i}.qkv.bias` | vector | 3·A | `QKV_BIAS` |
//! | `{tower}.block.{i}.out.weight`, `.bias` | matrix, vector | D × A, D | every block, `OUT_BIAS` |
//! | `{tower}.block.{i}.norm2.{weight,bias}` | vector | D | every block |
//! | `{tower}.block.{i}.fc1.weight`, `.bias` | matrix, vector | F × D, F | every block, `MLP_BIAS` |
//! | `{tower}.block.{i}.fc2.weight`, `.bias` | matrix, vector | D × F, D | every block, `MLP_BIAS` |
//! | `{tower}.final_norm.{weight,bias}` | vector | D | `FINAL_NORM` |
//! | `{tower}.project.weight`, `.bias` | matrix, vector | E × D, E | `PROJECT`, `PROJECT_BIAS` |
//!
//! Layer scale has no tensor: the converter folds it into `out` and `fc2`. Room for later families: a feature bit that
//! adds `vision.registers` (tokens after the class token), one that makes `fc1` twice as tall (SwiGLU: gate rows, then
//! value rows), rotary positions (a new `Position` value and reserved words for base and layout), `vision.head.*` for
//! an attention-pooling head and `vision.classifier.*` with its label names in a section of their own.

use super::config::{Config, Position, TowerConfig, feature};
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
        list.matrix("patch_embed", width, vision.patch_values(), vision.tower.has(feature::PATCH_BIAS))?;
        if vision.tower.has(feature::CLASS_TOKEN) {
            list.push("class_token", Kind::Vector, width, 1)?;
        }
        if vision.position == Position::Learned as u32 {
            let rows =
                vision.position_prefix as usize + vision.grid_rows as usize * vision.grid_cols as usize;
            list.push("position", Kind::Positions, rows, width)?;
        }
        if vision.tower.has(feature::PRE_NORM) {
            list.norm("pre_norm", width)?;
        }
        list.transformer(&vision.tower, embed_dim)?;
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
            self.matrix(named("fc1").as_str(), mlp, width, tower.has(feature::MLP_BIAS))?;
            self.matrix(named("fc2").as_str(), width, mlp, tower.has(feature::MLP_BIAS))?;
        }
        if tower.has(feature::FINAL_NORM) {
            self.norm("final_norm", width)?;
        }
        if tower.has(feature::PROJECT) {
            self.matrix("project", embed_dim, width, tower.has(feature::PROJECT_BIAS))?;
        }
        Ok(())
    }
}
