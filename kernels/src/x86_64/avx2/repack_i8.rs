//! The form in which AVX2's int8 micro-kernel reads an RHS panel: the same weights, in an order in which `vpmaddubsw` is
//! exact.
//!
//! `vpmaddubsw` multiplies u8 by s8 and adds the products of each pair, saturating at ±2¹⁵. A *partial sum* adds the
//! results of several groups of four `k` in i16 before it is widened to i32: the more groups, the fewer instructions. The
//! additions wrap around, so a partial sum is exact if no pair saturates and its value fits i16: as |a| ≤ 127, where
//! Σ|w| ≤ 258 over its weights. `vpmaddubsw` needs one unsigned operand, and there are two ways to have one:
//!
//! * *Offset*: a + 128. 128·Σw is taken back by a correction, stored with each partial sum. No pair saturates where
//!   255·|w₀ + w₁| < 2¹⁵, so |w₀ + w₁| ≤ 128. (Where the signs differ, one product alone is the extreme.)
//! * *Signed*: |w|, with the sign of w moved to a by `vpsignb`. No pair saturates: 127·2·128 < 2¹⁵. One instruction more
//!   for each pair, no correction.
//!
//! Four groups whose weights are small make a *long* partial sum, offset. Otherwise they are taken two by two: a *short*
//! partial sum, offset; a *pair*, signed, where a product could saturate; two *singles*, signed, where the sum of both
//! could leave i16. So any weights are multiplied exactly, and how fast depends on how many are large.
//!
//! Whatever the weights are, each group is put into one partial sum, for which there is room: no value can make a write
//! go outside.

use crate::pack::{K_GROUP, MR, NR, SIGNED_OFFSET};
use crate::table::{KC_I8, REPACKED_BYTES};
use core::arch::x86_64::*;

/// Channels in a register of i32.
pub(super) const LANES: usize = 8;
/// Groups of four weights per channel in a long partial sum.
pub(super) const LONG: usize = 4;
/// The same of a short one or a pair.
pub(super) const SHORT: usize = 2;

/// Groups of a span.
const GROUPS: usize = KC_I8 / K_GROUP;
/// Most vectors of offset partial sums: all of them short, with two groups of weights and a correction.
const OFFSET: usize = GROUPS / SHORT * (SHORT + 1);
/// Most vectors of signed partial sums: w and |w| of every group.
const SIGNED: usize = 2 * GROUPS;

/// Four weights of each of [`LANES`] channels, or the corrections of their sums.
type Vector = [i8; LANES * K_GROUP];

/// A repacked panel: two halves of [`LANES`] channels.
pub(super) type Panel = [Half; NR / LANES];

const _: () = assert!(size_of::<Panel>() <= REPACKED_BYTES && align_of::<Panel>() <= 64);

/// The partial sums of [`LANES`] channels.
#[repr(C)]
pub(super) struct Half {
    long: usize,
    short: usize,
    pairs: usize,
    singles: usize,
    /// Where a partial sum's groups of activations lie in an LHS panel, in bytes.
    long_at: [[u16; LONG]; GROUPS / LONG],
    short_at: [[u16; SHORT]; GROUPS / SHORT],
    pairs_at: [[u16; SHORT]; GROUPS / SHORT],
    singles_at: [[u16; 1]; GROUPS],
    /// Long partial sums from the start, short ones from the end.
    offset: [Vector; OFFSET],
    /// Pairs from the start, singles from the end.
    signed: [Vector; SIGNED],
}

/// Consecutive partial sums of `G` groups.
#[derive(Clone, Copy)]
pub(super) struct Partials<const G: usize> {
    pub(super) count: usize,
    pub(super) at: *const [u16; G],
    pub(super) vectors: *const __m256i,
}

impl<const G: usize> Partials<G> {
    fn new(at: &[[u16; G]], vectors: &[Vector]) -> Partials<G> {
        Partials { count: at.len(), at: at.as_ptr(), vectors: vectors.as_ptr().cast() }
    }
}

impl Half {
    /// Weights, group by group, and correction of each partial sum.
    pub(super) fn long(&self) -> Partials<LONG> {
        Partials::new(&self.long_at[..self.long], &self.offset)
    }

    /// The same.
    pub(super) fn short(&self) -> Partials<SHORT> {
        Partials::new(
            &self.short_at[GROUPS / SHORT - self.short..],
            &self.offset[OFFSET - self.short * (SHORT + 1)..],
        )
    }

    /// w and |w|, group by group.
    pub(super) fn pairs(&self) -> Partials<SHORT> {
        Partials::new(&self.pairs_at[..self.pairs], &self.signed)
    }

    /// The same.
    pub(super) fn singles(&self) -> Partials<1> {
        Partials::new(&self.singles_at[GROUPS - self.singles..], &self.signed[SIGNED - self.singles * 2..])
    }

    #[target_feature(enable = "avx2")]
    fn push_long(&mut self, groups: &[Group; LONG]) {
        self.long_at[self.long] = groups.map(|group| group.at);
        offset(groups, &mut self.offset[self.long * (LONG + 1)..]);
        self.long += 1;
    }

    #[target_feature(enable = "avx2")]
    fn push_short(&mut self, groups: &[Group; SHORT]) {
        self.short += 1;
        self.short_at[GROUPS / SHORT - self.short] = groups.map(|group| group.at);
        offset(groups, &mut self.offset[OFFSET - self.short * (SHORT + 1)..]);
    }

