//! The part table: what towers are made of. Everything that must know a part knows it from here: [the list of
//! tensors](super::schema), the [`feature`] bits that a tower may have, the typed weights of the runtime, and the
//! documentation.
//!
//! A part is one or two tensors: a norm, a linear layer, a vector or a table. [`VISION`] and [`TEXT`] list the parts of
//! their towers in the order of the file. To add a part, write its constant, put it where it belongs in the list, and
//! give it a field in the runtime's weights: they are read part by part along this table, and a part that nobody reads,
//! or that is read in another place, is an error that names it.

use super::config::{Config, TowerConfig};
use super::feature;
use super::schema::Kind;
pub use super::size::{Size, When};
use crate::Name;
use core::fmt::Write;

use Form::{Linear, Norm, Positions, Tokens, Vector};
use Size::*;
use When::{Always, AttentionHead, Has, HasNot, HasPositions, HasRegisters, ProjectsTwice};

/// A part of a tower.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Its name after those of tower and block, as in `mlp_norm`.
    pub name: &'static str,
    /// Its tensors.
    pub form: Form,
    /// Which towers have it.
    pub when: When,
    /// What it is, for people.
    pub note: &'static str,
}

/// The tensors of a part.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// Vectors `.weight` and `.bias` of so many channels.
    Norm(Size),
    /// A matrix `.weight` of `n` outputs × `k` inputs, and a vector `.bias` of `n` if the condition holds.
    Linear(Size, Size, When),
    /// A vector.
    Vector(Size),
    /// A table of f32 with so many rows of the tower's width.
    Positions(Size),
    /// A table of any type with so many rows of the tower's width.
    Tokens(Size),
}

/// The parts of a tower in the order of the file.
#[derive(Clone, Copy, Debug)]
pub struct TowerParts {
    /// First word of its tensors' names.
    pub name: &'static str,
    /// Before the blocks.
    pub before: &'static [Part],
    /// Of every block.
    pub block: &'static [Part],
    /// After the blocks.
    pub after: &'static [Part],
    /// [`feature`] bits that change how parts work together, and not which there are.
    pub modes: u32,
}

const fn part(name: &'static str, form: Form, when: When, note: &'static str) -> Part {
    Part { name, form, when, note }
}

// Parts of both towers.

/// Before attention; after its residual sum in a post-norm tower.
pub const NORM1: Part = part("norm1", Norm(Width), Always, "");
/// Queries, keys and values.
pub const QKV: Part =
    part("qkv", Linear(Attention(3), Width, Has(feature::QKV_BIAS)), Always, "all rows of q, then k, then v");
/// Inside attention.
pub const ATTENTION_NORM: Part = part(
    "attention_norm",
    Norm(Attention(1)),
    Has(feature::ATTENTION_NORM),
    "EVA-02-CLIP; all heads together",
);
/// Attended values to the residual stream.
pub const OUT: Part = part("out", Linear(Width, Attention(1), Has(feature::OUT_BIAS)), Always, "");
/// Before the MLP; after its residual sum in a post-norm tower.
pub const NORM2: Part = part("norm2", Norm(Width), Always, "");
/// Into the MLP.
pub const FC1: Part =
    part("fc1", Linear(Fc1, Width, Has(feature::MLP_BIAS)), Always, "gated: gate rows, then value rows");
/// Inside the MLP.
pub const MLP_NORM: Part = part("mlp_norm", Norm(Hidden), Has(feature::MLP_NORM), "EVA-02");
/// Out of the MLP.
pub const FC2: Part = part("fc2", Linear(Width, Hidden, Has(feature::MLP_BIAS)), Always, "");
/// Of the tokens after the last block.
pub const FINAL_NORM: Part = part("final_norm", Norm(Width), Has(feature::FINAL_NORM), "");
/// The pooled vector through tanh.
pub const POOLER: Part =
    part("pooler", Linear(Width, Width, Always), Has(feature::POOLER), "then tanh: BERT, ViT");
/// The first layer of a projection that has two.
pub const PROJECT_FC1: Part =
    part("project_fc1", Linear(ProjectHidden, Width, Has(feature::PROJECT_BIAS)), ProjectsTwice, "then GELU");
/// The pooled vector to the embedding.
pub const PROJECT: Part =
    part("project", Linear(Embedding, ProjectInputs, Has(feature::PROJECT_BIAS)), Has(feature::PROJECT), "");

