//! What the int8 micro-kernel reads in place of a panel: the same sums, as steps that `vpmaddubsw` gets right.
//!
//! `vpmaddubsw` multiplies u8 activations by s8 weights and adds pairs of products, saturating at ±2¹⁵. Additions of
//! its results wrap around, so a sum of several pairs is exact once the 128 that makes activations unsigned is taken
//! back, if what is left fits i16. Of which weights is that true, whatever the activations?
//!
//! * Pairs: 255·|w₀ + w₁| < 2¹⁵, so |w₀ + w₁| ≤ 128. (Where the signs differ, one product alone is the extreme.)
//! * Sums: 127·Σ|w| < 2¹⁵, so Σ|w| ≤ 258 over the weights of one sum.
//!
//! A *long* step adds four pairs before it widens to i32, a *short* step two. Most weights fit a long step. Where a
//! pair or a short sum is too large, its weights are split into a part within ±64, which always fits a short step, and a
//! rest within ±63, which becomes a step of its own on the same activations. Any codes within ±127 are multiplied
//! exactly; how fast depends on how many are large.

use crate::activations::TILE_ROWS;
use crate::gemm::KC_I8;
use crate::layout::{K_GROUP, NR, W7_MAX};
use crate::table::PREPARED;
use core::arch::x86_64::*;

/// Channels in a register of i32.
pub(super) const LANES: usize = 8;
/// Pairs in a sum of a long step: groups of four weights per channel.
pub(super) const LONG: usize = 4;
/// The same of a short step.
pub(super) const SHORT: usize = 2;

/// Most groups of one half: all of a span, and a rest of each.
const GROUPS: usize = 2 * KC_I8 / K_GROUP;
/// Most vectors that they take: all of them in short steps.
const VECTORS: usize = GROUPS / SHORT * (SHORT + 1);

/// A prepared panel: two halves of [`LANES`] channels.
pub(super) type Panel = [Half; NR / LANES];

/// The steps of [`LANES`] channels.
#[repr(C)]
pub(super) struct Half {
    long: usize,
    short: usize,
    /// Where a step's groups of activations lie in a tile, in bytes.
    long_at: [[u16; LONG]; GROUPS / LONG + 1],
    short_at: [[u16; SHORT]; GROUPS / SHORT],
    /// Weights, group by group, and correction of each step: long steps from the start, short ones from the end.
    vectors: [[i8; LANES * K_GROUP]; VECTORS],
}

const _: () = assert!(size_of::<Panel>() <= PREPARED && align_of::<Panel>() <= 64);

/// Consecutive steps of `G` pairs.
#[derive(Clone, Copy)]
pub(super) struct Steps<const G: usize> {
    pub(super) count: usize,
    pub(super) at: *const [u16; G],
    pub(super) vectors: *const __m256i,
}

impl Half {
    pub(super) fn long(&self) -> Steps<LONG> {
        Steps { count: self.long, at: self.long_at.as_ptr(), vectors: self.vectors.as_ptr().cast() }
    }

    pub(super) fn short(&self) -> Steps<SHORT> {
        let first = VECTORS - self.short * (SHORT + 1);
        let vectors = self.vectors[first..].as_ptr().cast();
        Steps { count: self.short, at: self.short_at[GROUPS / SHORT - self.short..].as_ptr(), vectors }
    }

    #[target_feature(enable = "avx2")]
    fn push_long(&mut self, groups: &[Group; LONG]) {
        self.long_at[self.long] = groups.map(|group| group.at);
        store(
            groups,
            self.vectors[self.long * (LONG + 1)..].first_chunk_mut::<{ LONG + 1 }>().expect("room"),
        );
        self.long += 1;
    }

    #[target_feature(enable = "avx2")]
    fn push_short(&mut self, groups: [Group; SHORT]) {
        self.short += 1;
        self.short_at[GROUPS / SHORT - self.short] = groups.map(|group| group.at);
        let first = VECTORS - self.short * (SHORT + 1);
        store(&groups, self.vectors[first..].first_chunk_mut::<{ SHORT + 1 }>().expect("room"));
    }

    /// One long step if every sum fits, otherwise two short ones. No pair saturates.
    #[target_feature(enable = "avx2")]
    fn push(&mut self, groups: &[Group; LONG]) {
        if any(exceeds(sizes(groups), SUM_LIMIT)) {
            let [a, b, c, d] = *groups;
            self.push_short([a, b]);
            self.push_short([c, d]);
        } else {
            self.push_long(groups);
        }
    }
}

/// Largest |w₀ + w₁| of a pair.
const PAIR_LIMIT: i16 = 128;
/// Largest Σ|w| of a sum.
const SUM_LIMIT: i16 = 258;

/// Four weights of each of [`LANES`] channels, and where their activations lie.
#[derive(Clone, Copy)]
struct Group {
    weights: __m256i,
    at: u16,
}

impl Group {
    /// w₀ + w₁ of each pair.
    #[target_feature(enable = "avx2")]
    fn pairs(&self) -> __m256i {
        _mm256_maddubs_epi16(_mm256_set1_epi8(1), self.weights)
    }

