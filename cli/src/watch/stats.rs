//! What was done with frames, and how long it took.

use super::mailbox::Counts;
use std::fmt;
use std::time::{Duration, Instant};

/// Durations, summed up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    count: u64,
    sum: Duration,
    longest: Duration,
}

impl Times {
    pub(super) fn add(&mut self, time: Duration) {
        self.count += 1;
        self.sum += time;
        self.longest = self.longest.max(time);
    }
}

/// Mean and longest in milliseconds.
impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mean = self.sum.as_secs_f64() * 1e3 / self.count.max(1) as f64;
        write!(f, "{mean:.1} ms, at most {:.1} ms", self.longest.as_secs_f64() * 1e3)
    }
}

/// Everything since the start.
#[derive(Debug)]
pub(super) struct Stats {
    start: Instant,
    pub(super) scored: u64,
    /// Not scored, because nothing had changed.
    pub(super) unchanged: u64,
    /// Could not be decoded or scored.
    pub(super) refused: u64,
    pub(super) events: u64,
    /// From a frame to its scores: decoding, gate, resizing, encoding.
    pub(super) scoring: Times,
    /// The same for frames that had not changed.
    pub(super) skipping: Times,
    /// From a frame's last byte to the line on stdout.
    pub(super) latency: Times,
}

impl Stats {
    pub(super) fn new() -> Stats {
        Stats {
            start: Instant::now(),
            scored: 0,
            unchanged: 0,
            refused: 0,
            events: 0,
            scoring: Times::default(),
            skipping: Times::default(),
            latency: Times::default(),
        }
    }

    /// Frames.
    pub(super) fn frames(&self, counts: Counts) -> String {
        let seconds = self.start.elapsed().as_secs_f64();
        format!(
            "{} frames read ({:.1} per second): {} scored, {} unchanged, {} dropped, {} damaged; {} events",
            counts.read,
            counts.read as f64 / seconds,
            self.scored,
            self.unchanged,
            counts.dropped,
            counts.damaged + self.refused,
            self.events
        )
    }

    /// Times.
    pub(super) fn times(&self) -> String {
        let Stats { scoring, skipping, latency, .. } = self;
        format!("scoring {scoring}; unchanged {skipping}; frame to event {latency}")
    }
}
