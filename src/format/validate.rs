//! What a [`Config`] may say. A value that this reader does not know, or that makes no sense, is an error that names
//! the field: nothing is guessed, and whatever passes cannot overflow the arithmetic of shapes.

use super::config::*;
use super::feature;
use super::merging::Merging;
use super::parts::{self, TowerParts};
use super::stored::*;
use crate::{Error, Result};
use core::ops::RangeInclusive;

/// Longest side of an image in pixels.
const MAX_SIDE: u32 = 8192;
/// Most tokens of an image or a text.
const MAX_TOKENS: u32 = 65536;

/// Most tokens between class token and patches.
const MAX_REGISTERS: u32 = 64;

/// Names the fields of one struct: `fields!(tower, "vision.tower.", width)`.
macro_rules! named {
    ($prefix:literal, $owner:expr, $field:ident) => {
        Field { name: concat!($prefix, stringify!($field)), value: $owner.$field }
    };
}

/// Checks a tower; the prefix must be a literal, so that errors can name fields without allocating.
macro_rules! check_tower {
    ($prefix:literal, $config:expr, $tower:expr, $parts:expr) => {{
        let (tower, parts): (&TowerConfig, &TowerParts) = ($tower, $parts);
        named!($prefix, tower, width).within(1..=16384, "1..=16384")?;
        named!($prefix, tower, depth).within(1..=256, "1..=256")?;
        named!($prefix, tower, heads).within(1..=16384, "1..=16384")?;
        named!($prefix, tower, head_dim).within(1..=16384 / tower.heads, "heads · head_dim in 1..=16384")?;
        named!($prefix, tower, mlp_width).within(1..=65536, "1..=65536")?;
        named!($prefix, tower, act).known(Act::from_stored(tower.act).is_some(), "a known activation")?;
        let eps = tower.norm_eps;
        float(concat!($prefix, "norm_eps"), eps, eps > 0.0 && eps <= 1.0, "above 0, at most 1")?;
        if tower.has(feature::GATED_MLP) {
            named!($prefix, tower, mlp_width).within(1..=32768, "1..=32768 if it is gated")?;
        }
        let known = tower.features & !parts.features() == 0;
        named!($prefix, tower, features).known(known, "only bits that this version knows")?;
        let used = parts.idle($config, tower) == 0;
        named!($prefix, tower, features).known(used, "no bias without its layer")?;
        let most = if tower.has(feature::PROJECT) { 16384 } else { 0 };
        named!($prefix, tower, project_hidden).within(0..=most, "at most 16384, 0 without a projection")?;
        named!($prefix, tower, merge_power).within(0..=Merging::MAX_POWER, "0..=3")?;
        let merges = tower.merge_most > 0;
        let last = if merges { tower.depth.saturating_sub(2) } else { 0 };
        named!($prefix, tower, merge_first)
            .within(0..=last, "a block before the last one, 0 if none merges")?;
        named!($prefix, tower, merge_power)
            .known(merges || tower.merge_power == 0, "0 if no block merges")?;
        zero(concat!($prefix, "reserved"), &tower.reserved)
    }};
}

#[derive(Clone, Copy)]
struct Field {
    name: &'static str,
    value: u32,
}

impl Field {
    fn known(self, ok: bool, expected: &'static str) -> Result<()> {
        if ok {
            return Ok(());
        }
        Err(Error::Config { field: self.name, expected, found: self.value.into() })
    }

    fn within(self, range: RangeInclusive<u32>, expected: &'static str) -> Result<()> {
        self.known(range.contains(&self.value), expected)
    }
}

fn float(field: &'static str, value: f32, ok: bool, expected: &'static str) -> Result<()> {
    if ok && value.is_finite() {
        return Ok(());
    }
    Err(Error::Config { field, expected, found: value.into() })
}

fn zero(name: &'static str, reserved: &[u32]) -> Result<()> {
    let value = reserved.iter().copied().find(|&value| value != 0).unwrap_or(0);
    Field { name, value }.known(value == 0, "zero: a later version of the format wrote this file")
}

impl Config {
    /// Whether there is an image tower.
    pub fn has_vision(&self) -> bool {
        self.vision.tower.depth != 0
    }

