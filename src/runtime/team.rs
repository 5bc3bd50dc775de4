//! A fixed team of threads that works through one operation at a time.
//!
//! The threads are made once. [`Team::divide`] hands them an operation and returns when it is done, so the code between
//! two operations is plain sequential code. Between operations a thread first spins, since the
//! next one is usually microseconds away, then sleeps. Nothing here allocates after [`Team::new`].

use super::handover::{Caller, Job, Who};
use super::shares::{Divisible, Shares, Speeds};
use crate::error::{Error, Result};
use core::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::vec::Vec;

/// Most threads in a team.
pub const MAX_THREADS: usize = 32;

/// The threads. One job at a time: a job borrows the team mutably, so no part of it can reach the team again.
pub(crate) struct Team {
    caller: Caller,
    speeds: Speeds,
    workers: Vec<JoinHandle<()>>,
}

impl Team {
    /// A team of `threads`, the calling thread included.
    ///
    /// # Errors
    /// More than [`MAX_THREADS`], none, or the system makes no more threads.
    pub(crate) fn new(threads: usize) -> Result<Team> {
        if !(1..=MAX_THREADS).contains(&threads) {
            return Err(Error::Argument {
                problem: "the number of threads is not possible: 1 at least, and at most",
                expected: MAX_THREADS as u64,
                found: threads as u64,
            });
        }
        let mut team =
            Team { caller: Caller::new(), speeds: Speeds::new(), workers: Vec::with_capacity(threads - 1) };
        let cpus = super::cores::for_workers(threads - 1);
        for index in 1..threads {
            let worker = team.caller.worker();
            let cpu = cpus.get(index - 1).copied();
            let thread = std::thread::Builder::new()
                .name(std::format!("ocelli-{index}"))
                .spawn(move || {
                    if let Some(cpu) = cpu {
                        super::cores::bind(cpu);
                    }
                    worker.work();
                })
                .map_err(|source| Error::Io { action: "start a thread", source })?;
            team.workers.push(thread);
        }
        // The standard library allocates while a thread starts: now, not during somebody's first image.
        team.run(&|_| {});
        Ok(team)
    }

    /// Threads in the team.
    pub(crate) fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `job(thread)` on every thread, 0 being the caller, and returns when all are done.
    ///
    /// # Panics
    /// If a call panicked. The team is as good as before.
    pub(crate) fn run(&mut self, job: Job<'_>) {
        self.caller.run(Who::Everyone, job);
    }

    /// Does all of `work`, each piece on some thread: `job(units, data, own)` does `units` of it in their `data`. Each
    /// thread has one of `own`, of which there are as many as threads. Waits for no thread that has not begun.
    ///
    /// # Panics
    /// If a call panicked.
    pub(crate) fn divide<T: Send, S: Send>(
        &mut self,
        work: Divisible<T, impl Fn(T, Range<usize>, usize) -> (T, T) + Sync>,
        own: impl IntoIterator<Item = S>,
        job: impl Fn(Range<usize>, T, &mut S) + Sync,
    ) {
        let (threads, mut own) = (self.threads(), own.into_iter());
        if threads == 1 {
            let mut own = own.next().expect("the thread has its own");
            return job(0..work.units, work.data, &mut own);
        }
        let own: [Mutex<Option<S>>; MAX_THREADS] = core::array::from_fn(|_| Mutex::new(own.next()));
        let shares = Shares::new(work, threads, &self.speeds);
        self.caller.run(Who::WhoeverComes, &|thread| {
            let mut own = own[thread].lock().unwrap_or_else(PoisonError::into_inner);
            let own = own.as_mut().expect("each thread has its own");
            shares.work(thread, |units, data| job(units, data, own));
        });
        let done = shares.into_done();
        self.speeds.learn(&done[..threads]);
    }

    /// Gives each of `parts` to a thread of its own; there may not be more of them than threads.
    ///
    /// # Panics
    /// If there are, or if a call panicked.
    pub(crate) fn run_parts<T: Send>(&mut self, parts: impl IntoIterator<Item = T>, job: impl Fn(T) + Sync) {
        let mut slots: [Mutex<Option<T>>; MAX_THREADS] = [const { Mutex::new(None) }; MAX_THREADS];
        for (thread, part) in parts.into_iter().enumerate() {
            assert!(thread < self.threads(), "more parts than threads");
            *slots[thread].get_mut().unwrap_or_else(PoisonError::into_inner) = Some(part);
        }
        self.run(&|thread| {
            let part = slots[thread].lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(part) = part {
                job(part);
            }
        });
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.caller.stop();
        for worker in self.workers.drain(..) {
            // A worker catches every panic of a job; there is nothing left to report.
            let _ = worker.join();
        }
    }
}

// Loom's synchronisation works in its models only.
#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_thread_runs_every_job_once() {
        for threads in [1, 2, 3, 7] {
            let mut team = Team::new(threads).unwrap();
            let mut counts = std::vec![0u64; threads];
            for job in 0..500 {
                if job % 100 == 0 {
                    // Long enough for the workers to fall asleep.
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                team.run_parts(counts.iter_mut().enumerate(), |(i, count)| *count += job * i as u64 + 1);
            }
            for (i, count) in counts.iter().enumerate() {
                assert_eq!(*count, 500 + i as u64 * (499 * 500 / 2));
            }
        }
    }

    #[test]
    fn fewer_parts_than_threads() {
        let mut team = Team::new(3).unwrap();
        let mut value = 0;
        team.run_parts([&mut value], |value| *value = 7);
        assert_eq!(value, 7);
        let surplus = catch_unwind(AssertUnwindSafe(|| team.run_parts(0..4, |_| {})));
        assert!(surplus.is_err(), "four parts, three threads");
    }

    /// Panics again when what its panic carried is dropped.
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped, on purpose");
        }
    }

    #[test]
    fn a_panic_ends_its_own_job_only() {
        let mut team = Team::new(3).unwrap();
        for panicking in [&[0][..], &[1], &[2], &[0, 1], &[1, 2], &[0, 1, 2]] {
            let calls = AtomicUsize::new(0);
            let result = catch_unwind(AssertUnwindSafe(|| {
                team.run(&|thread| {
                    calls.fetch_add(1, Ordering::Relaxed);
                    match thread {
                        0 => assert!(!panicking.contains(&0), "on purpose"),
                        _ if panicking.contains(&thread) => std::panic::panic_any(Bomb),
                        _ => {}
                    }
                });
            }));
            let message = result.expect_err("somebody panicked");
            let expected = if panicking.contains(&0) { "on purpose" } else { "a worker thread panicked" };
            assert_eq!(message.downcast_ref::<&str>(), Some(&expected), "{panicking:?}");
            // An innocent job.
            team.run(&|_| {
                calls.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(calls.into_inner(), 6, "{panicking:?}");
        }
    }

    #[test]
    fn impossible_sizes_are_errors() {
        assert!(Team::new(0).is_err());
        assert!(Team::new(MAX_THREADS + 1).is_err());
    }
}