// Parts of the image tower.

/// Of a patch's pixels, or of those of a square of it.
pub const PATCH_NORM: Part = part(
    "patch_norm",
    Norm(PixelValues),
    Has(feature::PATCH_NORM),
    "SimpleViT; inputs ordered (row, column, channel)",
);
/// The pixels of a sixteenth of a patch, a square, through GELU.
pub const PATCH_STEM1: Part = part(
    "patch_stem1",
    Linear(StemWidth, PixelValues, Always),
    Has(feature::PATCH_STEM),
    "MobileCLIP; of each sixteenth of a patch, then GELU; inputs ordered (row, column, channel)",
);
/// Four squares beside and below each other to one, through GELU.
pub const PATCH_STEM2: Part = part(
    "patch_stem2",
    Linear(StemWidth, FourSquares, Always),
    Has(feature::PATCH_STEM),
    "of four squares, ordered (row, column, channel), then GELU",
);
/// A patch's pixels to a token; with a stem, what it made of the patch's quarters.
pub const PATCH_EMBED: Part = part(
    "patch_embed",
    Linear(Width, PatchInputs, Has(feature::PATCH_BIAS)),
    Always,
    "inputs ordered (row, column, channel)",
);
/// Of a patch's embedding.
pub const EMBED_NORM: Part = part("embed_norm", Norm(Width), Has(feature::EMBED_NORM), "SimpleViT");
/// The first token.
pub const CLASS_TOKEN: Part = part("class_token", Vector(Width), Has(feature::CLASS_TOKEN), "");
/// Tokens without a meaning of their own.
pub const REGISTERS: Part =
    part("registers", Positions(Registers), HasRegisters, "tokens between class token and patches");
/// What is added to the tokens.
pub const POSITION: Part =
    part("position", Positions(Grid), HasPositions, "`position_prefix` rows, then the grid by rows");
/// Before the first block.
pub const PRE_NORM: Part = part("pre_norm", Norm(Width), Has(feature::PRE_NORM), "CLIP, BERT");
/// The query of pooling by attention.
pub const HEAD_QUERY: Part = part("head.query", Vector(Attention(1)), AttentionHead, "already projected");
/// Its keys and values.
pub const HEAD_KV: Part =
    part("head.kv", Linear(Attention(2), Width, Always), AttentionHead, "all rows of k, then v");
/// Attended values to the pooled vector.
pub const HEAD_OUT: Part = part("head.out", Linear(Width, Attention(1), Always), AttentionHead, "");
/// Before its MLP.
pub const HEAD_NORM: Part = part("head.norm", Norm(Width), AttentionHead, "");
/// Into its MLP.
pub const HEAD_FC1: Part = part("head.fc1", Linear(PoolHidden, Width, Always), AttentionHead, "");
/// Out of its MLP.
pub const HEAD_FC2: Part = part("head.fc2", Linear(Width, PoolHidden, Always), AttentionHead, "");
/// Of the pooled vector.
pub const POOL_NORM: Part = part("pool_norm", Norm(Width), Has(feature::POOL_NORM), "EVA");
/// The embedding to the classes' logits.
pub const CLASSIFIER: Part =
    part("classifier", Linear(Classes, Embedding, Always), Has(feature::CLASSIFIER), "");

// Parts of the text tower.

/// Token ids to tokens.
pub const TOKEN_EMBED: Part = part("token_embed", Tokens(Vocabulary), Always, "");
/// What is added to the tokens.
pub const TEXT_POSITION: Part = part("position", Positions(Context), HasNot(feature::ALIBI), "");

const BLOCK: &[Part] = &[NORM1, QKV, ATTENTION_NORM, OUT, NORM2, FC1, MLP_NORM, FC2];

/// The image tower.
pub const VISION: TowerParts = TowerParts {
    name: "vision",
    before: &[
        PATCH_NORM,
        PATCH_STEM1,
        PATCH_STEM2,
        PATCH_EMBED,
        EMBED_NORM,
        CLASS_TOKEN,
        REGISTERS,
        POSITION,
        PRE_NORM,
    ],
    block: BLOCK,
    after: &[
        FINAL_NORM,
        HEAD_QUERY,
        HEAD_KV,
        HEAD_OUT,
        HEAD_NORM,
        HEAD_FC1,
        HEAD_FC2,
        POOL_NORM,
        POOLER,
        PROJECT_FC1,
        PROJECT,
        CLASSIFIER,
    ],
    modes: 0,
};

