//! Rotary positions in two dimensions: in every head, pairs of channels of each patch's query and key are rotated by
//! angles that grow with row and column, so that their products see only the distance. Prefix tokens are not rotated.
//!
//! A head of `d` channels has `d/2` pairs; the first `d/4` turn with the row, the others with the column, both with the
//! frequencies `ωⱼ = θ^(−4j/d)`, j = 0..d/4.
//!
//! | [`Rope`] | coordinate of row i of n | angle | pairs |
//! |---|---|---|---|
//! | `Centred` (DINOv3, arXiv 2508.10104) | `2(i + ½)/n − 1` | `2π · coordinate · ω` | channel p with p + d/2 |
//! | `Interleaved` (timm's EVA-02, arXiv 2303.11331) | `i`, or `i · m/n` where a grid of m rows is the reference | `coordinate · ω` | channel 2p with 2p + 1 |
//! | `ColumnsFirst` (Perception Encoder, arXiv 2504.13181) | the same of `i + 1` if there is a class token | the same, but the first `d/4` pairs turn with the column | the same |
//!
//! A pair (a, b) becomes `(a·cos − b·sin, b·cos + a·sin)`.

use super::{Forward, Shape};
use crate::format::{Rope, VisionConfig, feature};
use crate::profile::Op;

/// The rotations of every patch.
#[derive(Clone, Copy, Debug)]
pub struct Rotations<'a> {
    kind: Rope,
    /// Tokens before the patches.
    prefix: usize,
    /// [patches, head_dim / 2]
    cos: &'a [f32],
    /// [patches, head_dim / 2]
    sin: &'a [f32],
}

/// Elements of each of the two tables for `patches` patches; 0 for a model without rotary positions.
pub fn table_len(config: &VisionConfig, patches: usize) -> usize {
    if config.rope == 0 { 0 } else { patches * config.tower.head_dim as usize / 2 }
}

/// Writes cosines and sines for `grid`, (rows, columns), each [patches, head_dim / 2]; nothing for a model without
/// rotary positions.
///
/// # Panics
/// If a length is not [`table_len`].
pub fn fill(config: &VisionConfig, grid: (usize, usize), cos: &mut [f32], sin: &mut [f32]) {
    let Some(kind) = Rope::from_stored(config.rope) else { return };
    let len = table_len(config, grid.0 * grid.1);
    assert_eq!((cos.len(), sin.len()), (len, len), "rotations of {grid:?} patches");
    let half = config.tower.head_dim as usize / 2;
    // The class token of a Perception Encoder is at 0.
    let first = if kind == Rope::ColumnsFirst && config.tower.has(feature::CLASS_TOKEN) { 1.0 } else { 0.0 };
    let coordinate = |i: usize, n: usize, reference: u32| {
        let (i, n) = (i as f64, n as f64);
        match kind {
            Rope::Centred => core::f64::consts::TAU * (2.0 * (i + 0.5) / n - 1.0),
            Rope::Interleaved | Rope::ColumnsFirst if reference == 0 => i + first,
            Rope::Interleaved | Rope::ColumnsFirst => (i + first) / n * f64::from(reference),
        }
    };
    let rows = cos.chunks_exact_mut(half).zip(sin.chunks_exact_mut(half));
    for (patch, (cos, sin)) in rows.enumerate() {
        let row = coordinate(patch / grid.1, grid.0, config.rope_rows);
        let column = coordinate(patch % grid.1, grid.1, config.rope_cols);
        let (one, other) = if kind == Rope::ColumnsFirst { (column, row) } else { (row, column) };
        for (pair, (cos, sin)) in cos.iter_mut().zip(sin).enumerate() {
            let (coordinate, j) = if pair < half / 2 { (one, pair) } else { (other, pair - half / 2) };
            let omega = f64::from(config.rope_theta).powf(-2.0 * j as f64 / half as f64);
            (*cos, *sin) = ((coordinate * omega).cos() as f32, (coordinate * omega).sin() as f32);
        }
    }
}

impl<'a> Rotations<'a> {
    /// The rotations in tables that [`fill`] wrote; `None` for a model without.
    pub fn new(config: &VisionConfig, cos: &'a [f32], sin: &'a [f32]) -> Option<Rotations<'a>> {
        let kind = Rope::from_stored(config.rope)?;
        Some(Rotations { kind, prefix: config.prefix_tokens as usize, cos, sin })
    }

    /// Rotates one head of patch `patch`.
    fn turn(&self, patch: usize, head: &mut [f32]) {
        let half = head.len() / 2;
        let (cos, sin) = (&self.cos[patch * half..][..half], &self.sin[patch * half..][..half]);
        let turned = |a: f32, b: f32, cos: f32, sin: f32| (a * cos - b * sin, b * cos + a * sin);
        match self.kind {
            Rope::Centred => {
                let (first, second) = head.split_at_mut(half);
                for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                    (*a, *b) = turned(*a, *b, *cos, *sin);
                }
            }
            Rope::Interleaved | Rope::ColumnsFirst => {
                for (([a, b], cos), sin) in head.as_chunks_mut().0.iter_mut().zip(cos).zip(sin) {
                    (*a, *b) = turned(*a, *b, *cos, *sin);
                }
            }
        }
    }

    /// Rotates queries and keys in `qkv`, [images, tokens, 3·heads·head_dim].
    pub(crate) fn apply(&self, forward: &mut Forward<'_>, shape: &Shape, qkv: &mut [f32]) {
        let inner = shape.heads * shape.head_dim;
        let patches = shape.images * (shape.tokens - self.prefix);
        let moved = 2 * patches * 2 * inner * size_of::<f32>();
        forward.each_row(moved, Op::Rotate, qkv, 3 * inner, |i, row, _| {
            if let Some(patch) = (i % shape.tokens).checked_sub(self.prefix) {
                row[..2 * inner].chunks_exact_mut(shape.head_dim).for_each(|head| self.turn(patch, head));
            }
        });
    }
}
