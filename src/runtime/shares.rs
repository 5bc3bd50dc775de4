//! How the threads of a team divide an operation.
//!
//! Each gets a share, in proportion to how fast it has been, and works through it piece by piece from the front. Who is
//! done takes pieces from the back of whoever would be busy longest, unless that one is the sooner alone. So little cores
//! (big.LITTLE), throttled ones, and those that another program runs on take what they can do in the same time as the
//! others. Which thread does a piece never changes what comes out.

use super::MAX_THREADS;
use core::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Operations shorter than this say little about how fast a thread is.
const TELLING: Duration = Duration::from_micros(20);

/// Work that threads can divide: units in a row, and what they are done in.
pub(crate) struct Divisible<T, C> {
    pub(super) units: usize,
    piece: usize,
    pub(super) data: T,
    cut: C,
}

impl<T, C: Fn(T, Range<usize>, usize) -> (T, T)> Divisible<T, C> {
    /// So many `units`, all done in `data`; `cut(data, units, at)` cuts what `units` are done in before unit `at`. So many
    /// units as `piece`, from a multiple of it on, are best done together.
    pub(crate) fn new(units: usize, piece: usize, data: T, cut: C) -> Self {
        Divisible { units, piece: piece.max(1), data, cut }
    }
}

/// How fast each thread is, relative to the fastest: above 0, at most 1.
pub(super) struct Speeds([f32; MAX_THREADS]);

/// What a thread did of an operation.
#[derive(Clone, Copy, Default)]
pub(super) struct Done {
    units: usize,
    time: Duration,
}

impl Speeds {
    pub(super) fn new() -> Speeds {
        Speeds([1.0; MAX_THREADS])
    }

    /// Units of each of `threads`, of `units`, such that all end as soon as possible.
    fn share_out(&self, units: usize, threads: usize) -> [usize; MAX_THREADS] {
        let speeds = &self.0[..threads];
        let all: f32 = speeds.iter().sum();
        let mut counts = [0; MAX_THREADS];
        let mut left = units;
        for (count, speed) in counts.iter_mut().zip(speeds) {
            *count = ((units as f32 * speed / all) as usize).min(left);
            left -= *count;
        }
        for _ in 0..left {
            let end = |thread: usize| (counts[thread] + 1) as f32 / speeds[thread];
            let soonest = (0..threads).min_by(|&a, &b| end(a).total_cmp(&end(b)));
            counts[soonest.unwrap_or(0)] += 1;
        }
        counts
    }

    /// Learns from an operation. Who has done nothing of it is slowly given another chance.
    pub(super) fn learn(&mut self, done: &[Done]) {
        let rate = |done: &Done| done.units as f32 / done.time.as_secs_f32();
        let tells = |done: &&Done| done.units > 0 && done.time >= TELLING;
        let fastest = done.iter().filter(tells).map(rate).fold(0.0, f32::max);
        if fastest == 0.0 {
            return;
        }
        for (speed, done) in self.0.iter_mut().zip(done) {
            if tells(&done) {
                *speed += (rate(done) / fastest - *speed) / 8.0;
            } else if done.units == 0 {
                *speed += (1.0 - *speed) / 64.0;
            }
        }
    }
}

/// What one thread has left to do, and has done.
struct Share<T> {
    /// Units that nobody has begun, and what they are done in; `None` only if there are none.
    rest: Option<(Range<usize>, T)>,
    /// The thread is at work, and will do all of the rest that nobody takes from it.
    came: bool,
    done: Done,
}

/// An operation in its threads' hands.
pub(super) struct Shares<'s, T, C> {
    shares: [Mutex<Share<T>>; MAX_THREADS],
    threads: usize,
    piece: usize,
    cut: C,
    speeds: &'s Speeds,
}

impl<'s, T, C: Fn(T, Range<usize>, usize) -> (T, T)> Shares<'s, T, C> {
    pub(super) fn new(work: Divisible<T, C>, threads: usize, speeds: &'s Speeds) -> Self {
        let Divisible { units, piece, data, cut } = work;
        let mut rest = Some((0..units, data));
        let mut end = 0;
        let shares = speeds.share_out(units, threads).map(|count| {
            let mut share = Share { rest: None, came: false, done: Done::default() };
            end += count;
            if let Some((range, data)) = rest.take() {
                let at = between_pieces(end, piece, units).max(range.start);
                (share.rest, rest) = split(&cut, range, data, at);
            }
            Mutex::new(share)
        });
        Shares { shares, threads, piece, cut, speeds }
    }

    fn lock(&self, thread: usize) -> MutexGuard<'_, Share<T>> {
        self.shares[thread].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `job` for piece after piece, until there is none that `thread` should do.
    pub(super) fn work(&self, thread: usize, mut job: impl FnMut(Range<usize>, T)) {
        let mut start = Instant::now();
        self.lock(thread).came = true;
        while let Some((units, data)) = self.take(thread) {
            let count = units.len();
            job(units, data);
            let now = Instant::now();
            self.note(thread, count, now - start);
            start = now;
        }
    }

