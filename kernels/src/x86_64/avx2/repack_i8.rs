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
//! Groups share a partial sum in any order: [`order_i8`](super::order_i8) finds one. So any weights are multiplied
//! exactly, and how fast depends on how many are large: of normally distributed weights with codes up to 127, k = 768,
//! in a simulation 58 % of the groups share an offset sum by three, 16 % by two, and 25 % are signed.
//!
//! Whatever the weights are, and whatever their order says, no write goes outside.

use super::order_i8::{self, GROUPS, HalfOrder, KINDS, groups_of};
use crate::pack::{K_ALIGN, K_GROUP, MR, NR, SIGNED_OFFSET};
use crate::table::{KC_I8, REPACKED_BYTES};
use core::arch::x86_64::*;

/// Channels in a register of i32.
pub(super) const LANES: usize = 8;
/// Most groups of four weights per channel in an offset partial sum.
pub(super) const OFFSET: usize = 4;
/// The same of a signed one.
pub(super) const SIGNED: usize = 2;

/// Four weights of each of [`LANES`] channels, or the corrections of their sums.
#[derive(Clone, Copy)]
#[repr(align(32))]
pub(super) struct Vector(#[expect(dead_code, reason = "read as a register")] [i8; LANES * K_GROUP]);

/// A repacked panel: two halves of [`LANES`] channels.
pub(super) type Panel = [Half; NR / LANES];

const _: () = assert!(size_of::<Panel>() <= REPACKED_BYTES && align_of::<Panel>() <= 64);
// The place of a group in an LHS panel fits two bytes.
const _: () = assert!(2 * MR * KC_I8 <= 1 << 16);

/// The partial sums of [`LANES`] channels, kind after kind.
#[repr(C)]
pub(super) struct Half {
    /// The weights of each group of an offset sum, then its correction; or w and |w| of each group of a signed one.
    vectors: [Vector; 2 * GROUPS],
    /// Where the groups of activations lie in an LHS panel, in bytes.
    at: [u16; GROUPS],
    /// Partial sums of each kind.
    counts: [u8; KINDS],
}

/// Consecutive partial sums of `G` groups.
#[derive(Clone, Copy)]
pub(super) struct Partials<const G: usize> {
    pub(super) count: usize,
    pub(super) at: *const [u16; G],
    pub(super) vectors: *const __m256i,
}

/// Vectors of a partial sum.
const fn vectors_of(kind: usize) -> usize {
    if kind < OFFSET { groups_of(kind) + 1 } else { 2 * groups_of(kind) }
}

impl Half {
    /// Offset partial sums of `G` groups: their weights and the correction.
    pub(super) fn offset<const G: usize>(&self) -> Partials<G> {
        self.partials(G - 1)
    }

    /// Signed partial sums of `G` groups: w and |w|, group by group.
    pub(super) fn signed<const G: usize>(&self) -> Partials<G> {
        self.partials(OFFSET + G - 1)
    }

    fn partials<const G: usize>(&self, kind: usize) -> Partials<G> {
        let (mut at, mut vectors) = (0, 0);
        for (kind, &count) in self.counts[..kind].iter().enumerate() {
            at += usize::from(count) * groups_of(kind);
            vectors += usize::from(count) * vectors_of(kind);
        }
        Partials {
            count: self.counts[kind].into(),
            at: self.at[at..].as_ptr().cast(),
            vectors: self.vectors[vectors..].as_ptr().cast(),
        }
    }

    /// Fills in the partial sums of an order, which may hold anything: sums without groups are left out, and a number that
    /// no group has stands for the `last`.
    #[target_feature(enable = "avx2")]
    fn fill(&mut self, order: HalfOrder<'_>, last: usize, weights: impl Fn(usize) -> __m256i) {
        let Half { vectors, at, counts } = self;
        let mut rest = Rest { groups: order.groups, at, vectors };
        *counts = [0; KINDS];
        const { assert!(OFFSET == 4 && SIGNED == 2, "the kinds below") };
        for (kind, &count) in order.counts.iter().enumerate() {
            let done = match kind {
                0 => rest.offset::<1>(count, last, &weights),
                1 => rest.offset::<2>(count, last, &weights),
                2 => rest.offset::<3>(count, last, &weights),
                3 => rest.offset::<4>(count, last, &weights),
                4 => rest.signed::<1>(count, last, &weights),
                _ => rest.signed::<2>(count, last, &weights),
            };
            counts[kind] = if done.is_some() { count } else { 0 };
        }
    }
}

/// What is left of an order, and of the room for its partial sums.
struct Rest<'a> {
    groups: &'a [u8],
    at: &'a mut [u16],
    vectors: &'a mut [Vector],
}

