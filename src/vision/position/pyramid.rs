//! RetinaViT's scaled average position embedding (Shu and Bain, arXiv 2403.13677).
//!
//! The model sees patches of an image pyramid: levels of falling sides `s`, the finest `S` first, each cut into patches of
//! `p` pixels every `t` pixels, rows by rows. There is one learned table, of `S/p` × `S/p` embeddings `E`, for the cells of
//! the finest level. The patch at row i, column j of a level has the receptive field
//! `R = [i·t·S/s, (i·t + p)·S/s) × [j·t·S/s, (j·t + p)·S/s)` in pixels of the finest level, and the embedding
//!
//! ```text
//! S/s · Σ |R ∩ cell| · E(cell) / Σ |R ∩ cell|          over the cells that R covers
//! ```
//!
//! the average over what it covers, scaled by the side of its receptive field relative to that of a finest patch. This
//! is how this project reads the paper, for which no weights are public: averages are weighted by area, as a patch
//! may cover cells in part; the relative receptive field is a ratio of sides, not of areas, so that it is 1 for the
//! finest level and 14 for the coarsest of 224, 128, 64, 32, 16.

use super::learned;
use crate::format::{Interpolation, VisionConfig};

/// Channels that are summed at once.
const CHUNK: usize = 64;

/// Patches per row, and per column, of a level of `side` pixels.
pub const fn patches(config: &VisionConfig, side: u32) -> usize {
    ((side - config.patch) / config.pyramid_stride) as usize + 1
}

/// Patches of all levels.
pub fn count(config: &VisionConfig) -> usize {
    config.pyramid_sides().iter().map(|&side| patches(config, side).pow(2)).sum()
}

/// Writes the positions of the patches of all levels, [patches, width], from the finest level's `table`, [grid_rows ·
/// grid_cols, width].
///
/// # Panics
/// If a length does not fit `config`.
pub fn fill(config: &VisionConfig, table: &[f32], out: &mut [f32]) {
    let width = config.tower.width as usize;
    assert_eq!(out.len(), count(config) * width, "positions of a pyramid");
    let (cells, patch) = (config.grid_rows as usize, f64::from(config.patch));
    let mut rest = out;
    for &side in config.pyramid_sides() {
        let (n, field) = (patches(config, side), f64::from(config.pyramid_sides()[0]) / f64::from(side));
        let (level, others) = rest.split_at_mut(n * n * width);
        rest = others;
        // Along one axis, in cells: where patch i's receptive field starts, the cells that it covers, and by how much.
        let start = |i: usize| (i as u32 * config.pyramid_stride) as f64 * field / patch;
        let covers = |i: usize| start(i) as usize..((start(i) + field).ceil() as usize).min(cells);
        let overlap =
            |i: usize, cell: usize| (start(i) + field).min(cell as f64 + 1.0) - start(i).max(cell as f64);
        for (index, out) in level.chunks_exact_mut(width).enumerate() {
            for (chunk, out) in out.chunks_mut(CHUNK).enumerate() {
                let (mut sums, mut area) = ([0.0f64; CHUNK], 0.0);
                for row in covers(index / n) {
                    let high = overlap(index / n, row).max(0.0);
                    for column in covers(index % n) {
                        let covered = high * overlap(index % n, column).max(0.0);
                        area += covered;
                        let values = &table[(row * cells + column) * width + chunk * CHUNK..][..out.len()];
                        sums.iter_mut()
                            .zip(values)
                            .for_each(|(sum, &value)| *sum += covered * f64::from(value));
                    }
                }
                out.iter_mut().zip(sums).for_each(|(out, sum)| *out = (sum / area * field) as f32);
            }
        }
    }
}

/// Elements of the levels of one image, [side, side, 3] each.
pub fn levels_len(config: &VisionConfig) -> usize {
    config.pyramid_sides().iter().map(|&side| 3 * (side as usize).pow(2)).sum()
}

/// Makes the coarser levels of an image in `levels`, [`levels_len`] values whose first are the finest level, [side, side,
/// 3]: triangle filter with antialias.
pub(crate) fn resize_levels(config: &VisionConfig, levels: &mut [f32]) {
    let finest = config.pyramid_sides()[0] as usize;
    let (image, mut rest) = levels.split_at_mut(3 * finest * finest);
    for &side in &config.pyramid_sides()[1..] {
        let side = side as usize;
        let (level, others) = rest.split_at_mut(3 * side * side);
        rest = others;
        let filter = Interpolation::BilinearAntialias as u32;
        learned::resample(filter, image, (finest, finest), (side, side), 3, level);
    }
}

/// Writes patch `index` of all levels of an image to `out`, patch² · 3 values in the order (row, column, channel).
pub(crate) fn write_patch_row(config: &VisionConfig, levels: &[f32], mut index: usize, out: &mut [f32]) {
    let (patch, stride) = (config.patch as usize, config.pyramid_stride as usize);
    let mut rest = levels;
    for &side in config.pyramid_sides() {
        let (n, side) = (patches(config, side), side as usize);
        if index < n * n {
            let (top, left) = (index / n * stride, index % n * stride);
            for (y, out) in out.chunks_exact_mut(3 * patch).enumerate() {
                out.copy_from_slice(&rest[((top + y) * side + left) * 3..][..3 * patch]);
            }
            return;
        }
        (index, rest) = (index - n * n, &rest[3 * side * side..]);
    }
    unreachable!("the levels have fewer patches");
}
