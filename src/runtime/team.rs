//! A fixed team of threads that works through one operation at a time.
//!
//! The threads are made once. [`Team::run`] hands every one of them the same closure and returns when all are done,
//! so the code between two operations is plain sequential code. Between operations a thread first spins, since the
//! next one is usually microseconds away, then sleeps. Nothing here allocates after [`Team::new`].

use crate::error::{Error, Result};
use core::cell::Cell;
use core::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::vec::Vec;

/// Most threads in a team.
pub const MAX_THREADS: usize = 32;

/// Looks at shared memory this often before sleeping: tens of microseconds.
const SPINS: usize = 4000;

/// A job as the workers see it: the closure's address, alive until the last worker has finished.
type Job<'a> = &'a (dyn Fn(usize) + Sync);

struct Shared {
    /// The current job; read by a worker only after it has seen `round` advance.
    job: AtomicPtr<()>,
    /// Counts jobs.
    round: AtomicUsize,
    /// Workers that have not finished the current job.
    pending: AtomicUsize,
    /// A worker panicked in the current job.
    panicked: AtomicBool,
    /// The team is being dropped.
    stop: AtomicBool,
    /// Threads that sleep, or are about to, on `changed`.
    sleepers: AtomicUsize,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Shared {
    /// Returns once `ready` holds: spins, then sleeps until another thread says that something changed.
    fn wait(&self, ready: impl Fn() -> bool) {
        for _ in 0..SPINS {
            if ready() {
                return;
            }
            core::hint::spin_loop();
        }
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        while !ready() {
            guard = self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    /// Wakes whoever sleeps. The change must have been stored with `SeqCst` before: then either the sleeper's check
    /// under the lock sees it, or this sees the sleeper.
    fn announce(&self) {
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.changed.notify_all();
        }
    }
}

/// The threads. Not `Sync`: one job at a time, given by whoever owns the team.
pub struct Team {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    not_sync: PhantomData<Cell<()>>,
}

impl Team {
    /// A team of `threads`, the calling thread included.
    ///
    /// # Errors
    /// More than [`MAX_THREADS`], none, or the system makes no more threads.
    pub fn new(threads: usize) -> Result<Team> {
        if !(1..=MAX_THREADS).contains(&threads) {
            return Err(Error::Message(std::format!(
                "{threads} threads asked for; 1 to {MAX_THREADS} are possible"
            )));
        }
        let shared = Arc::new(Shared {
            job: AtomicPtr::new(core::ptr::null_mut()),
            round: AtomicUsize::new(0),
            pending: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            sleepers: AtomicUsize::new(0),
            lock: Mutex::new(()),
            changed: Condvar::new(),
        });
        let mut team = Team { shared, workers: Vec::with_capacity(threads - 1), not_sync: PhantomData };
        let cpus = super::cores::for_workers(threads - 1);
        for index in 1..threads {
            let shared = Arc::clone(&team.shared);
            let cpu = cpus.get(index - 1).copied();
            let worker = std::thread::Builder::new()
                .name(std::format!("ocelli-{index}"))
                .spawn(move || {
                    if let Some(cpu) = cpu {
                        super::cores::bind(cpu);
                    }
                    work(&shared, index);
                })
                .map_err(|source| Error::Io { action: "start a thread", source })?;
            team.workers.push(worker);
        }
        // The standard library allocates while a thread starts: now, not during somebody's first image.
        team.run(&|_| {});
        Ok(team)
    }

    /// Threads in the team.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `job(thread)` on every thread, 0 being the caller, and returns when all are done.
    ///
    /// # Panics
    /// If a call panicked.
    pub fn run(&self, job: Job<'_>) {
        if self.workers.is_empty() {
            return job(0);
        }
        let shared = &*self.shared;
        // The workers get the address of this reference, which lives in the guard's scope below.
        shared.job.store((&raw const job).cast_mut().cast(), Ordering::Relaxed);
        shared.pending.store(self.workers.len(), Ordering::Relaxed);
        shared.round.fetch_add(1, Ordering::SeqCst);
        shared.announce();
        {
            // Waits even if `job` panics here: the workers still borrow what it borrows.
            let _all_done = Finished(shared);
            job(0);
        }
        assert!(!shared.panicked.swap(false, Ordering::Relaxed), "a worker thread panicked");
    }

    /// Gives each of `parts` to a thread of its own; there may not be more of them than threads.
    ///
    /// # Panics
    /// If there are, or if a call panicked.
    pub fn run_parts<T: Send>(&self, parts: impl IntoIterator<Item = T>, job: impl Fn(T) + Sync) {
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

struct Finished<'a>(&'a Shared);

impl Drop for Finished<'_> {
    fn drop(&mut self) {
        self.0.wait(|| self.0.pending.load(Ordering::SeqCst) == 0);
    }
}

/// The life of a worker.
fn work(shared: &Shared, index: usize) {
    let mut round = 0;
    loop {
        shared.wait(|| shared.round.load(Ordering::SeqCst) != round || shared.stop.load(Ordering::SeqCst));
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        round = round.wrapping_add(1);
        let job = shared.job.load(Ordering::Relaxed).cast::<Job<'_>>();
        // SAFETY: `run` stored the address before it advanced `round` and does not return, or unwind, before
        // `pending` is 0, which this thread delays until after the call. The closure is Sync.
        let job = unsafe { *job };
        if catch_unwind(AssertUnwindSafe(|| job(index))).is_err() {
            shared.panicked.store(true, Ordering::Relaxed);
        }
        if shared.pending.fetch_sub(1, Ordering::SeqCst) == 1 {
            shared.announce();
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.announce();
        for worker in self.workers.drain(..) {
            // A worker catches every panic of a job; there is nothing left to report.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_runs_every_job_once() {
        for threads in [1, 2, 3, 7] {
            let team = Team::new(threads).unwrap();
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
    fn fewer_parts_than_threads_and_panics_are_survived() {
        let team = Team::new(3).unwrap();
        let mut value = 0;
        team.run_parts([&mut value], |value| *value = 7);
        assert_eq!(value, 7);
        for panicking in 0..3 {
            let result = catch_unwind(AssertUnwindSafe(|| {
                team.run(&|thread| assert_ne!(thread, panicking, "on purpose"));
            }));
            assert!(result.is_err());
        }
        let done = AtomicUsize::new(0);
        team.run(&|_| {
            done.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(done.into_inner(), 3);
    }

    #[test]
    fn impossible_sizes_are_errors() {
        assert!(Team::new(0).is_err());
        assert!(Team::new(MAX_THREADS + 1).is_err());
    }
}
