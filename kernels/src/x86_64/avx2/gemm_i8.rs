//! The int8 micro-kernel, exact: `vpmaddubsw` adds pairs of products in i16, a few such results are added with
//! wrap-around, `vpmaddwd` by ones adds pairs of those in i32. [`repack_i8`](super::repack_i8) says why that is exact.

use super::order_i8;
use super::repack_i8::{LANES, Panel, Partials, repack};
use crate::pack::{LhsCodes, MR};
use crate::table::{AccI8, MicroKernelI8, OrderI8, RunI8};
use core::arch::x86_64::*;

pub(super) const GEMM_I8: MicroKernelI8 = MicroKernelI8 {
    name: "i8_gemm_6x16c4_avx2_maddubs",
    lhs: LhsCodes::BothK4,
    offset: 0,
    run: RunI8::Tile(run),
    order: Some(OrderI8 { bytes: order_i8::bytes, find: order_i8::find, find_soon: order_i8::find_soon }),
    repack: Some(repack),
};

type Sums = [__m256i; MR];

/// # Safety
/// As [`RunI8::Tile`] says, `b` being what `repack` made; the CPU has AVX2.
#[target_feature(enable = "avx2")]
unsafe fn run(_k: usize, a: *const u8, b: *const i8, acc: &mut AccI8) {
    // SAFETY: as the caller promises; `repack` read the same span that the LHS panel holds.
    unsafe {
        for (i, half) in (*b.cast::<Panel>()).iter().enumerate() {
            let mut sums = [_mm256_setzero_si256(); MR];
            add_offset::<4>(a, half.offset(), &mut sums);
            add_offset::<3>(a, half.offset(), &mut sums);
            add_offset::<2>(a, half.offset(), &mut sums);
            add_offset::<1>(a, half.offset(), &mut sums);
            add_signed::<2>(a, half.signed(), &mut sums);
            add_signed::<1>(a, half.signed(), &mut sums);
            for (acc, sums) in acc.as_chunks_mut::<LANES>().0.iter_mut().skip(i).step_by(2).zip(sums) {
                _mm256_storeu_si256(acc.as_mut_ptr().cast(), sums);
            }
        }
    }
}

/// Adds the products of offset `partials`.
///
/// # Safety
/// `a` holds the groups that the partial sums name; the CPU has AVX2.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn add_offset<const G: usize>(a: *const u8, partials: Partials<G>, sums: &mut Sums) {
    let ones = _mm256_set1_epi16(1);
    for i in 0..partials.count {
        // SAFETY: as the caller promises; a partial sum has G weights and a correction.
        let (weights, correction, groups) = unsafe {
            let vectors = partials.vectors.add(i * (G + 1));
            let weights: [__m256i; G] = core::array::from_fn(|i| _mm256_loadu_si256(vectors.add(i)));
            let at = &*partials.at.add(i);
            let groups: [*const i32; G] = core::array::from_fn(|i| a.add(at[i].into()).cast::<i32>());
            (weights, _mm256_loadu_si256(vectors.add(G)), groups)
        };
        for (row, sum) in sums.iter_mut().enumerate() {
            let mut pairs = correction;
            for (weights, group) in weights.iter().zip(groups) {
                // SAFETY: a group has four bytes for each row.
                let a = _mm256_set1_epi32(unsafe { group.add(row).read_unaligned() });
                pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(a, *weights));
            }
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
        }
    }
}

/// Adds the products of signed `partials`.
///
/// # Safety
/// `a` holds the groups that the partial sums name; the CPU has AVX2.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn add_signed<const G: usize>(a: *const u8, partials: Partials<G>, sums: &mut Sums) {
    let ones = _mm256_set1_epi16(1);
    for i in 0..partials.count {
        // SAFETY: as the caller promises; a partial sum has G weights, each followed by its magnitude.
        let (weights, groups) = unsafe {
            let vectors = partials.vectors.add(2 * i * G);
            let load = |i| _mm256_loadu_si256(vectors.add(i));
            let weights: [[__m256i; 2]; G] = core::array::from_fn(|i| [load(2 * i), load(2 * i + 1)]);
            let at = &*partials.at.add(i);
            let groups: [*const i32; G] = core::array::from_fn(|i| a.add(at[i].into()).cast::<i32>());
            (weights, groups)
        };
        for (row, sum) in sums.iter_mut().enumerate() {
            let mut pairs = _mm256_setzero_si256();
            for ([weights, sizes], group) in weights.into_iter().zip(groups) {
                // SAFETY: a group has four bytes for each row.
                let a = _mm256_set1_epi32(unsafe { group.add(row).read_unaligned() });
                pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(sizes, _mm256_sign_epi8(a, weights)));
            }
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
        }
    }
}
