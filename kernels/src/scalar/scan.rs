//! Scan micro-kernel: dot products of int8 rows and queries, in i32.

use crate::table::{MicroKernelScan, SCAN_ROWS};

pub(crate) const SCAN_I8: MicroKernelScan =
    MicroKernelScan { name: "i8_scan_4x2_scalar", run_4x1: run, run_4x2: run };

/// # Safety
/// As [`MicroKernelScan`] says.
unsafe fn run<const Q: usize>(
    k: usize,
    rows: [*const i8; SCAN_ROWS],
    queries: [*const i8; Q],
    sums: &mut [[i32; SCAN_ROWS]; Q],
) {
    // SAFETY: all of them hold `k` codes.
    let codes = |codes: *const i8| unsafe { core::slice::from_raw_parts(codes, k) };
    for (query, sums) in queries.into_iter().zip(sums) {
        for (row, sum) in rows.into_iter().zip(sums) {
            let products = codes(query).iter().zip(codes(row)).map(|(&q, &r)| i32::from(q) * i32::from(r));
            *sum = products.sum();
        }
    }
}
