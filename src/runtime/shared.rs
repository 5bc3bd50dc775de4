//! Threads and kernels that several encoders share.

use super::Team;
use crate::error::{Error, Result};
use core::ops::{Deref, DerefMut};
use ocelli_kernels::{Isa, Kernels};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a [`Runtime`] is made of.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RuntimeOptions {
    /// Threads, the calling one included: 1 to [`MAX_THREADS`](super::MAX_THREADS).
    pub threads: usize,
    /// Instruction sets to use.
    pub isa: Isa,
    /// Whether kernels are for the Cortex-A55, where there are such: the same results, faster on that core and slower on
    /// others.
    pub cortex_a55: bool,
}

impl Default for RuntimeOptions {
    /// One thread with all instruction sets of this CPU, for the Cortex-A55 where all CPUs are such.
    fn default() -> RuntimeOptions {
        RuntimeOptions { threads: 1, isa: Isa::detect(), cortex_a55: super::all_cortex_a55() }
    }
}

impl RuntimeOptions {
    /// The same with another number of threads.
    #[must_use]
    pub fn threads(self, threads: usize) -> RuntimeOptions {
        RuntimeOptions { threads, ..self }
    }

    /// The same with other instruction sets.
    #[must_use]
    pub fn isa(self, isa: Isa) -> RuntimeOptions {
        RuntimeOptions { isa, ..self }
    }

    /// The same with kernels for the Cortex-A55, or without.
    #[must_use]
    pub fn cortex_a55(self, cortex_a55: bool) -> RuntimeOptions {
        RuntimeOptions { cortex_a55, ..self }
    }
}

/// Threads and kernels. Clones share them; what one encoder computes, others wait for.
#[derive(Clone)]
pub struct Runtime(Arc<Shared>);

struct Shared {
    kernels: Kernels,
    threads: usize,
    team: Mutex<Team>,
    /// The thread that has the team, as [`this_thread`] names it; 0 if none has.
    holder: AtomicUsize,
}

impl Runtime {
    /// Starts the threads and chooses the kernels.
    ///
    /// # Errors
    /// An impossible number of threads, or the system makes no more of them.
    pub fn new(options: &RuntimeOptions) -> Result<Runtime> {
        let kernels = Kernels::new(options.isa);
        Ok(Runtime(Arc::new(Shared {
            kernels: if options.cortex_a55 { kernels.for_cortex_a55() } else { kernels },
            threads: options.threads,
            team: Mutex::new(Team::new(options.threads)?),
            holder: AtomicUsize::new(0),
        })))
    }

    /// The kernels in use.
    pub fn kernels(&self) -> &Kernels {
        &self.0.kernels
    }

    /// Threads in use, the calling one included.
    pub fn threads(&self) -> usize {
        self.0.threads
    }

    /// Waits until no other thread uses the team.
    ///
    /// # Errors
    /// The calling thread has it already: an observer of an encoder called an encoder of the same runtime, which would
    /// wait for itself.
    pub(crate) fn hold(&self) -> Result<Hold<'_>> {
        let me = this_thread();
        if self.0.holder.load(Ordering::Relaxed) == me {
            return Err(Error::RuntimeBusy);
        }
        let team = self.0.team.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.holder.store(me, Ordering::Relaxed);
        Ok(Hold { team, holder: &self.0.holder })
    }
}

impl core::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Runtime").field("threads", &self.0.threads).field("kernels", &self.0.kernels).finish()
    }
}

/// A number that no other living thread has, and never 0: the address of something of its own.
fn this_thread() -> usize {
    std::thread_local! {
        static PLACE: u8 = const { 0 };
    }
    PLACE.with(|place| core::ptr::from_ref(place).addr())
}

/// The team of a [`Runtime`], until dropped.
pub(crate) struct Hold<'r> {
    team: MutexGuard<'r, Team>,
    holder: &'r AtomicUsize,
}

impl Deref for Hold<'_> {
    type Target = Team;

    fn deref(&self) -> &Team {
        &self.team
    }
}

impl DerefMut for Hold<'_> {
    fn deref_mut(&mut self) -> &mut Team {
        &mut self.team
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.holder.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_does_not_wait_for_itself_and_others_take_turns() {
        let runtime = Runtime::new(&RuntimeOptions::default().threads(2)).unwrap();
        let held = runtime.hold().unwrap();
        assert!(runtime.hold().is_err());
        let other = runtime.clone();
        let waiting = std::thread::spawn(move || other.hold().map(|team| team.threads()));
        drop(held);
        assert_eq!(waiting.join().unwrap().unwrap(), 2);
        assert!(runtime.hold().is_ok());
    }

    #[test]
    fn a_panic_in_a_job_leaves_the_runtime_usable() {
        let runtime = Runtime::new(&RuntimeOptions::default().threads(2)).unwrap();
        let panics = std::panic::AssertUnwindSafe(|| {
            let mut team = runtime.hold().unwrap();
            team.run_parts([0, 1], |part| assert_ne!(part, 1, "on purpose"));
        });
        assert!(std::panic::catch_unwind(panics).is_err());
        let mut parts = [0; 2];
        runtime.hold().unwrap().run_parts(&mut parts, |part| *part += 1);
        assert_eq!(parts, [1, 1]);
    }
}
