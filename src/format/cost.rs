//! What a model costs to run, known before anything is allocated or computed. A file may be valid, small and hostile: a
//! few KB can ask for days of arithmetic. So encoders hold a model's [`Cost`] against [`Limits`] first.

use super::config::{Config, TowerConfig};
use super::feature;
use super::merging::Merging;
use super::parts::{HEAD_KV, HEAD_QUERY, PATCH_EMBED, PATCH_STEM1, PATCH_STEM2, TEXT, TowerParts, VISION};
use super::schema::Kind;
use super::stored::{Filter, Position, ResizeMode};
use crate::{Error, Result};
use ocelli_kernels::pack::{padded_k, padded_n};

/// Longest side of a picture before it is resized, in pixels.
const SOURCE_SIDE: u64 = 65_535;
/// Working memory of a GEMM on each thread, in bytes, rounded up.
const GEMM_SCRATCH: u64 = 128 << 10;
/// Bytes of an f32.
const F32: u64 = 4;
/// Texts that go through the tower together at most.
pub(crate) const TEXTS_AT_ONCE: usize = 24;
/// Tokens that they may have in all, where one text cannot have more: as many as an image has, which is enough for
/// multiplication at full speed.
pub(crate) const TEXT_ROWS: usize = 192;

/// What one tower costs. Numbers that would not fit are `u64::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Tokens of an image or a text.
    pub tokens: u64,
    /// Transformer blocks.
    pub blocks: u64,
    /// Attention heads of a block.
    pub heads: u64,
    /// Multiply-accumulates for one image or text at most, with the kernels' padding.
    pub macs: u64,
    /// Multiply-accumulates for the positions: once for an encoder, or for each image where grids differ.
    pub position_macs: u64,
    /// Bytes of working memory, weights not included; estimated, somewhat above the truth.
    pub arena_bytes: u64,
}

/// The most that an encoder takes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of [`Cost::tokens`].
    pub tokens: u64,
    /// Of [`Cost::blocks`].
    pub blocks: u64,
    /// Of [`Cost::heads`].
    pub heads: u64,
    /// Of [`Cost::macs`].
    pub macs: u64,
    /// Of [`Cost::position_macs`].
    pub position_macs: u64,
    /// Of [`Cost::arena_bytes`].
    pub arena_bytes: u64,
}

impl Default for Limits {
    /// Room for every published model of the supported families at its own size and twice its side, up to ViT-7B.
    fn default() -> Limits {
        Limits {
            tokens: 16_384,
            blocks: 128,
            heads: 256,
            macs: 20_000_000_000_000,
            position_macs: 20_000_000_000,
            arena_bytes: 4 << 30,
        }
    }
}

impl Limits {
    /// All limits times `factor`.
    #[must_use]
    pub fn times(self, factor: u32) -> Limits {
        let times = |limit: u64| limit.saturating_mul(factor.into());
        Limits {
            tokens: times(self.tokens),
            blocks: times(self.blocks),
            heads: times(self.heads),
            macs: times(self.macs),
            position_macs: times(self.position_macs),
            arena_bytes: times(self.arena_bytes),
        }
    }
}

