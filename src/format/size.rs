//! What the [part table](super::parts) asks of a configuration: how large a tensor is, and whether a tower has it.

use super::config::{Config, TowerConfig};
use super::feature;
use super::stored::{Pooling, Position};
use core::fmt;

use Size::*;
use When::{Always, AttentionHead, Has, HasNot, HasPositions, HasRegisters, ProjectsTwice};

/// A number of channels, inputs or rows, from the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Channels of a token: D.
    Width,
    /// So many times heads · head_dim: A.
    Attention(usize),
    /// Channels that `fc2` reads: F.
    Hidden,
    /// Channels that the pooling head's `fc2` reads: H.
    PoolHidden,
    /// Channels that `fc1` gives: F, of a gated MLP 2F.
    Fc1,
    /// Length of an embedding: E.
    Embedding,
    /// Channels between the layers of a projection that has two: P.
    ProjectHidden,
    /// Channels that the projection's last layer reads: P if it has two layers, else D.
    ProjectInputs,
    /// Classes of the classifier.
    Classes,
    /// Values that the first layer reads: 3·patch², with a stem of a sixteenth of that.
    PixelValues,
    /// What the patch embedding reads: 3·patch², with a stem 4·D/4.
    PatchInputs,
    /// Channels inside a stem: D/4.
    StemWidth,
    /// Channels of four squares inside a stem: 4·D/4.
    FourSquares,
    /// Tokens between class token and patches.
    Registers,
    /// Stored positions of an image: `position_prefix` + `grid_rows` · `grid_cols`.
    Grid,
    /// Rows of the token table.
    Vocabulary,
    /// Most tokens of a text.
    Context,
}

/// A condition on the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// In every tower.
    Always,
    /// If the [`feature`] bit is set.
    Has(u32),
    /// If it is not.
    HasNot(u32),
    /// If tokens are pooled by an attention head.
    AttentionHead,
    /// If there are more prefix tokens than the class token.
    HasRegisters,
    /// If positions are learned, or averages of learned ones.
    HasPositions,
    /// If the projection is an MLP.
    ProjectsTwice,
}

impl Size {
    /// Its value in a tower of `config`.
    pub fn of(self, config: &Config, tower: &TowerConfig) -> usize {
        match self {
            Width => tower.width as usize,
            Attention(times) => times * tower.attention_width(),
            Hidden => tower.mlp_width as usize,
            PoolHidden => config.vision.pool_tower().mlp_width as usize,
            Fc1 => tower.fc1_width(),
            Embedding => config.score.embed_dim as usize,
            ProjectHidden => tower.project_hidden as usize,
            ProjectInputs if tower.project_hidden == 0 => Width.of(config, tower),
            ProjectInputs => ProjectHidden.of(config, tower),
            Classes => config.score.classes as usize,
            PixelValues => config.vision.pixel_values(),
            PatchInputs if tower.has(feature::PATCH_STEM) => 4 * config.vision.stem_width(),
            PatchInputs => config.vision.patch_values(),
            StemWidth => config.vision.stem_width(),
            FourSquares => 4 * config.vision.stem_width(),
            Registers => config.vision.registers() as usize,
            Grid => config.vision.position_rows(),
            Vocabulary => config.text.vocab as usize,
            Context => config.text.context as usize,
        }
    }

    /// The [`feature`] bits that change it.
    pub(super) const fn bits(self) -> u32 {
        match self {
            Fc1 => feature::GATED_MLP,
            PatchInputs => feature::PATCH_STEM,
            _ => 0,
        }
    }
}

impl When {
    /// Whether it holds for a tower of `config`.
    pub fn holds(self, config: &Config, tower: &TowerConfig) -> bool {
        match self {
            Always => true,
            Has(bit) => tower.has(bit),
            HasNot(bit) => !tower.has(bit),
            AttentionHead => tower.pooling == Pooling::AttentionHead as u32,
            HasRegisters => config.vision.registers() > 0,
            HasPositions => {
                let position = config.vision.position;
                position == Position::Learned as u32 || position == Position::ScaledAverage as u32
            }
            ProjectsTwice => tower.project_hidden > 0,
        }
    }

    pub(super) const fn bits(self) -> u32 {
        if let Has(bit) | HasNot(bit) = self { bit } else { 0 }
    }
}

/// As in the documentation of the table.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Width => f.write_str("D"),
            Attention(1) => f.write_str("A"),
            Attention(times) => write!(f, "{times}·A"),
            Hidden => f.write_str("F"),
            PoolHidden => f.write_str("H"),
            Fc1 => f.write_str("F (gated: 2·F)"),
            Embedding => f.write_str("E"),
            ProjectHidden => f.write_str("P"),
            ProjectInputs => f.write_str("D (of two layers: P)"),
            Classes => f.write_str("classes"),
            PixelValues => f.write_str("3·patch² (stem: 1/16 of it)"),
            PatchInputs => f.write_str("3·patch² (stem: D)"),
            StemWidth => f.write_str("D/4"),
            FourSquares => f.write_str("D"),
            Registers => f.write_str("registers"),
            Grid => f.write_str("positions"),
            Vocabulary => f.write_str("vocab"),
            Context => f.write_str("context"),
        }
    }
}
