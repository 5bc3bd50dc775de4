//! The facts about a model that inference needs, as they lie in the file: plain little-endian structs, every field
//! four bytes, every enum a `u32` whose value 0 means "absent".
//!
//! Nothing here has a default that the runtime would guess: the converter writes every field from the checkpoint, and
//! [`validate`](super::File::parse) refuses values that it does not know.

use super::feature;
#[cfg(doc)]
use super::stored::{
    Act, Alpha, Canonical, CropRounding, Filter, Interpolation, Pooling, Position, Resampler, ResizeMode,
    Rope, Scoring,
};
use bytemuck::{Pod, Zeroable};

/// What a transformer tower has in common, image or text.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct TowerConfig {
    /// Channels of a token.
    pub width: u32,
    /// Transformer blocks.
    pub depth: u32,
    /// Attention heads.
    pub heads: u32,
    /// Channels of a head; `heads · head_dim` may differ from `width`.
    pub head_dim: u32,
    /// Channels that `fc2` reads: of a gated MLP, half of what `fc1` gives.
    pub mlp_width: u32,
    /// An [`Act`].
    pub act: u32,
    /// LayerNorm's epsilon.
    pub norm_eps: f32,
    /// A [`Pooling`].
    pub pooling: u32,
    /// Which optional parts the tower has: bits of [`feature`].
    pub features: u32,
    /// Channels between the two layers of a projection that is an MLP with GELU; 0 where it is one layer.
    pub project_hidden: u32,
    /// Of the image tower, how tokens are merged: [`Merging::most`](super::Merging).
    pub merge_most: u32,
    /// [`Merging::first`](super::Merging).
    pub merge_first: u32,
    /// [`Merging::power`](super::Merging).
    pub merge_power: u32,
    /// Zero, for later versions.
    pub reserved: [u32; 3],
}

/// Most levels of an image pyramid.
pub const MAX_LEVELS: usize = 6;

/// The image tower and what feeds it.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct VisionConfig {
    /// The transformer.
    pub tower: TowerConfig,
    /// Side of a square patch in pixels.
    pub patch: u32,
    /// Image height in pixels.
    pub height: u32,
    /// Image width in pixels.
    pub width: u32,
    /// Tokens before the patches: the class token, if there is one, and registers.
    pub prefix_tokens: u32,
    /// A [`Position`].
    pub position: u32,
    /// Rows of the stored position grid.
    pub grid_rows: u32,
    /// Columns of the stored position grid.
    pub grid_cols: u32,
    /// An [`Interpolation`].
    pub interpolation: u32,
    /// Rows of the position table before the grid: so many of the first tokens have a position of their own.
    pub position_prefix: u32,
    /// A [`Rope`], or 0 for none.
    pub rope: u32,
    /// Base of the rotary frequencies; 0 without.
    pub rope_theta: f32,
    /// Rows of the grid to which patch indices are scaled (not with [`Rope::Centred`]); 0 if they are not.
    pub rope_rows: u32,
    /// Columns of that grid.
    pub rope_cols: u32,
    /// Base of the sine-cosine frequencies; 0 without.
    pub sincos_temperature: f32,
    /// Most patches of an image of variable size ([`ResizeMode::Naflex`]); otherwise 0.
    pub max_patches: u32,
    /// Pixels from one patch to the next in every level of a pyramid; 0 without one (the stride is then `patch`).
    pub pyramid_stride: u32,
    /// Sides of the pyramid's levels in pixels, finest first, then zeros.
    pub pyramid: [u32; MAX_LEVELS],
    /// Heads that pool by attention ([`Pooling::AttentionHead`]); 0: as many as attend in the blocks.
    pub pool_heads: u32,
    /// Channels that the second layer of the pooling head's MLP reads; 0: as many as in the blocks.
    pub pool_mlp_width: u32,
}

/// The text tower. All zero in a vision-only file.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct TextConfig {
    /// The transformer.
    pub tower: TowerConfig,
    /// Rows of the token table.
    pub vocab: u32,
    /// Most tokens of a text.
    pub context: u32,
    /// 1 if token i sees tokens 0..=i only.
    pub causal: u32,
    /// The end token's id.
    pub eos: u32,
    /// The padding token's id.
    pub pad: u32,
    /// 1 if a text is always padded to `context` (SigLIP); 0 if it may run at its own length (CLIP).
    pub padded: u32,
    /// A [`Canonical`], or 0 for none.
    pub canonical: u32,
    /// Zero, for later versions.
    pub reserved: [u32; 9],
}

