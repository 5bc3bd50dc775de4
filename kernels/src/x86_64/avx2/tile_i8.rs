//! int8 micro-kernels, both exact.
//!
//! * w7: `vpmaddubsw` multiplies u8 × s8 and adds pairs in i16. With |w| ≤ 64 a pair is at most 2·255·64 = 32640, so
//!   it never saturates. Two such results are then added with wrap-around, and so is −128 times the sum of the four
//!   weights, which takes back what makes the activations unsigned: what is left is a sum of four products of at most
//!   4·127·64 = 32512, so it fits, and whatever wrapped on the way wrapped back. `vpmaddwd` by ones then adds pairs
//!   in i32: three multiplications for 64 products where the usual two times two need four. The corrections are
//!   prepared once per panel.
//! * w8: weights are widened to i16, once per panel, and `vpmaddwd` adds pairs in i32. A register holds 4 channels × 2
//!   pairs, so the tile is done as two halves of 8 channels with 12 accumulators each.

use crate::activations::{I8Format, TILE_ROWS};
use crate::layout::{K_GROUP, NR};
use crate::table::{AccI8, TileI8};
use core::arch::x86_64::*;

pub(super) const TILE_W7: TileI8 = TileI8 {
    name: "i8_gemm_6x16c8_avx2_maddubs",
    format: I8Format::U8K4,
    excess: 0,
    run: tile_maddubs,
    quad: None,
    prepare: Some(prepare_maddubs),
};

pub(super) const TILE_W8: TileI8 = TileI8 {
    name: "i8_gemm_6x16c4_avx2_maddwd",
    format: I8Format::S16K4,
    excess: 0,
    run: tile_maddwd,
    quad: None,
    prepare: Some(prepare_maddwd),
};

/// Bytes of a panel per group of four `k`.
const PANEL_STEP: usize = NR * K_GROUP;

/// Channels in a register of i32.
const LANES: usize = 8;
/// A step of eight `k` of [`LANES`] channels, prepared: two groups of four weights, and the corrections.
type Step = [[i8; LANES * K_GROUP]; 3];

/// Splits a panel into two halves of [`LANES`] channels, each a run of `k/8` [`Step`]s: `3·k·NR/2` bytes.
///
/// # Safety
/// As [`TileI8::prepare`] says; the CPU has AVX2.
#[target_feature(enable = "avx2")]
unsafe fn prepare_maddubs(k: usize, b: *const i8, prepared: *mut i8) {
    let steps = k / (2 * K_GROUP);
    let minus = _mm256_set1_epi8(-128);
    for half in 0..2 {
        for step in 0..steps {
            // SAFETY: the panel holds NR groups of four bytes for each of the k/4 groups, the result 2·k/8 steps.
            unsafe {
                let b = b.add(2 * step * PANEL_STEP + half * PANEL_STEP / 2);
                let [first, second] = [b, b.add(PANEL_STEP)].map(|b| _mm256_loadu_si256(b.cast()));
                // As u8, −128 is 128; the sum may wrap, as it may in the tile.
                let [x, y] = [first, second].map(|b| _mm256_maddubs_epi16(minus, b));
                let correction = _mm256_sub_epi16(_mm256_setzero_si256(), _mm256_add_epi16(x, y));
                let to = prepared.cast::<Step>().add(half * steps + step).cast::<__m256i>();
                _mm256_storeu_si256(to, first);
                _mm256_storeu_si256(to.add(1), second);
                _mm256_storeu_si256(to.add(2), correction);
            }
        }
    }
}

/// # Safety
/// As [`TileI8::run`] says, `b` being what `prepare_maddubs` made; the CPU has AVX2; |weights| ≤ 64.
#[target_feature(enable = "avx2")]
unsafe fn tile_maddubs(k: usize, a: *const u8, b: *const i8, acc: &mut AccI8) {
    let steps = k / (2 * K_GROUP);
    for half in 0..2 {
        // SAFETY: as the caller promises; each half is a run of `steps`.
        let sums = unsafe { half_maddubs(steps, a, b.cast::<Step>().add(half * steps)) };
        store_half(acc, half, sums);
    }
}