    /// `thread` has done `units`, which took it `time`.
    fn note(&self, thread: usize, units: usize, time: Duration) {
        let done = &mut self.lock(thread).done;
        done.units += units;
        done.time += time;
    }

    /// The next piece for `thread`, which is nobody's from now on.
    fn take(&self, thread: usize) -> Option<(Range<usize>, T)> {
        loop {
            let mut share = self.lock(thread);
            if let Some((range, data)) = share.rest.take() {
                let end = (range.start / self.piece + 1) * self.piece;
                let (piece, rest) = split(&self.cut, range.clone(), data, end.min(range.end));
                share.rest = rest;
                return piece;
            }
            drop(share);
            let stolen = self.steal(thread)?;
            self.lock(thread).rest = stolen;
        }
    }

    /// Takes the back of the share that would be done last: `Some(None)` if others were quicker, `None` if `thread` had
    /// better take nothing.
    fn steal(&self, thread: usize) -> Option<Option<(Range<usize>, T)>> {
        let speed = |thread: usize| self.speeds.0[thread];
        let left = |of: usize| self.lock(of).rest.as_ref().map_or(0, |(range, _)| range.len());
        let others = (0..self.threads).filter(|&other| other != thread);
        let (time, victim) = others
            .map(|other| (left(other) as f32 / speed(other), other))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .filter(|&(time, _)| time > 0.0)?;
        let mut share = self.lock(victim);
        // Who is at work has a piece in its hands, on average half done.
        let piece = self.piece as f32;
        let alone = time + 0.5 * piece / speed(victim);
        if share.came && piece.min(time * speed(victim)) / speed(thread) > alone {
            return None;
        }
        let Some((range, data)) = share.rest.take() else { return Some(None) };
        let mine = range.len() as f32 * speed(thread) / (speed(thread) + speed(victim));
        let mut at = range.end - mine as usize;
        // A whole number of pieces, and the last one rather than none.
        at = (at.div_ceil(self.piece) * self.piece).min((range.end - 1) / self.piece * self.piece);
        let (rest, stolen) = split(&self.cut, range.clone(), data, at.max(range.start));
        share.rest = rest;
        Some(stolen)
    }

    /// What each thread did, in their order.
    pub(super) fn into_done(self) -> [Done; MAX_THREADS] {
        self.shares.map(|share| share.into_inner().unwrap_or_else(PoisonError::into_inner).done)
    }
}

/// `at`, or the end of a piece that is near: what two threads have a part of costs both.
fn between_pieces(at: usize, piece: usize, units: usize) -> usize {
    let nearest = (at + piece / 2) / piece * piece;
    if at < units && nearest < units && at.abs_diff(nearest) <= piece / 4 { nearest } else { at }
}

