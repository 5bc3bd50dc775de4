//! How a job gets from the caller to the workers of a team, and its end back.
//!
//! The caller stores the job, then opens a new round of `state`; a worker that sees it open counts itself in, calls the
//! job, and counts itself out; the caller closes the round, so that nobody comes in any more, and returns once all are
//! out. Each of these is a release that the other side acquires. A thread that has to wait first spins, then sleeps.
//! Below, loom tries the orders that these steps can take.

use super::sync::{Arc, AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Condvar, Mutex, Ordering, fence};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::PoisonError;

/// Looks at shared memory this often before sleeping: tens of microseconds.
const SPINS: usize = if cfg!(loom) { 1 } else { 4000 };

/// Called once on every thread, with the thread's number.
pub(super) type Job<'a> = &'a (dyn Fn(usize) + Sync);

/// Whom a job waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// Every thread has its part in the job.
    Everyone,
    /// Whoever comes before the caller is done with its own part. A worker that the system lets wait, since another
    /// program has its CPU, comes to a later job.
    WhoeverComes,
}

/// One worker that is in the job.
const IN: u64 = 1;
/// One worker that has come in, and may be out again.
const CAME: u64 = 1 << 8;
/// Nobody comes in any more.
const CLOSED: u64 = 1 << 16;
/// One job.
const ROUND: u64 = 1 << 24;
const _: () = assert!(super::MAX_THREADS < 1 << 8, "both counts of workers have 8 bits");

/// Workers that are in the job.
const fn inside(state: u64) -> u64 {
    state % CAME
}

/// Workers that have come in.
const fn came(state: u64) -> u64 {
    state % CLOSED / CAME
}

struct Shared {
    /// Points to the current [`Job`]; read by a worker only while it is in.
    job: AtomicPtr<()>,
    /// A multiple of `ROUND` that counts the jobs, `CLOSED` or not, and multiples of `CAME` and `IN`. While a worker is in,
    /// the round stays.
    state: AtomicU64,
    /// A worker panicked in the current job.
    panicked: AtomicBool,
    /// There will be no more jobs.
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
        self.sleepers.fetch_add(1, Ordering::Relaxed);
        // Pairs with the fence in `announce`: either `ready` sees the change, or the other thread sees this sleeper,
        // and then can't notify before this thread has released the lock by sleeping.
        fence(Ordering::SeqCst);
        while !ready() {
            guard = self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::Relaxed);
    }

    /// Wakes whoever sleeps, after a change that some `ready` reads.
    fn announce(&self) {
        fence(Ordering::SeqCst);
        if self.sleepers.load(Ordering::Relaxed) > 0 {
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.changed.notify_all();
        }
    }
}

/// The side that gives jobs. There is one, and it can't be cloned: a job is under way only while it is borrowed.
pub(super) struct Caller {
    shared: Arc<Shared>,
    workers: usize,
    /// Of the last job.
    round: u64,
}

/// The side of one worker.
pub(super) struct Worker {
    shared: Arc<Shared>,
    /// Of this thread; the caller is thread 0.
    thread: usize,
    /// Of the last job that this worker has had its part in, or has none.
    round: u64,
}

impl Caller {
    pub(super) fn new() -> Caller {
        let shared = Shared {
            job: AtomicPtr::new(core::ptr::null_mut()),
            state: AtomicU64::new(CLOSED),
            panicked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            sleepers: AtomicUsize::new(0),
            lock: Mutex::new(()),
            changed: Condvar::new(),
        };
        Caller { shared: Arc::new(shared), workers: 0, round: 0 }
    }

    /// One more worker. Every later job may wait for it, so a thread must be running [`Worker::work`] by then.
    pub(super) fn worker(&mut self) -> Worker {
        self.workers += 1;
        Worker { shared: Arc::clone(&self.shared), thread: self.workers, round: self.round }
    }

    /// Calls `job(thread)` once on every thread, 0 being this one, or on those that come, and returns when all are done.
    ///
    /// # Panics
    /// If a call panicked; the others are finished then, and the next job starts afresh.
    pub(super) fn run(&mut self, who: Who, job: Job<'_>) {
        if self.workers == 0 {
            return job(0);
        }
        let shared = &*self.shared;
        // The workers get the address of this reference, which outlives their use of it: a panic of this thread's own
        // part is held back until they are done.
        shared.job.store((&raw const job).cast_mut().cast(), Ordering::Relaxed);
        self.round += 1;
        // The last round is closed and nobody is in: no worker changes the state before it is opened here.
        shared.state.store(self.round * ROUND, Ordering::Release);
        shared.announce();
        let own = catch_unwind(AssertUnwindSafe(|| job(0)));
        if who == Who::Everyone {
            shared.wait(|| came(shared.state.load(Ordering::Acquire)) == self.workers as u64);
        }
        shared.state.fetch_or(CLOSED, Ordering::AcqRel);
        shared.wait(|| inside(shared.state.load(Ordering::Acquire)) == 0);
        // Taken back before anything unwinds: it is not the next job's panic.
        let panicked = shared.panicked.swap(false, Ordering::Relaxed);
        if let Err(panic) = own {
            resume_unwind(panic);
        }
        assert!(!panicked, "a worker thread panicked");
    }

    /// Ends [`Worker::work`] on every worker.
    pub(super) fn stop(&mut self) {
        self.workers = 0;
        self.shared.stop.store(true, Ordering::Release);
        self.shared.announce();
    }
}

