//! From f32 to int8 codes.

use crate::pack::{LhsCodes, MR, SIGNED_OFFSET};
use crate::table::QuantizeBy;

/// `round_half_even(x)` for |x| < 2²².
pub(crate) fn round(x: f32) -> f32 {
    // Adding 1.5·2²³ leaves no fraction bits: the addition itself rounds, ties to even.
    const ROUND: f32 = 12_582_912.0;
    (x + ROUND) - ROUND
}

/// The code of `x`; NaN becomes some code.
fn code(x: f32, by: &QuantizeBy) -> i8 {
    (round(x * by.inverse) + by.zero_point as f32).clamp(-127.0, 127.0) as i8
}

/// Steps of an LHS panel: `[width/group][row][group]`, or `[row][stride]`.
///
/// # Safety
/// As [`QuantizePanel`](crate::table::QuantizePanel) says.
pub(crate) unsafe fn quantize_panel(
    form: LhsCodes,
    x: *const f32,
    width: usize,
    rows: usize,
    by: &[QuantizeBy; MR],
    out: &mut [u8],
    stride: usize,
) {
    // SAFETY: `x` has `rows` rows of `width`.
    let x = unsafe { core::slice::from_raw_parts(x, rows * width) };
    let group = form.group();
    for (row, (x, by)) in x.chunks_exact(width).zip(by).enumerate() {
        for (i, &x) in x.iter().enumerate() {
            let to = (i / group * MR + row) * group + i % group;
            let code = code(x, by);
            match form {
                LhsCodes::S8Rows => out[row * stride + i] = code as u8,
                LhsCodes::S8K4 | LhsCodes::S8K8 | LhsCodes::S8K16 => out[to] = code as u8,
                LhsCodes::U8K4 => out[to] = code as u8 ^ 0x80,
                LhsCodes::BothK4 => {
                    let to = to + to / SIGNED_OFFSET * SIGNED_OFFSET;
                    (out[to], out[to + SIGNED_OFFSET]) = (code as u8 ^ 0x80, code as u8);
                }
            }
        }
    }
}
