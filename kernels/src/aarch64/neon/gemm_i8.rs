//! int8 micro-kernel from widening multiplies: of sixteen `k` of a row and a channel, SMULL and SMLAL2 leave sums of two
//! products in i16, where they fit because no activation is −128, and SADALP adds pairs of those into i32.
//!
//! Both operands lie in runs of sixteen `k`, a register each, so that nothing is spread over lanes: the RHS panel is
//! repacked for it. Three rows by four channels at a time: twelve sums and twelve products under way leave room for the
//! operands, and an in-order core (Cortex-A53) waits for no result.

use crate::pack::{K_GROUP, LhsCodes, MR, NR};
use crate::table::{AccI8, MicroKernelI8, RunI8};
use core::arch::aarch64::*;

pub(in super::super) const GEMM_I8: MicroKernelI8 = MicroKernelI8 {
    name: "i8_gemm_6x16c16_neon",
    lhs: LhsCodes::S8K16,
    offset: 0,
    run: RunI8::Tile(run),
    order: None,
    repack: Some(repack),
};

/// `k` of a register.
const STEP: usize = 16;
/// Rows at a time.
const ROWS: usize = 3;
/// Channels at a time.
const COLS: usize = 4;

/// # Safety
/// As [`RunI8::Tile`] says, `b` being what `repack` made; the CPU has NEON.
#[target_feature(enable = "neon")]
unsafe fn run(k: usize, a: *const u8, b: *const i8, acc: &mut AccI8) {
    for first_col in (0..NR).step_by(COLS) {
        for first_row in (0..MR).step_by(ROWS) {
            // SAFETY: as the caller promises: of each step of the LHS panel the rows lie `STEP` apart, and `repack` wrote
            // `k` steps of the channels before.
            let sums =
                unsafe { multiply(k / STEP, a.cast::<i8>().add(first_row * STEP), b.add(first_col * k)) };
            for (row, [a, b, c, d]) in sums.into_iter().enumerate() {
                let sums = vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d));
                // SAFETY: the row has four channels there.
                unsafe { vst1q_s32(acc[(first_row + row) * NR + first_col..].as_mut_ptr(), sums) };
            }
        }
    }
}

/// The sums of `ROWS` rows by `COLS` channels, each in four parts.
///
/// # Safety
/// `a` holds `steps` steps of `MR` rows, the first of which is a row; `b` as many of `COLS` channels.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn multiply(steps: usize, a: *const i8, b: *const i8) -> [[int32x4_t; COLS]; ROWS] {
    let mut sums = [[vdupq_n_s32(0); COLS]; ROWS];
    for step in 0..steps {
        // SAFETY: as the caller promises.
        let (a, b): ([int8x16_t; ROWS], [int8x16_t; COLS]) = unsafe {
            (
                core::array::from_fn(|row| vld1q_s8(a.add((step * MR + row) * STEP))),
                core::array::from_fn(|col| vld1q_s8(b.add((step * COLS + col) * STEP))),
            )
        };
        let low = a.map(|a| b.map(|b| vmull_s8(vget_low_s8(b), vget_low_s8(a))));
        let mut both = low;
        for (both, a) in both.iter_mut().zip(a) {
            for (both, b) in both.iter_mut().zip(b) {
                *both = vmlal_high_s8(*both, b, a);
            }
        }
        for (sum, both) in sums.as_flattened_mut().iter_mut().zip(both.as_flattened()) {
            *sum = vpadalq_s16(*sum, *both);
        }
    }
    sums
}

/// Four channels after the other, each `[k/STEP][COLS][STEP]`.
///
/// # Safety
/// As [`MicroKernelI8::repack`] says; the CPU has NEON.
#[target_feature(enable = "neon")]
unsafe fn repack(k: usize, b: *const i8, _order: &[u8], repacked: *mut i8) {
    let mut to = repacked;
    for first_col in (0..NR).step_by(COLS) {
        for step in 0..k / STEP {
            // SAFETY: `k` is a multiple of `STEP`, of which the panel holds four groups of four `k` of all channels, and
            // the result takes as many bytes as the panel.
            unsafe {
                let group = |i: usize| {
                    let at = (step * STEP / K_GROUP + i) * NR + first_col;
                    vld1q_s32(b.add(at * K_GROUP).cast())
                };
                // Interleaved: the four groups of a channel, then those of the next.
                vst4q_s32(to.cast(), int32x4x4_t(group(0), group(1), group(2), group(3)));
                to = to.add(STEP * COLS);
            }
        }
    }
}
