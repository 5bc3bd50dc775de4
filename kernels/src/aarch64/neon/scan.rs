//! Scan micro-kernel from widening multiplies: SMULL and SMLAL leave sums of two products in i16, where they fit because
//! no query's code is −128, and SADALP adds pairs of those into i32.

use crate::pack::K_ALIGN;
use crate::table::{MicroKernelScan, SCAN_ROWS};
use core::arch::aarch64::*;

pub(in super::super) const SCAN_I8: MicroKernelScan =
    MicroKernelScan { name: "i8_scan_4x2_neon", run_4x1: run, run_4x2: run };

/// # Safety
/// As [`MicroKernelScan`] says; the CPU has NEON.
#[target_feature(enable = "neon")]
unsafe fn run<const Q: usize>(
    k: usize,
    rows: [*const i8; SCAN_ROWS],
    queries: [*const i8; Q],
    sums: &mut [[i32; SCAN_ROWS]; Q],
) {
    let mut partial = [[vdupq_n_s32(0); SCAN_ROWS]; Q];
    for at in (0..k).step_by(K_ALIGN) {
        // SAFETY: rows and queries hold `k` codes, a multiple of 16.
        let load = |codes: *const i8| unsafe { vld1q_s8(codes.add(at)) };
        let queries = queries.map(load);
        for (r, row) in rows.into_iter().enumerate() {
            let row = load(row);
            for (partial, query) in partial.iter_mut().zip(queries) {
                let products = vmull_s8(vget_low_s8(row), vget_low_s8(query));
                partial[r] = vpadalq_s16(partial[r], vmlal_high_s8(products, row, query));
            }
        }
    }
    for (sums, [a, b, c, d]) in sums.iter_mut().zip(partial) {
        // SAFETY: four elements to write.
        unsafe { vst1q_s32(sums.as_mut_ptr(), vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d))) }
    }
}
