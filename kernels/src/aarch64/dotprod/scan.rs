//! Scan micro-kernel from SDOT.

use super::super::asm::sdot;
use crate::pack::K_ALIGN;
use crate::table::{MicroKernelScan, SCAN_ROWS};
use core::arch::aarch64::*;

pub(in super::super) const SCAN_I8: MicroKernelScan =
    MicroKernelScan { name: "i8_scan_4x2_dotprod", run_4x1: run, run_4x2: run };

/// # Safety
/// As [`MicroKernelScan`] says; the CPU has dotprod.
#[target_feature(enable = "neon,dotprod")]
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
                partial[r] = sdot(partial[r], row, query);
            }
        }
    }
    for (sums, [a, b, c, d]) in sums.iter_mut().zip(partial) {
        // SAFETY: four elements to write.
        unsafe { vst1q_s32(sums.as_mut_ptr(), vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d))) }
    }
}
