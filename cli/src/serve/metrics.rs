//! What the server counts and times, as Prometheus reads it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many of the latest values say what is usual now.
const WINDOW: usize = 1024;

/// What a picture goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Decode,
    Preprocess,
    Wait,
    Encode,
}

impl Stage {
    const ALL: [Stage; 4] = [Stage::Decode, Stage::Preprocess, Stage::Wait, Stage::Encode];

    fn name(self) -> &'static str {
        match self {
            Stage::Decode => "decode",
            Stage::Preprocess => "preprocess",
            Stage::Wait => "wait",
            Stage::Encode => "encode",
        }
    }
}

/// Counts since the start, and the times of lately.
#[derive(Default)]
pub(super) struct Metrics {
    /// By method, route and status.
    requests: Mutex<BTreeMap<(&'static str, String, u16), u64>>,
    stages: [Mutex<Window>; 4],
    images: AtomicU64,
    batches: AtomicU64,
    texts_cached: AtomicU64,
    texts_encoded: AtomicU64,
    models_open: AtomicU64,
    upstream: AtomicU64,
    upstream_failed: AtomicU64,
}

/// The latest values of a quantity in milliseconds, and the sum and number of all.
#[derive(Default)]
struct Window {
    values: Vec<f64>,
    next: usize,
    sum: f64,
    count: u64,
}

impl Window {
    fn add(&mut self, ms: f64) {
        match self.values.get_mut(self.next) {
            Some(value) => *value = ms,
            None => self.values.push(ms),
        }
        self.next = (self.next + 1) % WINDOW;
        self.sum += ms;
        self.count += 1;
    }

    /// The value that `share` of the latest ones are not above; 0 without any.
    fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.values.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}

impl Metrics {
    /// A request for `route` was answered; neither it nor `method` may be a text of the client's choice.
    pub(super) fn request(&self, method: &'static str, route: &str, status: u16) {
        *lock(&self.requests).entry((method, route.to_owned(), status)).or_default() += 1;
    }

    /// A picture spent `ms` in `stage`.
    pub(super) fn stage(&self, stage: Stage, ms: f64) {
        lock(&self.stages[stage as usize]).add(ms);
    }

    /// `images` were encoded together in `ms`; the time of one is its share.
    pub(super) fn encoded(&self, images: usize, ms: f64) {
        add(&self.images, images);
        add(&self.batches, 1);
        let mut window = lock(&self.stages[Stage::Encode as usize]);
        (0..images).for_each(|_| window.add(ms / images as f64));
    }

    /// So many texts were known, and so many are to be encoded.
    pub(super) fn texts(&self, cached: usize, encoded: usize) {
        add(&self.texts_cached, cached);
        add(&self.texts_encoded, encoded);
    }

    pub(super) fn opened(&self) {
        add(&self.models_open, 1);
    }

    pub(super) fn closed(&self) {
        self.models_open.fetch_sub(1, Ordering::Relaxed);
    }

    /// The other server was asked, and gave an answer or not.
    pub(super) fn upstream(&self, answered: bool) {
        add(&self.upstream, 1);
        add(&self.upstream_failed, usize::from(!answered));
    }

    /// How long an image takes to encode these days, in milliseconds; 0 before the first.
    pub(super) fn usual_encode_ms(&self) -> f64 {
        lock(&self.stages[Stage::Encode as usize]).quantile(0.5)
    }

    /// Everything, in Prometheus' text format 0.0.4, with `gauges`: name, meaning and value.
    pub(super) fn text(&self, gauges: &[(&str, &str, usize)]) -> String {
        let mut text = String::new();
        let mut line = |line: std::fmt::Arguments<'_>| {
            // Strings take everything.
            let _ = writeln!(text, "{line}");
        };
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        line(format_args!(
            "# HELP ocelli_requests_total Requests answered.\n# TYPE ocelli_requests_total counter"
        ));
        for ((method, route, status), count) in &*lock(&self.requests) {
            line(format_args!(
                "ocelli_requests_total{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}} {count}"
            ));
        }
        line(format_args!(
            "# HELP ocelli_stage_seconds Time of one image in each stage.\n# TYPE ocelli_stage_seconds summary"
        ));
        for stage in Stage::ALL {
            let (window, name) = (lock(&self.stages[stage as usize]), stage.name());
            for share in [0.5, 0.95] {
                let seconds = window.quantile(share) / 1e3;
                line(format_args!("ocelli_stage_seconds{{stage=\"{name}\",quantile=\"{share}\"}} {seconds}"));
            }
            line(format_args!("ocelli_stage_seconds_sum{{stage=\"{name}\"}} {}", window.sum / 1e3));
            line(format_args!("ocelli_stage_seconds_count{{stage=\"{name}\"}} {}", window.count));
        }
        let gauges = gauges.iter().map(|&(name, help, value)| (name, "gauge", help, value as u64));
        let counters = [
            ("images_total", "counter", "Images encoded.", get(&self.images)),
            ("batches_total", "counter", "Batches in which they were encoded.", get(&self.batches)),
            ("texts_cached_total", "counter", "Texts whose embedding was known.", get(&self.texts_cached)),
            ("texts_encoded_total", "counter", "Texts that were not.", get(&self.texts_encoded)),
            ("upstream_total", "counter", "Requests passed on to the other server.", get(&self.upstream)),
            ("upstream_failed_total", "counter", "Those that it did not answer.", get(&self.upstream_failed)),
            ("models_open", "gauge", "Models that are open.", get(&self.models_open)),
            ("resident_memory_bytes", "gauge", "Memory of this process.", resident().unwrap_or(0)),
        ];
        for (name, kind, help, value) in counters.into_iter().chain(gauges) {
            line(format_args!(
                "# HELP ocelli_{name} {help}\n# TYPE ocelli_{name} {kind}\nocelli_{name} {value}"
            ));
        }
        text
    }
}

/// Memory of this process in bytes, model files that are mapped included, where the system says it.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_latest_values() {
        let mut window = Window::default();
        assert_eq!(window.quantile(0.5), 0.0);
        (1..=100).for_each(|ms| window.add(f64::from(ms)));
        assert_eq!([0.5, 0.95, 1.0].map(|share| window.quantile(share)), [50.0, 95.0, 100.0]);
        (0..WINDOW).for_each(|_| window.add(7.0));
        assert_eq!((window.quantile(0.95), window.count), (7.0, 100 + WINDOW as u64));
    }
}
