//! Signals that end the loop, and the one that has the labels read again.

use ocelli::{Error, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Those that have come.
#[derive(Debug)]
pub(super) struct Signals {
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
}

impl Signals {
    /// # Errors
    /// The system's.
    pub(super) fn new() -> Result<Signals> {
        let signals = Signals { stop: Arc::default(), reload: Arc::default() };
        for (signal, flag) in [(SIGTERM, &signals.stop), (SIGINT, &signals.stop), (SIGHUP, &signals.reload)] {
            // The second one ends the process at once.
            if signal != SIGHUP {
                signal_hook::flag::register_conditional_default(signal, Arc::clone(flag))
                    .map_err(|source| Error::Io { action: "wait for signals", source })?;
            }
            signal_hook::flag::register(signal, Arc::clone(flag))
                .map_err(|source| Error::Io { action: "wait for signals", source })?;
        }
        Ok(signals)
    }

    /// Whether it is time to end.
    pub(super) fn stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether the labels are to be read again; asked once for each time.
    pub(super) fn reload(&self) -> bool {
        self.reload.swap(false, Ordering::Relaxed)
    }
}
