//! What `ocelli profile` prints.

use super::Args;
use super::pipeline::Pipeline;
use crate::args::Opened;
use crate::console::round_ms;
use crate::sensors::{self, Sensors};
use ocelli::printable;
use ocelli::profile::{Op, OpTime};
use ocelli::runtime::{self, Peaks};
use ocelli::{ImageEncoder, Result, knobs};
use serde::Serialize;
use std::fmt::{Display, Write};

/// A run: times are per image.
#[derive(Serialize)]
pub(super) struct Report {
    ms: Vec<f64>,
    load_ms: f64,
    rss_mb: Option<f64>,
    threads: usize,
    batch: u16,
    cores: String,
    kernels: String,
    p50_ms: f64,
    p95_ms: f64,
    gmacs: f64,
    peak_gmacs: PeakGmacs,
    memory_gb_per_s: f64,
    model: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_bytes: Option<String>,
    ops: Vec<OpLine>,
    most_over_bound: Vec<&'static str>,
    sensors: Sensors,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sustained: Option<Vec<Interval>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pipeline: Option<Pipeline>,
}

/// What this machine can do at most.
#[derive(Serialize)]
struct PeakGmacs {
    i8: f64,
    f32: f64,
}

/// What one operation took.
#[derive(Serialize)]
struct OpLine {
    op: &'static str,
    /// Per batch.
    calls: f64,
    us: f64,
    /// Per cent of the whole time.
    share: f64,
    gmacs: Option<f64>,
    percent_of_peak: Option<f64>,
    bytes: u64,
    bound_us: f64,
    over_bound_us: f64,
}

/// A part of a sustained run.
#[derive(Serialize)]
pub(super) struct Interval {
    /// Its end, in seconds since the start.
    pub(super) at_s: f64,
    pub(super) calls: usize,
    pub(super) p50_ms: f64,
    pub(super) sensors: Sensors,
}

pub(super) fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

impl Report {
    /// What `ms`, milliseconds per image of each call, and the encoder's profile of these calls say.
    pub(super) fn new(
        args: &Args,
        opened: &Opened,
        encoder: &mut ImageEncoder,
        ms: Vec<f64>,
        load_ms: f64,
    ) -> Result<Report> {
        let peaks = Peaks::measure(encoder.runtime(), encoder.model().file().data())?;
        let mut sorted = ms.clone();
        sorted.sort_by(f64::total_cmp);
        let images = ms.len() as f64 * f64::from(args.batch);
        let seconds = ms.iter().sum::<f64>() / 1e3 * f64::from(args.batch);
        let profile = *encoder.profile_mut();
        let line = |op: Op, OpTime { calls, time, work }: OpTime| {
            let (time, bound) = (time.as_secs_f64(), peaks.bound(&work));
            let multiplies = work.macs() > 0;
            OpLine {
                op: op.name(),
                calls: calls as f64 / ms.len() as f64,
                us: round_ms(time * 1e6 / images),
                share: round_ms(time * 1e2 / seconds),
                gmacs: multiplies.then(|| round_ms(work.macs() as f64 / time / 1e9)),
                percent_of_peak: multiplies.then(|| round_ms(peaks.compute(&work) / time * 1e2)),
                bytes: (work.bytes as f64 / images).round() as u64,
                bound_us: round_ms(bound * 1e6 / images),
                over_bound_us: round_ms((time - bound) * 1e6 / images),
            }
        };
        let used = Op::ALL.iter().map(|&op| (op, profile.op(op))).filter(|(_, cost)| cost.calls > 0);
        let ops: Vec<OpLine> = used.map(|(op, cost)| line(op, cost)).collect();
        let mut over_bound: Vec<_> = ops.iter().map(|op| (op.over_bound_us, op.op)).collect();
        over_bound.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        Ok(Report {
            load_ms: round_ms(load_ms),
            rss_mb: peak_rss_mb(),
            threads: encoder.runtime().threads(),
            batch: args.batch,
            cores: runtime::describe(&runtime::cpus()),
            kernels: encoder.runtime().kernels().isa().to_string(),
            p50_ms: percentile(&sorted, 50),
            p95_ms: percentile(&sorted, 95),
            gmacs: round_ms(profile.work().macs() as f64 / seconds / 1e9),
            peak_gmacs: PeakGmacs { i8: round_ms(peaks.macs_i8 / 1e9), f32: round_ms(peaks.macs_f32 / 1e9) },
            memory_gb_per_s: round_ms(peaks.bytes / 1e9),
            model: opened.name(),
            model_bytes: opened.name_bytes(),
            most_over_bound: over_bound.iter().take(3).map(|(_, name)| *name).collect(),
            ms,
            ops,
            sensors: sensors::read(&knobs::sysfs()?),
            sustained: None,
            pipeline: None,
        })
    }

    /// The report for people.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("strings take everything");
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let some = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.1}"));
        writeln!(
            out,
            "{}: p50 {:.1} ms, p95 {:.1} ms per image, threads {}, batch {}, {}; {:.1} GMAC/s",
            printable(&self.model),
            self.p50_ms,
            self.p95_ms,
            self.threads,
            self.batch,
            self.kernels,
            self.gmacs,
        )?;
        writeln!(
            out,
            "file to first result {:.1} ms, peak memory {} MB; {}: peak {:.1} GMAC/s int8, {:.1} f32, reads {:.1} GB/s",
            self.load_ms,
            some(self.rss_mb),
            if self.cores.is_empty() { "this machine" } else { &self.cores },
            self.peak_gmacs.i8,
            self.peak_gmacs.f32,
            self.memory_gb_per_s,
        )?;
        let mut row = |name: &str, cells: [&dyn Display; 8]| {
            let [calls, us, share, gmacs, of_peak, mb, bound, over] = cells;
            writeln!(
                out,
                "{name:<18} {calls:>5} {us:>9} {share:>7} {gmacs:>7} {of_peak:>7} {mb:>6} {bound:>9} {over:>9}"
            )
        };
        row("operation", [&"calls", &"us", &"share", &"GMAC/s", &"of peak", &"MB", &"bound us", &"over it"])?;
        for op in &self.ops {
            row(
                op.op,
                [
                    &op.calls.round(),
                    &format!("{:.1}", op.us),
                    &format!("{:.1} %", op.share),
                    &some(op.gmacs),
                    &format!("{} %", some(op.percent_of_peak)),
                    &format!("{:.2}", op.bytes as f64 / 1e6),
                    &format!("{:.1}", op.bound_us),
                    &format!("{:.1}", op.over_bound_us),
                ],
            )?;
        }
        writeln!(out, "longest beyond their bounds: {}", self.most_over_bound.join(", "))?;
        writeln!(out, "{}", self.sensors)?;
        for Interval { at_s, p50_ms, sensors, .. } in self.sustained.iter().flatten() {
            writeln!(out, "after {at_s:.1} s: p50 {p50_ms:.1} ms; {sensors}")?;
        }
        if let Some(pipeline) = &self.pipeline {
            write!(out, "{pipeline}")?;
        }
        Ok(())
    }
}

/// Peak resident memory of this process in MB, where the system tells.
fn peak_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some((kib * 1.024).round() / 1e3)
}