    #[target_feature(enable = "avx2")]
    fn push_pairs(&mut self, groups: &[Group; SHORT]) {
        self.pairs_at[self.pairs] = groups.map(|group| group.at + SIGNED_OFFSET as u16);
        signed(groups, &mut self.signed[self.pairs * SHORT * 2..]);
        self.pairs += 1;
    }

    #[target_feature(enable = "avx2")]
    fn push_single(&mut self, group: Group) {
        self.singles += 1;
        self.singles_at[GROUPS - self.singles] = [group.at + SIGNED_OFFSET as u16];
        signed(&[group], &mut self.signed[SIGNED - self.singles * 2..]);
    }

    /// Puts four groups into the partial sums that are fastest for them.
    #[target_feature(enable = "avx2")]
    fn push(&mut self, groups: &[Group; LONG]) {
        if !any(_mm256_or_si256(saturates(groups), too_large(groups))) {
            return self.push_long(groups);
        }
        for groups in groups.as_chunks::<SHORT>().0 {
            if any(too_large(groups)) {
                groups.iter().for_each(|&group| self.push_single(group));
            } else if any(saturates(groups)) {
                self.push_pairs(groups);
            } else {
                self.push_short(groups);
            }
        }
    }
}

/// Four weights of each of [`LANES`] channels, and where their activations lie.
#[derive(Clone, Copy)]
struct Group {
    weights: __m256i,
    at: u16,
}

impl Group {
    /// w₀ + w₁ of each pair.
    #[target_feature(enable = "avx2")]
    fn sums(&self) -> __m256i {
        _mm256_maddubs_epi16(_mm256_set1_epi8(1), self.weights)
    }

    /// |w₀| + |w₁| of each pair.
    #[target_feature(enable = "avx2")]
    fn sizes(&self) -> __m256i {
        _mm256_maddubs_epi16(_mm256_abs_epi8(self.weights), _mm256_set1_epi8(1))
    }
}

/// Largest |w₀ + w₁| of a pair that is offset.
const PAIR_LIMIT: i16 = 128;
/// Largest Σ|w| of a sum.
const SUM_LIMIT: i16 = 258;

/// Whether a pair of `groups` could saturate where it is offset; in any lane.
#[target_feature(enable = "avx2")]
fn saturates(groups: &[Group]) -> __m256i {
    let sums = groups.iter().map(|group| _mm256_abs_epi16(group.sums()));
    let most = sums.fold(_mm256_setzero_si256(), |most, sum| _mm256_max_epi16(most, sum));
    _mm256_cmpgt_epi16(most, _mm256_set1_epi16(PAIR_LIMIT))
}

/// Whether a sum over `groups` could leave i16; in any lane.
#[target_feature(enable = "avx2")]
fn too_large(groups: &[Group]) -> __m256i {
    let sizes = groups.iter().map(|group| group.sizes());
    let size = sizes.fold(_mm256_setzero_si256(), |sum, size| _mm256_add_epi16(sum, size));
    _mm256_cmpgt_epi16(size, _mm256_set1_epi16(SUM_LIMIT))
}

#[target_feature(enable = "avx2")]
fn any(mask: __m256i) -> bool {
    _mm256_movemask_epi8(mask) != 0
}

/// Weights and correction of an offset partial sum: −128 times the sum of each lane's weights, which may wrap, as the
/// partial sum may.
#[target_feature(enable = "avx2")]
fn offset(groups: &[Group], to: &mut [Vector]) {
    let mut sums = _mm256_setzero_si256();
    for (group, to) in groups.iter().zip(&mut *to) {
        sums = _mm256_add_epi16(sums, group.sums());
        store(to, group.weights);
    }
    store(&mut to[groups.len()], _mm256_sub_epi16(_mm256_setzero_si256(), _mm256_slli_epi16::<7>(sums)));
}

/// w and |w| of a signed partial sum.
#[target_feature(enable = "avx2")]
fn signed(groups: &[Group], to: &mut [Vector]) {
    for (group, [weights, sizes]) in groups.iter().zip(to.as_chunks_mut().0) {
        store(weights, group.weights);
        store(sizes, _mm256_abs_epi8(group.weights));
    }
}

#[target_feature(enable = "avx2")]
fn store(to: &mut Vector, vector: __m256i) {
    // SAFETY: the array holds the 32 bytes that are stored.
    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), vector) }
}

/// Makes the [`Panel`] of `k` steps of a panel.
///
/// # Safety
/// As [`MicroKernelI8::repack`](crate::table::MicroKernelI8::repack) says; the CPU has AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn repack(k: usize, b: *const i8, repacked: *mut i8) {
    // SAFETY: the caller's memory is as large and aligned as a `Panel`, which is valid whatever bytes it holds; a panel
    // of `k` steps holds k/4 groups of NR channels.
    let (halves, groups) = unsafe {
        (
            &mut *repacked.cast::<Panel>(),
            core::slice::from_raw_parts(b.cast::<[i8; NR * K_GROUP]>(), k / K_GROUP),
        )
    };
    for (h, half) in halves.iter_mut().enumerate() {
        (half.long, half.short, half.pairs, half.singles) = (0, 0, 0, 0);
        for (step, groups) in groups.as_chunks::<LONG>().0.iter().enumerate() {
            let group = |i: usize| {
                // SAFETY: the half lies inside the group.
                let weights =
                    unsafe { _mm256_loadu_si256(groups[i].as_ptr().add(h * LANES * K_GROUP).cast()) };
                Group { weights, at: (step * 2 * SIGNED_OFFSET + i * MR * K_GROUP) as u16 }
            };
            half.push(&[group(0), group(1), group(2), group(3)]);
        }
    }
}