    /// Whether there is a text tower.
    pub fn has_text(&self) -> bool {
        self.text.tower.depth != 0
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] names the first wrong field.
    pub fn validate(&self) -> Result<()> {
        self.score.validate()?;
        let embed_dim = self.score.embed_dim;
        if self.has_vision() {
            self.vision.validate(self)?;
            self.preprocess.validate(&self.vision)?;
            let fits = self.vision.tower.has(feature::PROJECT) || self.vision.tower.width == embed_dim;
            named!("score.", self.score, embed_dim).known(fits, "vision.tower.width, as nothing projects")?;
            let classifies = self.vision.tower.has(feature::CLASSIFIER);
            let scores = self.score.kind == Scoring::Classifier as u32;
            named!("score.", self.score, kind).known(classifies == scores, "classifier if there is one")?;
        } else {
            let (vision, preprocess) =
                (bytemuck::bytes_of(&self.vision), bytemuck::bytes_of(&self.preprocess));
            absent("vision", vision)?;
            absent("preprocess", preprocess)?;
        }
        if self.has_text() {
            self.text.validate(self)?;
            let fits = self.text.tower.has(feature::PROJECT) || self.text.tower.width == embed_dim;
            named!("score.", self.score, embed_dim).known(fits, "text.tower.width, as nothing projects")?;
        } else {
            absent("text", bytemuck::bytes_of(&self.text))?;
        }
        if !self.has_vision() && !self.has_text() {
            return Err(Error::Config {
                field: "vision.tower.depth",
                expected: "at least one tower",
                found: 0.0,
            });
        }
        Ok(())
    }
}

/// A tower without blocks is absent: all of it must be zero.
fn absent(field: &'static str, bytes: &[u8]) -> Result<()> {
    match bytes.iter().find(|&&byte| byte != 0) {
        None => Ok(()),
        Some(&byte) => {
            Err(Error::Config { field, expected: "all zero, as its tower has no blocks", found: byte.into() })
        }
    }
}

impl VisionConfig {
    fn validate(&self, config: &Config) -> Result<()> {
        check_tower!("vision.tower.", config, &self.tower, &parts::VISION)?;
        let class = u32::from(self.tower.has(feature::CLASS_TOKEN));
        let pooling = match Pooling::from_stored(self.tower.pooling) {
            Some(Pooling::Class) => class == 1,
            Some(Pooling::MeanPatches | Pooling::MeanAll | Pooling::AttentionHead) => true,
            _ => false,
        };
        let expected = "class token (if there is one), a mean or an attention head";
        named!("vision.tower.", self.tower, pooling).known(pooling, expected)?;
        self.validate_pool_head()?;
        named!("vision.", self, height).within(1..=MAX_SIDE, "1..=8192")?;
        named!("vision.", self, width).within(1..=MAX_SIDE, "1..=8192")?;
        let side = self.height.min(self.width).min(128);
        named!("vision.", self, patch).within(1..=side, "1..=128 and no larger than the image")?;
        named!("vision.", self, prefix_tokens).within(
            class..=class + MAX_REGISTERS,
            "the class token, if there is one, and at most 64 registers",
        )?;
        let (rows, cols) = (self.height / self.patch, self.width / self.patch);
        named!("vision.", self, patch).known(rows * cols < MAX_TOKENS, "fewer than 65536 patches")?;
        named!("vision.", self, max_patches).within(0..=MAX_TOKENS - 1, "fewer than 65536 patches")?;
        if self.max_patches > 0 {
            // Every image has its own grid: a table is resampled for each, and nothing else is made for it.
            let resampled = self.position == Position::Learned as u32
                && self.interpolation != Interpolation::Fixed as u32
                && self.rope == 0;
            named!("vision.", self, max_patches).known(resampled, "0 unless positions can be resampled")?;
        }
        if self.tower.has(feature::PATCH_STEM) {
            let quarters = self.patch.is_multiple_of(4);
            named!("vision.", self, patch).known(quarters, "a multiple of 4 for a patch stem")?;
            let quarters = self.tower.width.is_multiple_of(4);
            named!("vision.tower.", self.tower, width).known(quarters, "a multiple of 4 for a patch stem")?;
            let whole = self.max_patches == 0 && self.pyramid_stride == 0;
            named!("vision.tower.", self.tower, features)
                .known(whole, "a patch stem for images of one size only")?;
        }
        let most = match self.no_merging() {
            None if self.tower.depth > 1 => rows * cols / 2,
            _ => 0,
        };
        named!("vision.tower.", self.tower, merge_most).within(
            0..=most,
            "at most half of the patches; 0 with rotary positions, a norm after attention, images of several sizes or one block",
        )?;
        self.validate_position((rows, cols))?;
        self.validate_rope()
    }

    /// Heads and MLP of a pooling head that has others than the blocks.
    fn validate_pool_head(&self) -> Result<()> {
        if self.tower.pooling != Pooling::AttentionHead as u32 {
            named!("vision.", self, pool_heads).within(0..=0, "0 without an attention head")?;
            return named!("vision.", self, pool_mlp_width).within(0..=0, "0 without an attention head");
        }
        let channels = self.tower.attention_width() as u32;
        let divides = self.pool_heads == 0 || channels.is_multiple_of(self.pool_heads);
        named!("vision.", self, pool_heads).known(divides, "0, or a divisor of heads · head_dim")?;
        named!("vision.", self, pool_mlp_width).within(0..=65536, "0..=65536")
    }

