//! From the sums of an int8 GEMM to f32.

use crate::pack::NR;
use crate::table::{AccI8, DequantizeBy};

/// `y[r][c] = (acc[r][c] − lhs[r].zero_point · rhs_sums[c]) · (lhs[r].scale · rhs_scales[c]) + bias[c]`, stored or added.
///
/// # Safety
/// As [`DequantizeTile`](crate::table::DequantizeTile) says.
pub(crate) unsafe fn dequantize_tile(
    acc: &AccI8,
    by: &DequantizeBy<'_>,
    rows: usize,
    add: bool,
    out: *mut f32,
    stride: usize,
) {
    for (r, lhs) in by.lhs.iter().enumerate().take(rows) {
        // SAFETY: `out` has `rows` rows of NR, `stride` apart.
        let out = unsafe { core::slice::from_raw_parts_mut(out.add(r * stride), NR) };
        for (c, out) in out.iter_mut().enumerate() {
            let sum = acc[r * NR + c].wrapping_sub(lhs.zero_point.wrapping_mul(by.rhs_sums[c]));
            let y = sum as f32 * (lhs.scale * by.rhs_scales[c]) + by.bias[c];
            *out = if add { *out + y } else { y };
        }
    }
}
