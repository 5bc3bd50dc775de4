//! Where the patches are: what is added to their embeddings, and how their queries and keys are rotated.
//!
//! | scheme | formula | source |
//! |---|---|---|
//! | [`Position::Learned`] | a table; for another grid [resampled](learned) | arXiv 2010.11929 |
//! | [`Position::SinCos`], [`Position::SinCosMae`] | [sines and cosines](sincos) of row and column | arXiv 2205.01580, 2111.06377 |
//! | [`Position::ScaledAverage`] | [averages](pyramid) of a learned table, for an image pyramid | arXiv 2403.13677 |
//! | [`Rope::Centred`](crate::format::Rope::Centred), [`Rope::Interleaved`](crate::format::Rope::Interleaved) | [rotations](crate::nn::rope) of queries and keys | DINOv3 (arXiv 2508.10104), EVA-02 (arXiv 2303.11331) |
//!
//! All of it is computed when an encoder is made (per image only where images have grids of their own), in f64, without
//! allocating.

pub mod learned;
pub mod pyramid;
pub mod sincos;

use crate::format::{Position, VisionConfig};

/// Writes what is added to every token of an image whose patches form `grid`, (rows, columns), to `out`, [tokens,
/// width]: prefix tokens first, zeros where a token has no position. The patches of a pyramid count as one row. `table` holds the stored positions,
/// [position_prefix + grid, width], if there are any.
///
/// # Panics
/// If a length does not fit `config`.
pub fn fill(config: &VisionConfig, table: Option<&[f32]>, grid: (usize, usize), out: &mut [f32]) {
    let width = config.tower.width as usize;
    let (prefix, patches) = out.split_at_mut(config.prefix_tokens as usize * width);
    assert_eq!(patches.len(), grid.0 * grid.1 * width, "positions of {grid:?} patches");
    prefix.fill(0.0);
    let temperature = f64::from(config.sincos_temperature);
    match (Position::from_stored(config.position), table) {
        (Some(Position::Learned), Some(table)) => {
            let (own, stored) = table.split_at(config.position_prefix as usize * width);
            prefix[..own.len()].copy_from_slice(own);
            let from = (config.grid_rows as usize, config.grid_cols as usize);
            learned::resample(config.interpolation, stored, from, grid, width, patches);
        }
        (Some(Position::ScaledAverage), Some(table)) => {
            let (own, stored) = table.split_at(config.position_prefix as usize * width);
            prefix[..own.len()].copy_from_slice(own);
            pyramid::fill(config, stored, patches);
        }
        (Some(Position::SinCos), _) => sincos::simple_vit(temperature, grid, width, patches),
        (Some(Position::SinCosMae), _) => sincos::mae(temperature, grid, width, patches),
        _ => patches.fill(0.0),
    }
}