/// Both sides of a cut before unit `at`; `None` for a side without units.
#[expect(clippy::type_complexity, reason = "a pair of pairs")]
fn split<T>(
    cut: impl Fn(T, Range<usize>, usize) -> (T, T),
    units: Range<usize>,
    data: T,
    at: usize,
) -> (Option<(Range<usize>, T)>, Option<(Range<usize>, T)>) {
    if units.is_empty() {
        (None, None)
    } else if at == units.end {
        (Some((units, data)), None)
    } else if at == units.start {
        (None, Some((units, data)))
    } else {
        let (left, right) = cut(data, units.clone(), at);
        (Some((units.start..at, left)), Some((at..units.end, right)))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    /// Divides `units` among threads of these true speeds as if they worked side by side: when the last one ends, in
    /// microseconds, where the fastest does a unit in 100. What was learned goes on in `speeds`.
    fn simulate(units: usize, piece: usize, cores: &[f32], speeds: &mut Speeds) -> f32 {
        let work = Divisible::new(units, piece, 0..units, |data: Range<usize>, units: Range<usize>, at| {
            assert_eq!(data, units);
            (data.start..at, at..data.end)
        });
        let shares = Shares::new(work, cores.len(), speeds);
        (0..cores.len()).for_each(|thread| shares.lock(thread).came = true);
        let mut clock: Vec<Option<f32>> = cores.iter().map(|_| Some(0.0)).collect();
        let (mut done, mut end) = (vec![false; units], 0f32);
        // Whoever is free first takes the next piece.
        let free = |clock: &[Option<f32>]| {
            let free = clock.iter().enumerate().filter_map(|(thread, time)| Some((thread, (*time)?)));
            free.min_by(|a, b| a.1.total_cmp(&b.1))
        };
        while let Some((thread, time)) = free(&clock) {
            clock[thread] = shares.take(thread).map(|(units, data)| {
                assert_eq!(units, data);
                for unit in units.clone() {
                    assert!(!core::mem::replace(&mut done[unit], true), "unit {unit} twice");
                }
                let took = 100.0 * units.len() as f32 / cores[thread];
                shares.note(thread, units.len(), Duration::from_secs_f32(took / 1e6));
                end = end.max(time + took);
                time + took
            });
        }
        assert!(done.iter().all(|&done| done), "a unit was left");
        speeds.learn(&shares.into_done()[..cores.len()]);
        end
    }

    /// Groups of panels in the linear layers of a ViT-B/16 block, and how many there are as it runs: qkv, out, fc1, fc2,
    /// whose units are four times as long.
    const BLOCK: [(usize, f32); 4] = [(72, 1.0), (24, 1.0), (96, 1.0), (24, 4.0)];

    /// Time of the last of `blocks` blocks on `cores`.
    fn block_time(cores: &[f32], speeds: &mut Speeds, blocks: usize) -> f32 {
        let piece = |units: usize| (units / (8 * cores.len())).max(1);
        let mut time = 0.0;
        for _ in 0..blocks {
            time =
                BLOCK.iter().map(|&(units, cost)| cost * simulate(units, piece(units), cores, speeds)).sum();
        }
        time
    }

    #[test]
    fn equal_threads_get_equal_shares_and_take_nothing_from_each_other() {
        for threads in [2, 3, 4, 8] {
            let mut speeds = Speeds::new();
            for _ in 0..3 {
                assert_eq!(simulate(24, 1, &[1.0; 8][..threads], &mut speeds), 100.0 * (24 / threads) as f32);
                assert_eq!(simulate(96, 2, &[1.0; 8][..threads], &mut speeds), 100.0 * (96 / threads) as f32);
            }
            assert_eq!(speeds.0[..threads], [1.0; 8][..threads]);
        }
    }

    #[test]
    fn little_cores_help_and_never_make_the_big_ones_wait() {
        // RK3588: an A55 at 1.8 GHz does 0.23 of what an A76 at 2.4 GHz does in int8, by counted cycles. RK3399: an A53 at
        // 1.4 GHz does 0.40 of an A72 at 1.8.
        for (big, little, count, at_most) in [(4, 0.23, 4, 0.87), (2, 0.40, 4, 0.60)] {
            let mut cores = vec![1.0; big];
            let alone = block_time(&cores, &mut Speeds::new(), 1);
            cores.extend(std::iter::repeat_n(little, count));
            let mut speeds = Speeds::new();
            let first = block_time(&cores, &mut speeds, 1);
            let later = block_time(&cores, &mut speeds, 12);
            assert!(first <= alone, "the first block: {first} of {alone}");
            assert!(later <= at_most * alone, "{later} of {alone}");
        }
    }

    #[test]
    fn a_core_that_slows_down_is_found_out_and_forgiven() {
        let mut speeds = Speeds::new();
        block_time(&[1.0; 4], &mut speeds, 2);
        let throttled = [1.0, 1.0, 1.0, 0.5];
        assert!(
            block_time(&throttled, &mut speeds, 1) <= 1.35 * block_time(&[1.0; 4], &mut Speeds::new(), 1)
        );
        assert!(
            block_time(&throttled, &mut speeds, 12) <= 1.25 * block_time(&[1.0; 4], &mut Speeds::new(), 1)
        );
        assert!((speeds.0[3] - 0.5).abs() < 0.1, "{}", speeds.0[3]);
        block_time(&[1.0; 4], &mut speeds, 12);
        assert!(speeds.0[3] > 0.95, "{}", speeds.0[3]);
    }

    #[test]
    fn a_thread_that_does_not_come_leaves_nothing_undone() {
        for slow in [1.0, 0.01] {
            let work = Divisible::new(50, 4, (), |(), _, _| ((), ()));
            let mut speeds = Speeds::new();
            speeds.0[1] = slow;
            let shares = Shares::new(work, 3, &speeds);
            let mut done = Vec::new();
            shares.work(1, |units, ()| done.extend(units));
            done.sort_unstable();
            assert_eq!(done, (0..50).collect::<Vec<_>>());
        }
    }

    #[test]
    fn pieces_begin_at_multiples() {
        // Three heads of 33 items for two threads: the head that both have is packed twice, no other.
        let work = Divisible::new(99, 33, (), |(), _, _| ((), ()));
        let speeds = Speeds::new();
        let shares = Shares::new(work, 2, &speeds);
        let take = |thread| shares.take(thread).map(|(units, ())| units);
        assert_eq!((take(0), take(1)), (Some(0..33), Some(50..66)));
        assert_eq!((take(0), take(1)), (Some(33..50), Some(66..99)));
        assert_eq!((take(0), take(1)), (None, None));
        // Twelve heads for two threads of nearly the same speed: none is split.
        let mut speeds = Speeds::new();
        speeds.0[1] = 0.97;
        let shares = Shares::new(Divisible::new(396, 33, (), |(), _, _| ((), ())), 2, &speeds);
        assert_eq!(shares.take(1), Some((198..231, ())));
    }
}
