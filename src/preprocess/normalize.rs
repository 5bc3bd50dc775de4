//! From bytes to the numbers that the patch embedding reads.

#![forbid(unsafe_code)]

use crate::format::PreprocessConfig;

/// The normalised value of every byte that a channel may have: a lookup table per channel, red first.
pub type NormalizationTable = [[f32; 256]; 3];

/// `(x/255 − mean) / std` for every byte x, as `(x − 255·mean) / (255·std)` in f32: transformers fuses rescaling and
/// normalisation so, and the results are equal to the last bit.
pub fn normalization_table(config: &PreprocessConfig) -> NormalizationTable {
    core::array::from_fn(|channel| {
        let (mean, std) = (config.mean[channel] * 255.0, config.std[channel] * 255.0);
        core::array::from_fn(|byte| (byte as f32 - mean) / std)
    })
}

/// Patches in a grid over `height` × `width` pixels, as (rows, columns). Pixels at the bottom and at the right that do
/// not fill a patch belong to none.
pub const fn patch_grid(height: usize, width: usize, patch: usize) -> (usize, usize) {
    (height / patch, width / patch)
}

/// Writes patch `index` (row by row over the grid) of an 8-bit frame `[height][width][3]` to `out`, `patch² · 3`
/// values in the order (row, column, channel).
///
/// # Panics
/// If the patch does not lie in the frame or `out` has another length.
pub fn write_patch_row(
    frame: &[u8],
    width: usize,
    patch: usize,
    index: usize,
    table: &NormalizationTable,
    out: &mut [f32],
) {
    assert_eq!(out.len(), patch * patch * 3);
    let (top, left) = origin(width, patch, index);
    for (y, out) in out.chunks_exact_mut(patch * 3).enumerate() {
        let row = &frame[((top + y) * width + left) * 3..][..patch * 3];
        for (out, pixel) in out.chunks_exact_mut(3).zip(row.chunks_exact(3)) {
            for channel in 0..3 {
                out[channel] = table[channel][usize::from(pixel[channel])];
            }
        }
    }
}

/// The same from normalised planar pixels `[3][height][width]`.
///
/// # Panics
/// As [`write_patch_row`].
pub fn write_patch_row_planar(
    pixels: &[f32],
    height: usize,
    width: usize,
    patch: usize,
    index: usize,
    out: &mut [f32],
) {
    assert_eq!((out.len(), pixels.len()), (patch * patch * 3, height * width * 3));
    let (top, left) = origin(width, patch, index);
    assert!(top + patch <= height);
    for (y, out) in out.chunks_exact_mut(patch * 3).enumerate() {
        for channel in 0..3 {
            let row = &pixels[(channel * height + top + y) * width + left..][..patch];
            for (out, &value) in out.chunks_exact_mut(3).zip(row) {
                out[channel] = value;
            }
        }
    }
}

/// Row and column of the first pixel of patch `index`.
fn origin(width: usize, patch: usize, index: usize) -> (usize, usize) {
    let columns = width / patch;
    (index / columns * patch, index % columns * patch)
}