/// The text tower.
pub const TEXT: TowerParts = TowerParts {
    name: "text",
    before: &[TOKEN_EMBED, TEXT_POSITION, PRE_NORM],
    block: BLOCK,
    after: &[FINAL_NORM, POOLER, PROJECT_FC1, PROJECT],
    modes: feature::POST_NORM,
};

impl Part {
    /// Its tensors in a tower of `config`, whether it has this part or not: what follows the part's name in theirs, kind,
    /// `n` and `k`.
    pub fn tensors(
        &self,
        config: &Config,
        tower: &TowerConfig,
    ) -> impl Iterator<Item = (&'static str, Kind, usize, usize)> + use<> {
        let of = |size: Size| size.of(config, tower);
        let two = match self.form {
            Norm(n) => [Some((".weight", Kind::Vector, of(n), 1)), Some((".bias", Kind::Vector, of(n), 1))],
            Linear(n, k, bias) => {
                let bias = bias.holds(config, tower).then_some((".bias", Kind::Vector, of(n), 1));
                [Some((".weight", Kind::Matrix, of(n), of(k))), bias]
            }
            Vector(n) => [Some(("", Kind::Vector, of(n), 1)), None],
            Positions(rows) => [Some(("", Kind::Positions, of(rows), of(Width))), None],
            Tokens(rows) => [Some(("", Kind::Tokens, of(rows), of(Width))), None],
        };
        two.into_iter().flatten()
    }

    /// The [`feature`] bits that say what this part is like in a tower that has it.
    fn own_bits(&self) -> u32 {
        match self.form {
            Linear(n, k, bias) => n.bits() | k.bits() | bias.bits(),
            Norm(size) | Vector(size) | Positions(size) | Tokens(size) => size.bits(),
        }
    }
}

impl TowerParts {
    /// All parts, those of a block once.
    pub fn parts(&self) -> impl Iterator<Item = &'static Part> + use<> {
        self.before.iter().chain(self.block).chain(self.after)
    }

    /// The [`feature`] bits that this tower may have.
    pub fn features(&self) -> u32 {
        self.parts().fold(self.modes, |bits, part| bits | part.when.bits() | part.own_bits())
    }

    /// The [`feature`] bits that are set in `tower` and say something about parts which it does not have.
    pub fn idle(&self, config: &Config, tower: &TowerConfig) -> u32 {
        let (mut idle, mut used) = (0, 0);
        for part in self.parts() {
            let bits = if part.when.holds(config, tower) { &mut used } else { &mut idle };
            *bits |= part.own_bits();
        }
        tower.features & idle & !used
    }

    /// The configuration of this tower, if `config` has it.
    pub fn of<'c>(&self, config: &'c Config) -> Option<&'c TowerConfig> {
        let tower = if self.name == VISION.name { &config.vision.tower } else { &config.text.tower };
        (tower.depth != 0).then_some(tower)
    }

    /// Calls `f` with every part that this tower of `config` has, in the order of the file, until it fails: with the
    /// number of the block, if it is in one.
    ///
    /// # Errors
    /// The first error that `f` returns.
    pub fn each<E>(
        &self,
        config: &Config,
        f: &mut dyn FnMut(Option<u32>, &'static Part) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(tower) = self.of(config) else { return Ok(()) };
        let blocks = (0..tower.depth).flat_map(|i| self.block.iter().map(move |part| (Some(i), part)));
        self.before
            .iter()
            .map(|part| (None, part))
            .chain(blocks)
            .chain(self.after.iter().map(|part| (None, part)))
            .filter(|(_, part)| part.when.holds(config, tower))
            .try_for_each(|(block, part)| f(block, part))
    }

    /// The canonical name of a tensor of `part`: `end` is what follows the part's own name.
    pub fn tensor_name(&self, block: Option<u32>, part: &Part, end: &str) -> Name {
        let mut name = Name::default();
        let written = match block {
            Some(i) => write!(name, "{}.block.{i}.{}{end}", self.name, part.name),
            None => write!(name, "{}.{}{end}", self.name, part.name),
        };
        debug_assert!(written.is_ok(), "canonical names are short");
        name
    }
}