impl Worker {
    /// Does this thread's part of every job until the caller says stop.
    pub(super) fn work(self) {
        let Worker { shared, thread, mut round } = self;
        let stop = || shared.stop.load(Ordering::Acquire);
        loop {
            let open = |state: u64| state & CLOSED == 0 && state / ROUND != round;
            shared.wait(|| open(shared.state.load(Ordering::Acquire)) || stop());
            if stop() {
                return;
            }
            let come_in = |state| open(state).then_some(state + CAME + IN);
            let Ok(state) = shared.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, come_in) else {
                // Closed meanwhile.
                continue;
            };
            round = state / ROUND;
            let job = shared.job.load(Ordering::Relaxed).cast::<Job<'_>>();
            // SAFETY: `run` stored the address of its own `job` before it opened the round. It neither returns nor unwinds
            // before it has closed it and nobody is in, and this thread is until after the call; nor does another `run`
            // replace the job until then, since this one borrows the only `Caller`. The closure is Sync.
            let job = unsafe { *job };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| job(thread))) {
                // Dropping what a panic carries may panic again, and this thread is still waited for.
                core::mem::forget(panic);
                shared.panicked.store(true, Ordering::Relaxed);
            }
            // The caller may wait for the last one out, or for the last one to have come.
            let state = shared.state.fetch_sub(IN, Ordering::AcqRel);
            if inside(state) == 1 {
                shared.announce();
            }
        }
    }
}

/// Loom runs each of these in every order of the threads' steps that has few enough interruptions, and with every value
/// that a load may see. What is handed over lies in its `UnsafeCell`, which reports each access that is not ordered after
/// the one before.
#[cfg(all(loom, test))]
mod tests {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::thread;
    use std::boxed::Box;
    use std::vec::Vec;

    /// A value for each thread.
    struct Values(Vec<UnsafeCell<usize>>);

    // SAFETY: a thread changes only its own; loom reports it if another gets there meanwhile.
    unsafe impl Sync for Values {}

    impl Values {
        fn new(threads: usize) -> Values {
            Values((0..threads).map(|_| UnsafeCell::new(0)).collect())
        }

        fn add(&self, thread: usize, value: usize) {
            // SAFETY: the pointer is that of a live value.
            self.0[thread].with_mut(|sum| unsafe { *sum += value });
        }

        /// Takes all of them back, for writing: a thread that still uses one is found out.
        fn take(&mut self) -> Vec<usize> {
            // SAFETY: as in `add`.
            self.0
                .iter()
                .map(|value| value.with_mut(|value| unsafe { core::mem::take(&mut *value) }))
                .collect()
        }
    }

    /// Tries `calls` with `workers` workers, then stops them; loom reports a deadlock if one does not end. Threads are
    /// interrupted at most `preemptions` times where they need not wait: without a bound this takes hours.
    fn try_orders(workers: usize, preemptions: usize, calls: impl Fn(&mut Caller) + Send + Sync + 'static) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(preemptions);
        model.check(move || {
            let mut caller = Caller::new();
            let threads: Vec<_> = (0..workers)
                .map(|_| {
                    let worker = caller.worker();
                    thread::spawn(move || worker.work())
                })
                .collect();
            calls(&mut caller);
            caller.stop();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }

    #[test]
    fn two_jobs_on_two_threads() {
        try_orders(1, 5, |caller| {
            let mut values = Values::new(2);
            for job in 1..=2 {
                caller.run(Who::Everyone, &|thread| values.add(thread, 10 * job + thread));
                assert_eq!(values.take(), [10 * job, 10 * job + 1]);
            }
        });
    }

    #[test]
    fn jobs_on_three_threads() {
        try_orders(2, 1, |caller| {
            let mut values = Values::new(3);
            for job in 1..=2 {
                caller.run(Who::Everyone, &|thread| values.add(thread, 10 * job + thread));
                assert_eq!(values.take(), [10 * job, 10 * job + 1, 10 * job + 2]);
            }
        });
    }

    /// A worker has its whole part in a job, or none, and none after the job's end. More of it takes minutes: with LONG set.
    #[test]
    fn whoever_comes() {
        let long = std::env::var_os("LONG").is_some();
        let sizes = if long { [(1, 4, 2), (2, 1, 2)] } else { [(1, 3, 2), (2, 1, 1)] };
        for (workers, preemptions, jobs) in sizes {
            try_orders(workers, preemptions, move |caller| {
                let mut values = Values::new(workers + 1);
                for job in 1..=jobs {
                    caller.run(Who::WhoeverComes, &|thread| values.add(thread, 10 * job + thread));
                    let found = values.take();
                    assert_eq!(found[0], 10 * job);
                    for thread in 1..=workers {
                        assert!([0, 10 * job + thread].contains(&found[thread]), "{found:?}");
                    }
                }
                caller.run(Who::Everyone, &|thread| values.add(thread, thread));
                assert_eq!(values.take(), (0..=workers).collect::<Vec<_>>());
            });
        }
    }

    #[test]
    fn stopped_before_the_first_job() {
        try_orders(2, 5, |_| {});
    }

    #[test]
    fn a_panic_ends_its_own_job_only() {
        for panicking in [&[0][..], &[1], &[0, 1]] {
            try_orders(1, 4, |caller| {
                let mut values = Values::new(2);
                let result = catch_unwind(AssertUnwindSafe(|| {
                    caller.run(Who::Everyone, &|thread| {
                        values.add(thread, 1);
                        if panicking.contains(&thread) {
                            // A panic without its message.
                            resume_unwind(Box::new(()));
                        }
                    });
                }));
                assert!(result.is_err());
                assert_eq!(values.take(), [1, 1]);
                caller.run(Who::Everyone, &|thread| values.add(thread, 2));
                assert_eq!(values.take(), [2, 2]);
            });
        }
    }
}
