//! From f32 to int8 codes.

use crate::pack::{LhsCodes, MR, SIGNED_OFFSET};

/// `round_half_even(value · inverse)` for |result| ≤ 127; NaN becomes some code.
pub(crate) fn code(value: f32, inverse: f32) -> i8 {
    // Adding 1.5·2²³ leaves no fraction bits: the addition itself rounds, ties to even.
    const ROUND: f32 = 12_582_912.0;
    (((value * inverse) + ROUND) - ROUND).clamp(-127.0, 127.0) as i8
}

/// Steps of an LHS panel: `[width/group][row][group]`.
///
/// # Safety
/// As [`QuantizePanel`](crate::table::QuantizePanel) says.
pub(crate) unsafe fn quantize_panel(
    form: LhsCodes,
    x: *const f32,
    width: usize,
    rows: usize,
    inverses: &[f32; MR],
    out: &mut [u8],
) {
    // SAFETY: `x` has `rows` rows of `width`.
    let x = unsafe { core::slice::from_raw_parts(x, rows * width) };
    let group = form.group();
    for (row, (x, &inverse)) in x.chunks_exact(width).zip(inverses).enumerate() {
        for (i, &x) in x.iter().enumerate() {
            let to = (i / group * MR + row) * group + i % group;
            let code = code(x, inverse);
            match form {
                LhsCodes::S8K4 | LhsCodes::S8K8 => out[to] = code as u8,
                LhsCodes::U8K4 => out[to] = code as u8 ^ 0x80,
                LhsCodes::BothK4 => {
                    let to = to + to / SIGNED_OFFSET * SIGNED_OFFSET;
                    (out[to], out[to + SIGNED_OFFSET]) = (code as u8 ^ 0x80, code as u8);
                }
            }
        }
    }
}
