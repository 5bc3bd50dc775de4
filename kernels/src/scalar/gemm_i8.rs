//! int8 micro-kernel: `acc[r][c] = Σₖ a[r][k] · b[c][k]` in i32.

use crate::pack::{K_GROUP, LhsCodes, MR, NR};
use crate::table::{AccI8, MicroKernelI8, RunI8};

pub(crate) const GEMM_I8: MicroKernelI8 = MicroKernelI8 {
    name: "i8_gemm_6x16c4_scalar",
    lhs: LhsCodes::S8K4,
    offset: 0,
    run: RunI8::Tile(run),
    order: None,
    repack: None,
};

/// # Safety
/// As [`RunI8::Tile`] says.
unsafe fn run(k: usize, a: *const u8, b: *const i8, acc: &mut AccI8) {
    // SAFETY: both of the caller's panels hold `k` steps.
    let (a, b) = unsafe {
        (core::slice::from_raw_parts(a.cast::<i8>(), MR * k), core::slice::from_raw_parts(b, NR * k))
    };
    acc.fill(0);
    for (a, b) in a.chunks_exact(MR * K_GROUP).zip(b.chunks_exact(NR * K_GROUP)) {
        for (a, acc) in a.as_chunks::<K_GROUP>().0.iter().zip(acc.as_chunks_mut::<NR>().0) {
            for (b, acc) in b.as_chunks::<K_GROUP>().0.iter().zip(acc) {
                *acc += a.iter().zip(b).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum::<i32>();
            }
        }
    }
}