    /// The pairs that `vpmaddubsw` could saturate on.
    #[target_feature(enable = "avx2")]
    fn saturates(&self) -> __m256i {
        exceeds(_mm256_abs_epi16(self.pairs()), PAIR_LIMIT)
    }

    /// Bounds the pairs in `which` by ±64, and returns what that takes from them.
    #[target_feature(enable = "avx2")]
    fn lower(&mut self, which: __m256i) -> Group {
        let (least, most) = (_mm256_set1_epi8(-W7_MAX), _mm256_set1_epi8(W7_MAX));
        let bounded = _mm256_max_epi8(_mm256_min_epi8(self.weights, most), least);
        let lowered = _mm256_blendv_epi8(self.weights, bounded, which);
        let rest = Group { weights: _mm256_sub_epi8(self.weights, lowered), at: self.at };
        self.weights = lowered;
        rest
    }
}

/// Σ|w| of each sum over `groups`.
#[target_feature(enable = "avx2")]
fn sizes(groups: &[Group]) -> __m256i {
    let ones = _mm256_set1_epi8(1);
    let size = |group: &Group| _mm256_maddubs_epi16(_mm256_abs_epi8(group.weights), ones);
    groups.iter().map(size).fold(_mm256_setzero_si256(), |sum, size| _mm256_add_epi16(sum, size))
}

#[target_feature(enable = "avx2")]
fn exceeds(x: __m256i, limit: i16) -> __m256i {
    _mm256_cmpgt_epi16(x, _mm256_set1_epi16(limit))
}

#[target_feature(enable = "avx2")]
fn any(mask: __m256i) -> bool {
    _mm256_movemask_epi8(mask) != 0
}

/// Weights and correction: −128 times the sum of each lane's weights, which may wrap, as the tile's sums may.
#[target_feature(enable = "avx2")]
fn store(groups: &[Group], to: &mut [[i8; LANES * K_GROUP]]) {
    let mut sums = _mm256_setzero_si256();
    for (group, to) in groups.iter().zip(&mut *to) {
        sums = _mm256_add_epi16(sums, group.pairs());
        // SAFETY: the array holds the 32 bytes that are stored.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), group.weights) };
    }
    let correction = _mm256_sub_epi16(_mm256_setzero_si256(), _mm256_slli_epi16::<7>(sums));
    // SAFETY: as above.
    unsafe { _mm256_storeu_si256(to[groups.len()].as_mut_ptr().cast(), correction) };
}

/// Makes the [`Panel`] of `k` steps of a panel.
///
/// # Safety
/// As [`TileI8::prepare`](crate::table::TileI8::prepare) says; the CPU has AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn prepare(k: usize, b: *const i8, prepared: *mut i8) {
    // SAFETY: the caller's memory is as large and aligned as a `Panel`, which is valid whatever bytes it holds; a panel
    // of `k` steps holds k/4 groups of NR channels.
    let (halves, groups) = unsafe {
        (
            &mut *prepared.cast::<Panel>(),
            core::slice::from_raw_parts(b.cast::<[i8; NR * K_GROUP]>(), k / K_GROUP),
        )
    };
    for (h, half) in halves.iter_mut().enumerate() {
        (half.long, half.short) = (0, 0);
        let none = Group { weights: _mm256_setzero_si256(), at: 0 };
        // What was taken from large pairs, until it makes a step.
        let (mut rest, mut rests) = ([none; 2 * LONG], 0);
        for (step, groups) in groups.as_chunks::<LONG>().0.iter().enumerate() {
            let mut main = [none; LONG];
            for (i, (main, group)) in main.iter_mut().zip(groups).enumerate() {
                // SAFETY: the half lies inside the group.
                main.weights = unsafe { _mm256_loadu_si256(group.as_ptr().add(h * LANES * K_GROUP).cast()) };
                main.at = ((step * LONG + i) * TILE_ROWS * K_GROUP) as u16;
            }
            let saturates =
                main.iter().fold(none.weights, |any, group| _mm256_or_si256(any, group.saturates()));
            if !any(_mm256_or_si256(saturates, exceeds(sizes(&main), SUM_LIMIT))) {
                half.push_long(&main);
                continue;
            }
            for pairs in main.as_chunks_mut::<SHORT>().0 {
                let sum = exceeds(sizes(pairs), SUM_LIMIT);
                for group in pairs {
                    // Often enough to mislead a branch, so it is computed always and kept if there is any.
                    let which = _mm256_or_si256(sum, group.saturates());
                    rest[rests] = group.lower(which);
                    rests += usize::from(any(which));
                }
            }
            half.push(&main);
            if let (Some((first, second)), true) = (rest.split_first_chunk_mut::<LONG>(), rests >= LONG) {
                half.push(first);
                first.copy_from_slice(second);
                rests -= LONG;
            }
        }
        // Zeros make the last one whole.
        rest[rests..].fill(none);
        for groups in rest[..rests.next_multiple_of(LONG)].as_chunks::<LONG>().0 {
            half.push(groups);
        }
    }
}