/// The sums of [`LANES`] channels.
///
/// # Safety
/// `a` holds a tile of 8·`steps`, `b` as many steps; the CPU has AVX2.
#[target_feature(enable = "avx2")]
unsafe fn half_maddubs(steps: usize, a: *const u8, b: *const Step) -> [__m256i; TILE_ROWS] {
    let ones = _mm256_set1_epi16(1);
    let mut sums = [_mm256_setzero_si256(); TILE_ROWS];
    for step in 0..steps {
        // SAFETY: as the caller promises.
        let (a, first, second, correction) = unsafe {
            let b = b.add(step).cast::<__m256i>();
            let [first, second, correction] = [b, b.add(1), b.add(2)].map(|b| _mm256_loadu_si256(b));
            (a.cast::<i32>().add(2 * step * TILE_ROWS), first, second, correction)
        };
        for (row, sum) in sums.iter_mut().enumerate() {
            // SAFETY: the tile holds TILE_ROWS groups of four bytes for each of the two groups.
            let [x, y] =
                [row, TILE_ROWS + row].map(|at| _mm256_set1_epi32(unsafe { a.add(at).read_unaligned() }));
            let pairs = _mm256_add_epi16(_mm256_maddubs_epi16(x, first), _mm256_maddubs_epi16(y, second));
            let pairs = _mm256_add_epi16(pairs, correction);
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
        }
    }
    sums
}

/// A step of four `k` of [`LANES`] channels, prepared: the weights as i16.
type WideStep = [i16; LANES * K_GROUP];

/// Splits a panel into two halves of [`LANES`] channels, each a run of `k/4` [`WideStep`]s: `2·k·NR` bytes.
///
/// # Safety
/// As [`TileI8::prepare`] says; the CPU has AVX2.
#[target_feature(enable = "avx2")]
unsafe fn prepare_maddwd(k: usize, b: *const i8, prepared: *mut i8) {
    let steps = k / K_GROUP;
    for step in 0..steps {
        for half in 0..2 {
            // SAFETY: the panel holds NR groups of four bytes for each step, the result twice as many bytes.
            unsafe {
                let b = b.add(step * PANEL_STEP + half * PANEL_STEP / 2).cast::<__m128i>();
                let to = prepared.cast::<WideStep>().add(half * steps + step).cast::<__m256i>();
                _mm256_storeu_si256(to, _mm256_cvtepi8_epi16(_mm_loadu_si128(b)));
                _mm256_storeu_si256(to.add(1), _mm256_cvtepi8_epi16(_mm_loadu_si128(b.add(1))));
            }
        }
    }
}

/// # Safety
/// As [`TileI8::run`] says, `b` being what `prepare_maddwd` made; the CPU has AVX2.
#[target_feature(enable = "avx2")]
unsafe fn tile_maddwd(k: usize, a: *const u8, b: *const i8, acc: &mut AccI8) {
    let steps = k / K_GROUP;
    for half in 0..2 {
        // SAFETY: as the caller promises; each half is a run of `steps`.
        let sums = unsafe { half_maddwd(steps, a, b.cast::<WideStep>().add(half * steps)) };
        store_half(acc, half, sums);
    }
}

/// The sums of [`LANES`] channels.
///
/// # Safety
/// `a` holds a tile of 4·`steps`, `b` as many steps; the CPU has AVX2.
#[target_feature(enable = "avx2")]
unsafe fn half_maddwd(steps: usize, a: *const u8, b: *const WideStep) -> [__m256i; TILE_ROWS] {
    let mut sums = [[_mm256_setzero_si256(); 2]; TILE_ROWS];
    for step in 0..steps {
        // SAFETY: the tile holds TILE_ROWS groups of four i16 for each step.
        let (a, b) = unsafe {
            let b = b.add(step).cast::<__m256i>();
            let a = a.cast::<i64>().add(step * TILE_ROWS);
            (a, [_mm256_loadu_si256(b), _mm256_loadu_si256(b.add(1))])
        };
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

/// Writes the sums of one half of the channels.
#[target_feature(enable = "avx2")]
fn store_half(acc: &mut AccI8, half: usize, sums: [__m256i; TILE_ROWS]) {
    for (acc, sums) in acc.as_chunks_mut::<LANES>().0.iter_mut().skip(half).step_by(2).zip(sums) {
        // SAFETY: the chunk holds the 8 elements that are stored.
        unsafe { _mm256_storeu_si256(acc.as_mut_ptr().cast(), sums) };
    }
}
