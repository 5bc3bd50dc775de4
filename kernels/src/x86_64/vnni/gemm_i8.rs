//! int8 micro-kernels for both encodings of `vpdpbusd`.

use crate::pack::{K_ALIGN, K_GROUP, LhsCodes, MR, NR};
use crate::table::{AccI8, MicroKernelI8, RunI8};
use core::arch::x86_64::*;

pub(crate) const GEMM_I8_AVX: MicroKernelI8 = MicroKernelI8 {
    name: "i8_gemm_6x16c4_avxvnni_dpbusd",
    lhs: LhsCodes::U8K4,
    offset: 128,
    run: RunI8::Tile(run_avx),
    order: None,
    repack: None,
};

pub(crate) const GEMM_I8_AVX512: MicroKernelI8 = MicroKernelI8 {
    name: "i8_gemm_12x32c4_avx512vnni_dpbusd",
    lhs: LhsCodes::U8K4,
    offset: 128,
    run: RunI8::Tiles2x2(run_avx512, run_2x2),
    order: None,
    repack: None,
};

/// Bytes of a panel per group of four `k`.
const PANEL_STEP: usize = NR * K_GROUP;

/// # Safety
/// As [`RunI8::Tile`] says; the CPU has AVX2 and AVX-VNNI.
#[target_feature(enable = "avx2,avxvnni")]
unsafe fn run_avx(k: usize, a: *const u8, b: *const i8, acc: &mut AccI8) {
    let mut sums = [[_mm256_setzero_si256(); 2]; MR];
    for step in 0..k / K_GROUP {
        // SAFETY: the LHS panel holds MR and the RHS panel NR groups of four bytes for each of the k/4 steps.
        let (a, b) = unsafe {
            let b = b.add(step * PANEL_STEP).cast::<__m256i>();
            let a = a.add(step * MR * K_GROUP).cast::<i32>();
            (a, [_mm256_loadu_si256(b), _mm256_loadu_si256(b.add(1))])
        };
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: as above.
            let a = _mm256_set1_epi32(unsafe { a.add(row).read_unaligned() });
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = _mm256_dpbusd_avx_epi32(*sum, a, b);
            }
        }
    }
    for (acc, sum) in acc.as_chunks_mut::<8>().0.iter_mut().zip(sums.as_flattened()) {
        // SAFETY: the chunk holds the 8 elements that are stored.
        unsafe { _mm256_storeu_si256(acc.as_mut_ptr().cast(), *sum) };
    }
}

/// One register holds all 16 channels. Six accumulators would wait for each other, so each step of two groups has
/// two sets.
///
/// # Safety
/// As [`RunI8::Tile`] says; the CPU has AVX-512 F and VNNI.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn run_avx512(k: usize, a: *const u8, b: *const i8, acc: &mut AccI8) {
    const GROUPS: usize = 2;
    const { assert!(K_ALIGN.is_multiple_of(GROUPS * K_GROUP)) };
    let mut sums = [[_mm512_setzero_si512(); GROUPS]; MR];
    for step in 0..k / (GROUPS * K_GROUP) {
        for group in 0..GROUPS {
            let at = step * GROUPS + group;
            // SAFETY: the LHS panel holds MR and the RHS panel NR groups of four bytes for each of the k/4 groups.
            let (a, b) = unsafe {
                let b = _mm512_loadu_si512(b.add(at * PANEL_STEP).cast());
                (a.add(at * MR * K_GROUP).cast::<i32>(), b)
            };
            for (row, sums) in sums.iter_mut().enumerate() {
                // SAFETY: as above.
                let a = _mm512_set1_epi32(unsafe { a.add(row).read_unaligned() });
                sums[group] = _mm512_dpbusd_epi32(sums[group], a, b);
            }
        }
    }
    for (acc, [even, odd]) in acc.as_chunks_mut::<NR>().0.iter_mut().zip(sums) {
        // SAFETY: the chunk holds the 16 elements that are stored.
        unsafe { _mm512_storeu_si512(acc.as_mut_ptr().cast(), _mm512_add_epi32(even, odd)) };
    }
}

/// 12 × 32: 24 accumulators, and 14 loads for 24 multiplications, so that the multipliers and not the loads decide.
///
/// # Safety
/// As [`RunI8::Tiles2x2`] says; the CPU has AVX-512 F and VNNI.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn run_2x2(
    k: usize,
    a: [*const u8; 2],
    b: [*const i8; 2],
    next: [*const u8; 2],
    add: bool,
    acc: &mut [AccI8; 4],
) {
    let mut sums = [[[_mm512_setzero_si512(); MR]; 2]; 2];
    if add {
        for (acc, sums) in acc.iter().zip(sums.as_flattened_mut()) {
            for (acc, sum) in acc.as_chunks::<NR>().0.iter().zip(sums) {
                // SAFETY: the chunk holds the 16 elements that are loaded.
                *sum = unsafe { _mm512_loadu_si512(acc.as_ptr().cast()) };
            }
        }
    }
    for step in 0..k / K_GROUP {
        // A line is asked for again and again: that is cheaper than to count.
        for next in next {
            _mm_prefetch::<_MM_HINT_T1>(next.wrapping_add(step * K_GROUP).cast());
        }
        // SAFETY: each LHS panel holds MR and each RHS panel NR groups of four bytes for each of the k/4 groups.
        let b = b.map(|b| unsafe { _mm512_loadu_si512(b.add(step * PANEL_STEP).cast()) });
        for (sums, a) in sums.iter_mut().zip(a) {
            for row in 0..MR {
                // SAFETY: as above.
                let a = unsafe { a.add((step * MR + row) * K_GROUP).cast::<i32>().read_unaligned() };
                let a = _mm512_set1_epi32(a);
                for (sums, b) in sums.iter_mut().zip(b) {
                    sums[row] = _mm512_dpbusd_epi32(sums[row], a, b);
                }
            }
        }
    }
    for (acc, sums) in acc.iter_mut().zip(sums.as_flattened()) {
        for (acc, sum) in acc.as_chunks_mut::<NR>().0.iter_mut().zip(sums) {
            // SAFETY: the chunk holds the 16 elements that are stored.
            unsafe { _mm512_storeu_si512(acc.as_mut_ptr().cast(), *sum) };
        }
    }
}