/// Some partial sums of `G` groups.
struct Sums<'a, const G: usize> {
    groups: &'a [[u8; G]],
    at: &'a mut [[u16; G]],
    vectors: &'a mut [Vector],
}

impl<'a> Rest<'a> {
    /// `count` partial sums of `G` groups and so many `vectors`, if there is so much left.
    fn take<const G: usize>(&mut self, count: u8, vectors: usize) -> Option<Sums<'a, G>> {
        let count = usize::from(count);
        let (groups, rest) = self.groups.split_at_checked(count * G)?;
        self.groups = rest;
        let at = self.at.split_off_mut(..count * G)?;
        let vectors = self.vectors.split_off_mut(..count * vectors)?;
        Some(Sums { groups: groups.as_chunks().0, at: at.as_chunks_mut().0, vectors })
    }

    /// Fills in offset partial sums.
    #[target_feature(enable = "avx2")]
    fn offset<const G: usize>(
        &mut self,
        count: u8,
        last: usize,
        weights: &impl Fn(usize) -> __m256i,
    ) -> Option<()> {
        let Sums { groups, at, vectors } = self.take::<G>(count, G + 1)?;
        for ((groups, at), vectors) in groups.iter().zip(at).zip(vectors.chunks_exact_mut(G + 1)) {
            let groups = groups.map(|group| last.min(group.into()));
            *at = groups.map(place);
            let mut sums = _mm256_setzero_si256();
            for (group, to) in groups.into_iter().zip(&mut *vectors) {
                let weights = weights(group);
                store(to, weights);
                sums = _mm256_add_epi16(sums, pair_sums(weights));
            }
            // −128 times the sum of each lane's weights, which may wrap, as the partial sum may.
            store(&mut vectors[G], _mm256_sub_epi16(_mm256_setzero_si256(), _mm256_slli_epi16::<7>(sums)));
        }
        Some(())
    }

    /// Fills in signed partial sums.
    #[target_feature(enable = "avx2")]
    fn signed<const G: usize>(
        &mut self,
        count: u8,
        last: usize,
        weights: &impl Fn(usize) -> __m256i,
    ) -> Option<()> {
        let Sums { groups, at, vectors } = self.take::<G>(count, 2 * G)?;
        for ((groups, at), vectors) in groups.iter().zip(at).zip(vectors.chunks_exact_mut(2 * G)) {
            let groups = groups.map(|group| last.min(group.into()));
            *at = groups.map(|group| place(group) + SIGNED_OFFSET as u16);
            for (group, [to, sizes]) in groups.into_iter().zip(vectors.as_chunks_mut().0) {
                let weights = weights(group);
                store(to, weights);
                store(sizes, _mm256_abs_epi8(weights));
            }
        }
        Some(())
    }
}

/// Where a group of activations lies in an LHS panel, as a + 128.
fn place(group: usize) -> u16 {
    let in_step = K_ALIGN / K_GROUP;
    (group / in_step * 2 * SIGNED_OFFSET + group % in_step * MR * K_GROUP) as u16
}

/// w₀ + w₁ of each pair.
#[target_feature(enable = "avx2")]
pub(super) fn pair_sums(weights: __m256i) -> __m256i {
    _mm256_maddubs_epi16(_mm256_set1_epi8(1), weights)
}

/// |w₀| + |w₁| of each pair.
#[target_feature(enable = "avx2")]
pub(super) fn pair_sizes(weights: __m256i) -> __m256i {
    _mm256_maddubs_epi16(_mm256_abs_epi8(weights), _mm256_set1_epi8(1))
}

#[target_feature(enable = "avx2")]
fn store(to: &mut Vector, vector: __m256i) {
    // SAFETY: a `Vector` has the 32 bytes that are stored.
    unsafe { _mm256_storeu_si256(core::ptr::from_mut(to).cast(), vector) }
}

/// Makes the [`Panel`] of `k` steps of a panel.
///
/// # Safety
/// As [`MicroKernelI8::repack`](crate::table::MicroKernelI8::repack) says; the CPU has AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn repack(k: usize, b: *const i8, order: &[u8], repacked: *mut i8) {
    // SAFETY: the caller's memory is as large and aligned as a `Panel`, which is valid whatever bytes it holds; a panel
    // of `k` steps holds k/4 groups of NR channels.
    let (halves, groups) = unsafe {
        (
            &mut *repacked.cast::<Panel>(),
            core::slice::from_raw_parts(b.cast::<[i8; NR * K_GROUP]>(), k / K_GROUP),
        )
    };
    for (h, (half, order)) in halves.iter_mut().zip(order_i8::halves(order)).enumerate() {
        half.fill(order, groups.len() - 1, |group| {
            // SAFETY: the half lies inside the group.
            unsafe { _mm256_loadu_si256(groups[group].as_ptr().add(h * LANES * K_GROUP).cast()) }
        });
    }
}