impl Cost {
    /// The image tower's, for a batch of `images` on `threads` threads, each of `image_size`, (height, width) in pixels,
    /// instead of the configured size; `None` without an image tower. `config` must be valid.
    pub fn of_images(
        config: &Config,
        image_size: Option<(u32, u32)>,
        images: usize,
        threads: usize,
    ) -> Option<Cost> {
        let (tower, vision) = (VISION.of(config)?, &config.vision);
        let (height, width) = image_size.unwrap_or((vision.height, vision.width));
        let [height, width, patch, images] =
            [height.into(), width.into(), u64::from(vision.patch), images as u64];
        let pyramid = vision.pyramid_sides();
        let naflex = config.preprocess.mode == ResizeMode::Naflex as u32;
        let patches = if naflex {
            vision.max_patches.into()
        } else if pyramid.is_empty() {
            product(&[height / patch, width / patch])
        } else {
            sum(pyramid.iter().map(|&side| pyramid_row(config, side).pow(2)))
        };
        let tokens = patches.saturating_add(vision.prefix_tokens.into());
        let pyramid_values = sum(pyramid.iter().map(|&side| product(&[side.into(), side.into(), 3])));
        let patch_values = vision.patch_values() as u64;
        let pixels = if naflex { product(&[patches, patch_values]) } else { product(&[height, width, 3]) };
        let frames = sum([
            product(&[images, pixels]),
            product(&[images, pyramid_values, F32]),
            if naflex {
                naflex_resize_bytes(config, product(&[patches, patch]), threads as u64)
            } else {
                resize_bytes(config, (height, width), threads as u64)
            },
        ]);
        let tables = sum([
            product(&[tokens, tower.width.into(), F32]),
            if vision.rope != 0 { product(&[patches, tower.head_dim.into(), F32]) } else { 0 },
        ]);
        // The pooling head works in the blocks' memory, or in more.
        let bytes = |tower: &TowerConfig| {
            tower_bytes(config, tower, product(&[images, tokens]), tokens, threads as u64)
        };
        let has_head = HEAD_QUERY.when.holds(config, tower);
        let tower_bytes = bytes(tower).max(if has_head { bytes(&vision.pool_tower()) } else { 0 });
        let has_stem = tower.has(feature::PATCH_STEM);
        let stem =
            if has_stem { product(&[16, images, patches, vision.stem_width() as u64, F32]) } else { 0 };
        let tower_bytes = tower_bytes.max(stem);
        // The patches' values, and a tile of them on each thread.
        let rows = product(&[images, patches]).saturating_add(product(&[16, threads as u64]));
        let operand = product(&[rows, patch_values + 16, F32]);
        let (merging, merging_macs) = merging(tower, patches, product(&[images, tokens]));
        // The finest level is read four times for each of the others.
        let levels = product(&[4, pyramid.first().map_or(0, |&side| u64::from(side).pow(2)), 3]);
        let levels = levels.saturating_mul(pyramid.len().saturating_sub(1) as u64);
        Some(Cost {
            tokens,
            blocks: tower.depth.into(),
            heads: tower.heads.into(),
            macs: sum([tower_macs(&VISION, config, tower, tokens, patches), levels, merging_macs]),
            position_macs: position_macs(config, (height / patch, width / patch), naflex, patches),
            arena_bytes: sum([
                frames,
                tables,
                operand,
                tower_bytes,
                merging,
                product(&[images + 1, config.score.embed_dim.into(), F32]),
                product(&[config.score.classes.into(), F32]),
            ]),
        })
    }

    /// The text tower's, for one text (the memory: for as many as go together) on `threads` threads; `None` without a text
    /// tower. `config` must be valid.
    pub fn of_text(config: &Config, threads: usize) -> Option<Cost> {
        let (tower, tokens) = (TEXT.of(config)?, u64::from(config.text.context));
        // Each text has a remainder, and the last one may be filled up.
        let rows = tokens.max(TEXT_ROWS as u64) + 2 * TEXTS_AT_ONCE as u64;
        Some(Cost {
            tokens,
            blocks: tower.depth.into(),
            heads: tower.heads.into(),
            macs: tower_macs(&TEXT, config, tower, tokens, 0),
            position_macs: 0,
            arena_bytes: tower_bytes(config, tower, rows, tokens, threads as u64),
        })
    }

    /// Holds the cost against `limits`.
    ///
    /// # Errors
    /// [`Error::TooCostly`] names the first number that is too large.
    pub fn check(&self, limits: &Limits) -> Result<()> {
        for (what, found, limit) in [
            ("tokens", self.tokens, limits.tokens),
            ("transformer blocks", self.blocks, limits.blocks),
            ("attention heads", self.heads, limits.heads),
            ("multiply-accumulates for one image or text", self.macs, limits.macs),
            ("multiply-accumulates for its positions", self.position_macs, limits.position_macs),
            ("bytes of working memory", self.arena_bytes, limits.arena_bytes.min(isize::MAX as u64)),
        ] {
            if found > limit {
                return Err(Error::TooCostly { what, limit, found });
            }
        }
        Ok(())
    }
}

fn product(factors: &[u64]) -> u64 {
    factors.iter().fold(1, |product: u64, &factor| product.saturating_mul(factor))
}

fn sum(terms: impl IntoIterator<Item = u64>) -> u64 {
    terms.into_iter().fold(0, u64::saturating_add)
}

/// Patches in a row of a pyramid's level.
fn pyramid_row(config: &Config, side: u32) -> u64 {
    u64::from((side - config.vision.patch) / config.vision.pyramid_stride) + 1
}

/// Every linear layer times the rows that go through it, and attention.
fn tower_macs(parts: &TowerParts, config: &Config, tower: &TowerConfig, tokens: u64, patches: u64) -> u64 {
    let padded = |n: usize, k: usize| product(&[padded_n(n) as u64, padded_k(k) as u64]);
    let heads =
        |tower: &TowerConfig| product(&[2, tower.heads.into(), padded_n(tower.head_dim as usize) as u64]);
    let mut macs = product(&[tokens, tokens, heads(tower), tower.depth.into()]);
    if HEAD_QUERY.when.holds(config, tower) {
        macs = macs.saturating_add(product(&[tokens, heads(&config.vision.pool_tower())]));
    }
    // The closure never fails.
    let _ = parts.each::<()>(config, &mut |block, part| {
        let rows = if part.name == PATCH_STEM1.name {
            patches.saturating_mul(16)
        } else if part.name == PATCH_STEM2.name {
            patches.saturating_mul(4)
        } else if part.name == PATCH_EMBED.name {
            patches
        } else if block.is_some() || part.name == HEAD_KV.name {
            tokens
        } else {
            1
        };
        for (_, kind, n, k) in part.tensors(config, tower) {
            if kind == Kind::Matrix {
                macs = macs.saturating_add(product(&[rows, padded(n, k)]));
            }
        }
        Ok(())
    });
    macs
}

