//! Which weights share a partial sum of AVX2's int8 micro-kernel; [`repack_i8`](super::repack_i8) says what that is and
//! when it is exact. Searched once for a matrix, since it takes longer than all else that happens to a panel.

use super::repack_i8::{LANES, OFFSET, SIGNED, pair_sizes, pair_sums};
use crate::pack::{K_GROUP, NR};
use crate::table::KC_I8;
use core::arch::x86_64::*;

/// Kinds of partial sums: offset ones of 1, 2, ... groups, then signed ones.
pub(super) const KINDS: usize = OFFSET + SIGNED;
/// Most groups of a span. A group's number fits a byte.
pub(super) const GROUPS: usize = KC_I8 / K_GROUP;
const _: () = assert!(GROUPS <= 256);

/// Partial sums that are filled at a time. Simulated with normally distributed weights, k = 768 and codes up to 127: with one
/// instead the GEMM has 4 % more instructions, with eight as many.
const OPEN: usize = 4;

/// Largest |w₀ + w₁| of a pair that is offset.
const PAIR_LIMIT: i16 = 128;
/// Largest Σ|w| of a partial sum.
const SUM_LIMIT: i16 = 258;

/// Bytes in front of the groups: how many partial sums of each kind there are.
const COUNTS: usize = 8;
const _: () = assert!(KINDS <= COUNTS);

/// Bytes of the order of a panel of `k` steps.
pub(super) fn bytes(k: usize) -> usize {
    NR / LANES * (COUNTS + k / K_GROUP)
}

/// The order of half a panel.
#[derive(Clone, Copy)]
pub(super) struct HalfOrder<'a> {
    /// Partial sums of each kind.
    pub(super) counts: &'a [u8],
    /// The groups of all of them, kind after kind.
    pub(super) groups: &'a [u8],
}

/// The two halves of an order of [`bytes`].
pub(super) fn halves(order: &[u8]) -> impl Iterator<Item = HalfOrder<'_>> {
    order.chunks_exact(order.len() / (NR / LANES)).map(|half| {
        let (counts, groups) = half.split_at(COUNTS);
        HalfOrder { counts: &counts[..KINDS], groups }
    })
}

/// Groups of a partial sum of each kind.
pub(super) const fn groups_of(kind: usize) -> usize {
    if kind < OFFSET { kind + 1 } else { kind - OFFSET + 1 }
}

/// Finds the order of a panel of `k` steps.
///
/// # Safety
/// As [`OrderI8::find`](crate::table::OrderI8::find) says; the CPU has AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn find(k: usize, b: *const i8, order: &mut [u8]) {
    // SAFETY: as the caller promises.
    let groups = unsafe { groups(k, b) };
    for (half, order) in order.chunks_exact_mut(COUNTS + groups.len()).enumerate() {
        let mut done = Done::new();
        let (mut offset, mut signed) = (Filling::new(0, OFFSET), Filling::new(OFFSET, SIGNED));
        for number in 0..groups.len() {
            let group = Group::new(groups, half, number);
            let filling = if exceed(group.sum, PAIR_LIMIT) { &mut signed } else { &mut offset };
            filling.put(group, &mut done);
        }
        offset.end(&mut done);
        signed.end(&mut done);
        done.write(order);
    }
}

/// Finds another order, sooner: groups that share a sum follow each other. With it, the search included, a GEMM of 197 rows
/// takes about a sixth longer (`gemm/i8w8 first` of the crate's benchmark).
///
/// # Safety
/// As [`find`].
#[target_feature(enable = "avx2")]
pub(super) unsafe fn find_soon(k: usize, b: *const i8, order: &mut [u8]) {
    // SAFETY: as the caller promises.
    let groups = unsafe { groups(k, b) };
    for (half, order) in order.chunks_exact_mut(COUNTS + groups.len()).enumerate() {
        let mut done = Done::new();
        // As many as K_ALIGN has.
        for first in (0..groups.len()).step_by(4) {
            let four = [0, 1, 2, 3].map(|i| Group::new(groups, half, first + i));
            if !saturates(&four) && fit(&four) {
                done.push(3, &four.map(|group| group.number));
                continue;
            }
            for two in four.as_chunks::<2>().0 {
                let numbers = two.map(|group| group.number);
                match (fit(two), saturates(two)) {
                    (true, false) => done.push(1, &numbers),
                    (true, true) => done.push(OFFSET + 1, &numbers),
                    (false, _) => numbers.iter().for_each(|&number| done.push(OFFSET, &[number])),
                }
            }
        }
        done.write(order);
    }
}

/// The groups of a panel of `k` steps.
///
/// # Safety
/// `b` points to such a panel, which lives for `'b`.
unsafe fn groups<'b>(k: usize, b: *const i8) -> &'b [[i8; NR * K_GROUP]] {
    // SAFETY: as the caller promises: it has k/4 groups of NR channels.
    unsafe { core::slice::from_raw_parts(b.cast(), k / K_GROUP) }
}