    /// `patches`: rows and columns at the configured size.
    fn validate_position(&self, patches: (u32, u32)) -> Result<()> {
        let interpolation = Interpolation::from_stored(self.interpolation);
        named!("vision.", self, interpolation).known(interpolation.is_some(), "a known interpolation")?;
        let position = Position::from_stored(self.position);
        let computed = match position {
            Some(Position::Learned | Position::ScaledAverage) => {
                named!("vision.", self, grid_rows).within(1..=MAX_TOKENS, "1..=65536")?;
                let most = MAX_TOKENS / self.grid_rows;
                named!("vision.", self, grid_cols).within(1..=most, "at most 65536 positions")?;
                named!("vision.", self, position_prefix)
                    .within(0..=self.prefix_tokens, "at most the prefix tokens")?;
                false
            }
            Some(Position::None | Position::SinCos | Position::SinCosMae) => {
                named!("vision.", self, grid_rows).within(0..=0, "0 without stored positions")?;
                named!("vision.", self, grid_cols).within(0..=0, "0 without stored positions")?;
                named!("vision.", self, position_prefix).within(0..=0, "0 without stored positions")?;
                true
            }
            None => return named!("vision.", self, position).known(false, "a known kind of position"),
        };
        let fits = match interpolation {
            Some(Interpolation::Computed) => computed,
            Some(Interpolation::Fixed) => !computed && (self.grid_rows, self.grid_cols) == patches,
            _ => !computed,
        };
        named!("vision.", self, interpolation)
            .known(fits, "what the kind of position needs; not fixed if the grids differ")?;
        if matches!(position, Some(Position::SinCos | Position::SinCosMae)) {
            let quarters = self.tower.width.is_multiple_of(4) && self.tower.width >= 8;
            named!("vision.tower.", self.tower, width).known(quarters, "a multiple of 4 for sine-cosine")?;
            let base = self.sincos_temperature;
            float("vision.sincos_temperature", base, base > 1.0 && base <= 1e9, "above 1, at most 1e9")?;
        } else {
            let base = self.sincos_temperature;
            float("vision.sincos_temperature", base, base == 0.0, "0 without sine-cosine positions")?;
        }
        self.validate_pyramid(position == Some(Position::ScaledAverage))
    }

    fn validate_pyramid(&self, wanted: bool) -> Result<()> {
        let levels = self.pyramid_sides();
        if !wanted {
            named!("vision.", self, pyramid_stride).within(0..=0, "0 without a pyramid")?;
            return zero("vision.pyramid", &self.pyramid);
        }
        named!("vision.", self, pyramid_stride).within(1..=self.patch, "1..=patch")?;
        let field = |value| Field { name: "vision.pyramid", value };
        let first = self.pyramid[0];
        field(first).known((first, first) == (self.height, self.width), "the image's side first")?;
        let mut before = MAX_SIDE + 1;
        for &side in levels {
            field(side).within(self.patch..=before - 1, "falling sides of at least a patch")?;
            before = side;
        }
        let tail = self.pyramid[levels.len()..].iter().copied().find(|&side| side != 0);
        field(tail.unwrap_or(0)).known(tail.is_none(), "zeros after the last level")?;
        let base = first / self.patch;
        named!("vision.", self, grid_rows).known(self.grid_rows == base, "height / patch")?;
        named!("vision.", self, grid_cols).known(self.grid_cols == base, "width / patch")?;
        let tokens =
            levels.iter().map(|&side| u64::from((side - self.patch) / self.pyramid_stride + 1).pow(2));
        let few = tokens.sum::<u64>() < u64::from(MAX_TOKENS);
        named!("vision.", self, pyramid_stride).known(few, "fewer than 65536 patches in all levels")
    }

    fn validate_rope(&self) -> Result<()> {
        let theta = self.rope_theta;
        match Rope::from_stored(self.rope) {
            Some(rope) => {
                let quarters = self.tower.head_dim.is_multiple_of(4);
                named!("vision.tower.", self.tower, head_dim)
                    .known(quarters, "a multiple of 4 for rotary positions")?;
                float("vision.rope_theta", theta, theta > 1.0 && theta <= 1e9, "above 1, at most 1e9")?;
                let most = if rope == Rope::Centred { 0 } else { MAX_TOKENS };
                named!("vision.", self, rope_rows).within(0..=most, "at most 65536, 0 for patch centres")?;
                named!("vision.", self, rope_cols).within(0..=most, "at most 65536, 0 for patch centres")?;
                let both = (self.rope_rows == 0) == (self.rope_cols == 0);
                named!("vision.", self, rope_rows).known(both, "0 together with rope_cols")
            }
            None => {
                named!("vision.", self, rope).within(0..=0, "a known kind of rotation, or 0")?;
                float("vision.rope_theta", theta, theta == 0.0, "0 without rotary positions")?;
                zero("vision.rope_rows and rope_cols", &[self.rope_rows, self.rope_cols])
            }
        }
    }
}

