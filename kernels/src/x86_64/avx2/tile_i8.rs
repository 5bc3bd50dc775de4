//! int8 micro-kernels, both exact.
//!
//! * w7: `vpmaddubsw` multiplies u8 × s8 and adds pairs in i16. With |w| ≤ 64 a pair is at most 2·255·64 = 32640, so
//!   it never saturates. 12 accumulators of 8 channels fill the registers.
//! * w8: weights are widened to i16 and `vpmaddwd` adds pairs in i32. A register holds 4 channels × 2 pairs, so the
//!   tile is done as two halves of 8 channels with 12 accumulators each; each weight is still widened once.

use crate::activations::{I8Format, TILE_ROWS};
use crate::layout::{K_GROUP, NR};
use crate::table::{AccI8, TileI8};
use core::arch::asm;
use core::arch::x86_64::*;

pub(super) const TILE_W7: TileI8 = TileI8 {
    name: "i8_gemm_6x16c4_avx2_maddubs",
    format: I8Format::U8K4,
    run: tile_maddubs,
    quad: None,
    prepare: None,
};

pub(super) const TILE_W8: TileI8 = TileI8 {
    name: "i8_gemm_6x16c4_avx2_maddwd",
    format: I8Format::S16K4,
    run: tile_maddwd,
    quad: None,
    prepare: None,
};

/// Bytes of a panel per group of four `k`.
const PANEL_STEP: usize = NR * K_GROUP;

/// # Safety
/// As [`TileI8::run`] says; the CPU has AVX2; |weights| ≤ 64.
#[target_feature(enable = "avx2")]
unsafe fn tile_maddubs(k: usize, a: *const u8, b: *const i8, acc: &mut AccI8) {
    let ones = _mm256_set1_epi16(1);
    let mut sums = [[_mm256_setzero_si256(); 2]; TILE_ROWS];
    for step in 0..k / K_GROUP {
        // SAFETY: the tile holds TILE_ROWS and the panel NR groups of four bytes for each of the k/4 steps.
        let (a, b, low) = unsafe {
            let b = b.add(step * PANEL_STEP).cast::<__m256i>();
            (a.add(step * TILE_ROWS * K_GROUP).cast::<i32>(), b, _mm256_loadu_si256(b))
        };
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: as above.
            let (a, high) = unsafe {
                let a = _mm256_set1_epi32(a.add(row).read_unaligned());
                (a, maddubs_second(a, b))
            };
            let low = _mm256_maddubs_epi16(a, low);
            sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(low, ones));
            sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(high, ones));
        }
    }
    for (acc, sums) in acc.as_chunks_mut::<NR>().0.iter_mut().zip(sums) {
        store(acc, sums);
    }
}

/// `vpmaddubsw` of `a` and the second vector at `b`, which stays in memory: with both weight vectors in registers
/// there would be one value too many, and the compiler spills an accumulator.
///
/// # Safety
/// Two vectors may be read at `b`; the CPU has AVX2.
#[target_feature(enable = "avx2")]
unsafe fn maddubs_second(a: __m256i, b: *const __m256i) -> __m256i {
    let pairs;
    // SAFETY: reads what the caller promises; VEX operands need no alignment.
    unsafe {
        asm!(
            "vpmaddubsw {pairs}, {a}, ymmword ptr [{b} + 32]",
            pairs = lateout(ymm_reg) pairs, a = in(ymm_reg) a, b = in(reg) b,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    pairs
}

/// # Safety
/// As [`TileI8::run`] says; the CPU has AVX2.
#[target_feature(enable = "avx2")]
unsafe fn tile_maddwd(k: usize, a: *const u8, b: *const i8, acc: &mut AccI8) {
    for half in 0..2 {
        // SAFETY: as the caller promises; each half lies inside its group of the panel.
        let sums = unsafe { half_maddwd(k, a, b.add(half * PANEL_STEP / 2)) };
        for (acc, sums) in acc.as_chunks_mut::<8>().0.iter_mut().skip(half).step_by(2).zip(sums) {
            // SAFETY: the chunk holds the 8 elements that are stored.
            unsafe { _mm256_storeu_si256(acc.as_mut_ptr().cast(), sums) };
        }
    }
}

/// The sums of 8 channels.
///
/// # Safety
/// As [`TileI8::run`] says, except that `b` starts at the first of the 8 channels; the CPU has AVX2.
#[target_feature(enable = "avx2")]
unsafe fn half_maddwd(k: usize, a: *const u8, b: *const i8) -> [__m256i; TILE_ROWS] {
    let mut sums = [[_mm256_setzero_si256(); 2]; TILE_ROWS];
    for step in 0..k / K_GROUP {
        // SAFETY: the tile holds TILE_ROWS groups of four i16, and the panel NR groups of four bytes, for each step.
        let (a, b) = unsafe {
            let b = b.add(step * PANEL_STEP).cast::<__m128i>();
            let a = a.add(step * TILE_ROWS * K_GROUP * 2).cast::<i64>();
            (a, [_mm_loadu_si128(b), _mm_loadu_si128(b.add(1))])
        };
        let b = b.map(|b| _mm256_cvtepi8_epi16(b));
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: as above.
            let a = _mm256_set1_epi64x(unsafe { a.add(row).read_unaligned() });
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(a, b));
            }
        }
    }
    // Adds the two pair sums of each channel: [0 1 4 5 | 2 3 6 7], put in order.
    sums.map(|[low, high]| _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(low, high)))
}

#[target_feature(enable = "avx2")]
fn store(acc: &mut [i32; NR], sums: [__m256i; 2]) {
    for (acc, sums) in acc.as_chunks_mut::<8>().0.iter_mut().zip(sums) {
        // SAFETY: the chunk holds the 8 elements that are stored.
        unsafe { _mm256_storeu_si256(acc.as_mut_ptr().cast(), sums) };
    }
}
