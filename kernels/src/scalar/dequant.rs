//! Between int8 codes and f32.

use crate::activations::{I8Format, SIGNED_AT, TILE_ROWS};
use crate::layout::NR;
use crate::table::{AccI8, Dequant};

/// `y[r][c] = (acc[r][c] − excess · sums[c]) · rows[r] · cols[c] + bias[c]`, stored or added.
///
/// # Safety
/// As [`DequantTile`](crate::table::DequantTile) says.
pub(crate) unsafe fn dequant(
    acc: &AccI8,
    by: &Dequant<'_>,
    rows: usize,
    add: bool,
    out: *mut f32,
    stride: usize,
) {
    for r in 0..rows.min(TILE_ROWS) {
        // SAFETY: `out` has `rows` rows of NR, `stride` apart.
        let out = unsafe { core::slice::from_raw_parts_mut(out.add(r * stride), NR) };
        for (c, out) in out.iter_mut().enumerate() {
            let sum = acc[r * NR + c].wrapping_sub(by.excess.wrapping_mul(by.sums[c]));
            let y = sum as f32 * (by.row_scales[r] * by.col_scales[c]) + by.bias[c];
            *out = if add { *out + y } else { y };
        }
    }
}

/// `round_half_even(value · inverse)` for |result| ≤ 127; NaN becomes some code.
pub(crate) fn code(value: f32, inverse: f32) -> i8 {
    // Adding 1.5·2²³ leaves no fraction bits: the addition itself rounds, ties to even.
    const ROUND: f32 = 12_582_912.0;
    (((value * inverse) + ROUND) - ROUND).clamp(-127.0, 127.0) as i8
}

/// Steps of a tile: `[width/group][row][group]`.
///
/// # Safety
/// As [`QuantizeTile`](crate::table::QuantizeTile) says.
pub(crate) unsafe fn quantize_tile(
    format: I8Format,
    x: *const f32,
    width: usize,
    rows: usize,
    inverses: &[f32; TILE_ROWS],
    out: &mut [u8],
) {
    // SAFETY: `x` has `rows` rows of `width`.
    let x = unsafe { core::slice::from_raw_parts(x, rows * width) };
    let group = format.group();
    for (row, (x, &inverse)) in x.chunks_exact(width).zip(inverses).enumerate() {
        for (i, &x) in x.iter().enumerate() {
            let to = (i / group * TILE_ROWS + row) * group + i % group;
            let code = code(x, inverse);
            match format {
                I8Format::S8K4 | I8Format::S8K8 => out[to] = code as u8,
                I8Format::U8K4 => out[to] = code as u8 ^ 0x80,
                I8Format::BothK4 => {
                    let to = to + to / SIGNED_AT * SIGNED_AT;
                    (out[to], out[to + SIGNED_AT]) = (code as u8 ^ 0x80, code as u8);
                }
            }
        }
    }
}