impl TextConfig {
    fn validate(&self, config: &Config) -> Result<()> {
        check_tower!("text.tower.", config, &self.tower, &parts::TEXT)?;
        named!("text.tower.", self.tower, merge_most).within(0..=0, "0: texts are not merged")?;
        let pooling = matches!(
            Pooling::from_stored(self.tower.pooling),
            Some(Pooling::Class | Pooling::MeanAll | Pooling::FirstEos | Pooling::ArgMax | Pooling::Last)
        );
        named!("text.tower.", self.tower, pooling)
            .known(pooling, "first token, mean of all, first end token, largest id or last token")?;
        let normed = self.tower.features & (feature::FINAL_NORM | feature::POST_NORM) != 0;
        named!("text.tower.", self.tower, features).known(normed, "a norm at the end")?;
        named!("text.", self, vocab).within(1..=10_000_000, "1..=10000000")?;
        named!("text.", self, context).within(1..=MAX_TOKENS, "1..=65536")?;
        named!("text.", self, causal).within(0..=1, "0 or 1")?;
        named!("text.", self, padded).within(0..=1, "0 or 1")?;
        named!("text.", self, eos).within(0..=self.vocab - 1, "an id of the vocabulary")?;
        named!("text.", self, pad).within(0..=self.vocab - 1, "an id of the vocabulary")?;
        let known = self.canonical == 0 || Canonical::from_stored(self.canonical).is_some();
        named!("text.", self, canonical).known(known, "a known canonicalisation, or 0")?;
        zero("text.reserved", &self.reserved)
    }
}

impl PreprocessConfig {
    fn validate(&self, vision: &VisionConfig) -> Result<()> {
        let mode = ResizeMode::from_stored(self.mode);
        named!("preprocess.", self, mode).known(mode.is_some(), "a known resize mode")?;
        let known = Filter::from_stored(self.filter).is_some();
        named!("preprocess.", self, filter).known(known, "a known filter")?;
        let known = Resampler::from_stored(self.resampler).is_some();
        named!("preprocess.", self, resampler).known(known, "a known resampler")?;
        let known = CropRounding::from_stored(self.crop_rounding).is_some();
        named!("preprocess.", self, crop_rounding).known(known, "a known rounding")?;
        let known = Alpha::from_stored(self.alpha).is_some();
        named!("preprocess.", self, alpha).known(known, "a known treatment of transparency")?;
        match mode {
            // A crop that is larger than the resized image is padded.
            Some(mode) if mode.crops() => {
                named!("preprocess.", self, shortest).within(1..=MAX_SIDE, "1..=8192 with a crop")?;
            }
            _ => named!("preprocess.", self, shortest).within(0..=0, "0 without a crop")?,
        }
        let flexible = mode == Some(ResizeMode::Naflex);
        named!("vision.", vision, max_patches)
            .known(flexible == (vision.max_patches > 0), "above 0 exactly if the patches are limited")?;
        for mean in self.mean {
            float("preprocess.mean", mean, mean.abs() <= 1000.0, "at most 1000 in magnitude")?;
        }
        for std in self.std {
            float("preprocess.std", std, (1e-6..=1e6).contains(&std), "1e-6..=1e6")?;
        }
        zero("preprocess.reserved", &self.reserved)
    }
}

impl ScoreConfig {
    fn validate(&self) -> Result<()> {
        let known = Scoring::from_stored(self.kind).is_some();
        named!("score.", self, kind).known(known, "a known scoring")?;
        named!("score.", self, embed_dim).within(1..=16384, "1..=16384")?;
        let scale = self.logit_scale;
        float("score.logit_scale", scale, scale > 0.0 && scale <= 1e6, "above 0, at most 1e6")?;
        float("score.logit_bias", self.logit_bias, self.logit_bias.abs() <= 1e6, "at most 1e6 in magnitude")?;
        let classes = if self.kind == Scoring::Classifier as u32 { 1..=1_000_000 } else { 0..=0 };
        named!("score.", self, classes).within(classes, "1..=1000000 with a classifier, else 0")?;
        zero("score.reserved", &self.reserved)
    }
}