/// How an image becomes pixel values.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct PreprocessConfig {
    /// A [`ResizeMode`].
    pub mode: u32,
    /// A [`Filter`].
    pub filter: u32,
    /// A [`Resampler`].
    pub resampler: u32,
    /// A [`CropRounding`].
    pub crop_rounding: u32,
    /// An [`Alpha`].
    pub alpha: u32,
    /// Length of the shortest side before the crop, in pixels ([`ResizeMode::ShortestCrop`]); of
    /// [`ResizeMode::SquashCrop`], of both sides.
    pub shortest: u32,
    /// Mean per channel, red first, of values in 0..=1.
    pub mean: [f32; 3],
    /// Standard deviation per channel.
    pub std: [f32; 3],
    /// Zero, for later versions.
    pub reserved: [u32; 8],
}

/// How embeddings are compared.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct ScoreConfig {
    /// A [`Scoring`].
    pub kind: u32,
    /// Length of an embedding.
    pub embed_dim: u32,
    /// What cosines are multiplied by: `exp` of the checkpoint's parameter.
    pub logit_scale: f32,
    /// What is added after that.
    pub logit_bias: f32,
    /// Classes of the model's own classifier ([`Scoring::Classifier`]), named in LABELS; otherwise 0.
    pub classes: u32,
    /// Zero, for later versions.
    pub reserved: [u32; 3],
}

impl TowerConfig {
    /// Whether all `bits` of [`feature`] are set.
    pub const fn has(&self, bits: u32) -> bool {
        self.features & bits == bits
    }

    /// Merges tokens as `merging` says.
    pub const fn set_merging(&mut self, merging: super::Merging) {
        (self.merge_most, self.merge_first, self.merge_power) = (merging.most, merging.first, merging.power);
    }

    /// Channels that attention works on, all heads together.
    pub const fn attention_width(&self) -> usize {
        self.heads as usize * self.head_dim as usize
    }

    /// Output channels of `fc1`.
    pub const fn fc1_width(&self) -> usize {
        self.mlp_width as usize * if self.has(feature::GATED_MLP) { 2 } else { 1 }
    }
}

impl VisionConfig {
    /// Inputs of the patch embedding: values of one RGB patch.
    pub const fn patch_values(&self) -> usize {
        self.patch as usize * self.patch as usize * 3
    }

    /// Inputs of the first layer that pixels go through: values of a patch, or of a sixteenth of it.
    pub const fn pixel_values(&self) -> usize {
        if self.tower.has(feature::PATCH_STEM) { self.patch_values() / 16 } else { self.patch_values() }
    }

    /// Channels inside a patch stem.
    pub const fn stem_width(&self) -> usize {
        self.tower.width as usize / 4
    }

    /// Tokens after the class token and before the patches.
    pub const fn registers(&self) -> u32 {
        self.prefix_tokens.saturating_sub(if self.tower.has(feature::CLASS_TOKEN) { 1 } else { 0 })
    }

    /// The tower with the heads and the MLP of its pooling head in place of the blocks'.
    pub fn pool_tower(&self) -> TowerConfig {
        let or = |own: u32, blocks: u32| if own > 0 { own } else { blocks };
        let heads = or(self.pool_heads, self.tower.heads);
        TowerConfig {
            heads,
            head_dim: self.tower.attention_width() as u32 / heads.max(1),
            mlp_width: or(self.pool_mlp_width, self.tower.mlp_width),
            features: self.tower.features & !feature::GATED_MLP,
            ..self.tower
        }
    }

    /// Sides of the pyramid's levels in pixels, finest first; none without a pyramid.
    pub fn pyramid_sides(&self) -> &[u32] {
        let count = self.pyramid.iter().position(|&side| side == 0).unwrap_or(MAX_LEVELS);
        &self.pyramid[..count]
    }

    /// Rows of the stored position table; 0 if there is none.
    pub const fn position_rows(&self) -> usize {
        self.position_prefix as usize + self.grid_rows as usize * self.grid_cols as usize
    }
}

/// Everything about the architecture.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Config {
    /// The image tower. All zero if the file has none.
    pub vision: VisionConfig,
    /// The text tower. All zero if the file has none.
    pub text: TextConfig,
    /// Preprocessing.
    pub preprocess: PreprocessConfig,
    /// Scoring.
    pub score: ScoreConfig,
    /// First 16 bytes of the SHA-256 over the checkpoint's files: the same for every precision and for vision-only
    /// files of one checkpoint, so that a label bank fits all of them.
    pub checkpoint_id: [u8; 16],
}

impl Config {
    /// The shortest side before a crop to `height` × `width`: it keeps its ratio to the crop. 0 where nothing is
    /// cropped.
    pub fn shortest(&self, height: u32, width: u32) -> u32 {
        let own = u64::from(self.vision.height.max(self.vision.width)).max(1);
        let scaled = (u64::from(self.preprocess.shortest) * u64::from(height.max(width)) + own / 2) / own;
        u32::try_from(scaled).unwrap_or(u32::MAX)
    }
}