/// Four weights of each of [`LANES`] channels.
#[derive(Clone, Copy)]
struct Group {
    number: u8,
    /// |w₀ + w₁| of each pair.
    sum: __m256i,
    /// |w₀| + |w₁| of each pair.
    size: __m256i,
}

impl Group {
    #[target_feature(enable = "avx2")]
    fn new(groups: &[[i8; NR * K_GROUP]], half: usize, number: usize) -> Group {
        // SAFETY: the half lies inside the group.
        let weights =
            unsafe { _mm256_loadu_si256(groups[number].as_ptr().add(half * LANES * K_GROUP).cast()) };
        Group { number: number as u8, sum: _mm256_abs_epi16(pair_sums(weights)), size: pair_sizes(weights) }
    }
}

/// Whether a pair of `groups` could saturate where it is offset.
#[target_feature(enable = "avx2")]
fn saturates(groups: &[Group]) -> bool {
    let largest = groups.iter().fold(_mm256_setzero_si256(), |most, group| _mm256_max_epi16(most, group.sum));
    exceed(largest, PAIR_LIMIT)
}

/// Whether `groups` can share a partial sum.
#[target_feature(enable = "avx2")]
fn fit(groups: &[Group]) -> bool {
    !exceed(
        groups.iter().fold(_mm256_setzero_si256(), |sum, group| _mm256_add_epi16(sum, group.size)),
        SUM_LIMIT,
    )
}

/// Whether a value exceeds `limit`, in any lane.
#[target_feature(enable = "avx2")]
fn exceed(values: __m256i, limit: i16) -> bool {
    _mm256_movemask_epi8(_mm256_cmpgt_epi16(values, _mm256_set1_epi16(limit))) != 0
}

/// Partial sums that are full, by kind.
struct Done {
    counts: [u8; KINDS],
    groups: [[u8; GROUPS]; KINDS],
}

impl Done {
    fn new() -> Done {
        Done { counts: [0; KINDS], groups: [[0; GROUPS]; KINDS] }
    }

    fn push(&mut self, kind: usize, groups: &[u8]) {
        let first = usize::from(self.counts[kind]) * groups.len();
        self.groups[kind][first..first + groups.len()].copy_from_slice(groups);
        self.counts[kind] += 1;
    }

    fn write(&self, order: &mut [u8]) {
        let (counts, mut rest) = order.split_at_mut(COUNTS);
        counts[..KINDS].copy_from_slice(&self.counts);
        for (kind, groups) in self.groups.iter().enumerate() {
            let (to, after) = rest.split_at_mut(usize::from(self.counts[kind]) * groups_of(kind));
            to.copy_from_slice(&groups[..to.len()]);
            rest = after;
        }
    }
}

/// A partial sum that is being filled.
#[derive(Clone, Copy)]
struct Open {
    /// Σ|w| so far, of each lane.
    size: __m256i,
    groups: [u8; OFFSET],
    count: usize,
}

/// Partial sums of at most `most` groups that are being filled, the fullest first.
struct Filling {
    open: [Open; OPEN],
    /// The kind of the sums of one group.
    kind: usize,
    most: usize,
}

impl Filling {
    #[target_feature(enable = "avx2")]
    fn new(kind: usize, most: usize) -> Filling {
        Filling { open: [empty(); OPEN], kind, most }
    }

    /// Puts a group into the fullest sum that has room for it; where none has, the fullest is done.
    #[target_feature(enable = "avx2")]
    fn put(&mut self, group: Group, done: &mut Done) {
        let mut to = 0;
        while to < OPEN && exceed(_mm256_add_epi16(self.open[to].size, group.size), SUM_LIMIT) {
            to += 1;
        }
        if to == OPEN {
            self.close(0, done);
            to = OPEN - 1;
        }
        let open = &mut self.open[to];
        open.groups[open.count] = group.number;
        open.size = _mm256_add_epi16(open.size, group.size);
        open.count += 1;
        if open.count == self.most {
            return self.close(to, done);
        }
        while to > 0 && self.open[to].count > self.open[to - 1].count {
            self.open.swap(to - 1, to);
            to -= 1;
        }
    }

    #[target_feature(enable = "avx2")]
    fn close(&mut self, at: usize, done: &mut Done) {
        let Open { groups, count, .. } = self.open[at];
        done.push(self.kind + count - 1, &groups[..count]);
        self.open[at..].rotate_left(1);
        self.open[OPEN - 1] = empty();
    }

    /// Ends with the sums as full as they are.
    fn end(&self, done: &mut Done) {
        for open in self.open.iter().filter(|open| open.count > 0) {
            done.push(self.kind + open.count - 1, &open.groups[..open.count]);
        }
    }
}

#[target_feature(enable = "avx2")]
fn empty() -> Open {
    Open { size: _mm256_setzero_si256(), groups: [0; OFFSET], count: 0 }
}