/// Bytes and multiply-accumulates that merging takes, of images of `patches` patches and `tokens` tokens in all: the products
/// of half of the patches' keys with the others'.
fn merging(tower: &TowerConfig, patches: u64, tokens: u64) -> (u64, u64) {
    if Merging::of(tower).is_none() {
        return (0, 0);
    }
    let (half, key) = (patches.div_ceil(2) + 16, padded_k(tower.head_dim as usize) as u64);
    let values = sum([product(&[2, tokens]), product(&[half, 4, key]), product(&[half, half]), 3 * half]);
    (product(&[values, F32]), product(&[tower.depth.into(), half, half, key]))
}

/// Residual stream, working memory and GEMM operands of `rows` tokens in all, and attention's scratch memory for an
/// image of `tokens` on each thread.
fn tower_bytes(config: &Config, tower: &TowerConfig, rows: u64, tokens: u64, threads: u64) -> u64 {
    let (width, inner) = (u64::from(tower.width), tower.attention_width() as u64);
    let work = (4 * inner).max(tower.fc1_width() as u64).max(width).max(tower.project_hidden.into());
    let projection = config.score.embed_dim.max(tower.project_hidden).into();
    let operand = width.max(inner).max(tower.mlp_width.into()).max(projection) + 16;
    let (head, keys) = (u64::from(tower.head_dim) + 16, tokens.saturating_add(16));
    // Keys, values and a tile of scores.
    let scratch = product(&[keys, 2 * head + 16]).saturating_add(64 * head);
    sum([
        product(&[rows, width + work + operand + 1, F32]),
        product(&[threads, scratch.saturating_add(16 * operand), F32]),
        product(&[threads, GEMM_SCRATCH]),
    ])
}

/// Coefficients of a resize from the largest source to a frame, and rows on their way on each thread.
fn resize_bytes(config: &Config, (height, width): (u64, u64), threads: u64) -> u64 {
    let crops = ResizeMode::from_stored(config.preprocess.mode).is_some_and(ResizeMode::crops);
    let shortest = config.shortest(height as u32, width as u32).into();
    let reach = reach(config);
    let taps = |side: u64| reach * SOURCE_SIDE.div_ceil(if crops { shortest } else { side }.max(1)) + 3;
    let axis = |side: u64| product(&[side, taps(side) + 2, F32]);
    let rows = SOURCE_SIDE.saturating_add(product(&[width, taps(height)]));
    sum([axis(height), axis(width), product(&[threads, rows, 3])])
}

/// The same to whatever grid of patches; `side` is that of all patches in one row.
fn naflex_resize_bytes(config: &Config, side: u64, threads: u64) -> u64 {
    let reach = reach(config) * SOURCE_SIDE;
    let axes = product(&[2, reach + 6 * side, F32]);
    axes.saturating_add(product(&[threads, SOURCE_SIDE + 2 * reach + 8 * side, 3]))
}

/// Source pixels that a resized one reads along an axis, for each source pixel that it stands for.
fn reach(config: &Config) -> u64 {
    if config.preprocess.filter == Filter::Bilinear as u32 { 2 } else { 4 }
}

/// Resampling the stored positions to the image's grid.
fn position_macs(config: &Config, grid: (u64, u64), naflex: bool, patches: u64) -> u64 {
    let vision = &config.vision;
    let (rows, columns, width) =
        (vision.grid_rows.into(), vision.grid_cols.into(), vision.tower.width.into());
    match Position::from_stored(vision.position) {
        // Each output reads up to four inputs per axis, or that times the factor by which the axis shrinks.
        Some(Position::Learned) if grid != (rows, columns) || naflex => {
            let pairs = if naflex {
                // Whatever the grid of so many patches is.
                sum([product(&[rows, columns]), product(&[patches, rows.max(columns)])])
            } else {
                product(&[grid.0.max(rows), grid.1.max(columns)])
            };
            product(&[16, pairs, width])
        }
        // Each patch reads the cells that it covers.
        Some(Position::ScaledAverage) => sum(vision.pyramid_sides().iter().map(|&side| {
            let covered = u64::from(vision.pyramid[0]).div_ceil(side.into()) + 2;
            product(&[pyramid_row(config, side).pow(2), covered.pow(2), width])
        })),
        _ => 0,
    }
}
