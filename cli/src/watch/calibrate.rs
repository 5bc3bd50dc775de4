//! Thresholds from recorded scores and the truth about them.

use super::events::{Smoother, Switch, Thresholds, Timing};
use super::plot;
use super::record::{Entry, Recording};
use super::rules::RuleArgs;
use crate::console::{Console, Failure};
use crate::files::write_file;
use ocelli::{Error, Result, excerpt};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::Path;
use std::process::ExitCode;

/// So many thresholds are tried for entering; what lies between them is no different.
const STEPS: usize = 64;
/// Leaving is tried so far below entering, as a share of the range of scores.
const BELOW: [f32; 6] = [0.0, 0.05, 0.1, 0.2, 0.3, 0.5];

/// All scores of a recording.
pub(super) struct Scores {
    pub(super) labels: Vec<String>,
    pub(super) frames: Vec<u64>,
    pub(super) times: Vec<f64>,
    /// [frames][labels]
    values: Vec<f32>,
}

/// A label that was judged.
pub(super) struct Judged {
    pub(super) label: String,
    /// When it was there, as a range of the recording's frames.
    pub(super) truth: Vec<Range<usize>>,
    pub(super) smoothed: Vec<f32>,
    pub(super) thresholds: Thresholds,
    pub(super) found: Vec<Range<usize>>,
}

/// What thresholds are worth, the best first.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize)]
struct Worth {
    /// Times that a label was there and had no event.
    missed: usize,
    /// Events of a label that was not there, or was there already.
    wrong: usize,
    /// For how long a label was said to be there and was not, or the other way round.
    wrong_seconds: f64,
}

impl Worth {
    fn errors(&self) -> usize {
        self.missed + self.wrong
    }
}

#[derive(Serialize)]
struct Report<'a> {
    label: &'a str,
    enter: f32,
    leave: f32,
    /// Times that it was there.
    times: usize,
    #[serde(flatten)]
    worth: Worth,
    options: String,
}

pub(super) fn run(
    path: &Path,
    truth: &Path,
    plot: Option<&Path>,
    rules: &RuleArgs,
    console: &Console,
) -> Result<ExitCode, Failure> {
    let scores = read_scores(path)?;
    let truths = read_truth(truth, &scores).map_err(|error| error.in_file(truth))?;
    let timing = rules.timing();
    let mut judged = Vec::new();
    for (index, (label, truth)) in scores.labels.iter().zip(truths).enumerate() {
        if truth.is_empty() {
            console.tell(format_args!("{:?}: never there, nothing is suggested", excerpt(label)));
            continue;
        }
        let smoothed = scores.smoothed(index, &timing);
        let (thresholds, found, worth) = best(&smoothed, &scores.times, &truth, &timing);
        let Thresholds { enter, leave } = thresholds;
        let option = |name: &str, score: f32| {
            let argument = format!("{label}={score}");
            shlex::try_quote(&argument)
                .map_or_else(|_| format!("--{name} ?"), |quoted| format!("--{name} {quoted}"))
        };
        let options = format!("{} {}", option("enter", enter), option("leave", leave));
        console.print_json(&Report { label, enter, leave, times: truth.len(), worth, options })?;
        judged.push(Judged { label: label.clone(), truth, smoothed, thresholds, found });
    }
    if judged.is_empty() {
        let message = "no label of the recording is ever there: is it the truth about this recording?";
        return Err(Error::Message(message.into()).in_file(truth).into());
    }
    if let Some(path) = plot {
        write_file(path, plot::page(&scores, &judged).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn read_scores(path: &Path) -> Result<Scores> {
    let mut recording = Recording::open(path)?;
    let mut scores = Scores { labels: Vec::new(), frames: Vec::new(), times: Vec::new(), values: Vec::new() };
    while let Some(entry) = recording.next()? {
        match entry {
            Entry::Labels(labels) if scores.labels.is_empty() => scores.labels = labels,
            Entry::Labels(_) => {
                let message =
                    "its labels change in the middle: calibrate with a recording of one set of labels";
                return Err(Error::Message(message.into()).in_file(path));
            }
            Entry::Frame(frame, time) => {
                scores.frames.push(frame);
                scores.times.push(time);
                scores.values.extend_from_slice(recording.scores());
            }
        }
    }
    match scores.frames.is_empty() {
        true => Err(Error::Message("there is no frame in this recording".into()).in_file(path)),
        false => Ok(scores),
    }
}

impl Scores {
    fn smoothed(&self, label: usize, timing: &Timing) -> Vec<f32> {
        let (mut smoother, mut last) = (Smoother::default(), self.times[0]);
        let rows = self.values.chunks_exact(self.labels.len());
        rows.zip(&self.times)
            .map(|(row, &time)| {
                let elapsed = (time - last).max(0.0);
                last = last.max(time);
                smoother.step(row[label], elapsed, timing.smoothing)
            })
            .collect()
    }
}

/// A line of the truth.
#[derive(Deserialize)]
struct Line {
    label: String,
    state: String,
    frame: Option<u64>,
    time: Option<f64>,
}

/// When each label was there, as ranges of the recording's frames.
fn read_truth(path: &Path, scores: &Scores) -> Result<Vec<Vec<Range<usize>>>> {
    let text =
        std::fs::read_to_string(path).map_err(|source| Error::Io { action: "read the truth", source })?;
    let mut since: Vec<Option<usize>> = vec![None; scores.labels.len()];
    let mut found: Vec<Vec<Range<usize>>> = vec![Vec::new(); scores.labels.len()];
    for (number, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        let wrong = |problem: &str| Error::Message(format!("line {}: {problem}", number + 1));
        let line: Line = serde_json::from_str(text).map_err(|error| wrong(&error.to_string()))?;
        let label = scores.labels.iter().position(|label| *label == line.label);
        let label =
            label.ok_or_else(|| wrong(&format!("the recording has no label {:?}", excerpt(&line.label))))?;
        let at = match (line.frame, line.time) {
            (Some(frame), _) => scores.frames.partition_point(|&other| other < frame),
            (None, Some(time)) => scores.times.partition_point(|&other| other < time),
            (None, None) => return Err(wrong("expected a frame or a time")),
        };
        match (line.state.as_str(), since[label]) {
            ("enter", None) => since[label] = Some(at),
            ("leave", Some(start)) if start <= at => {
                since[label] = None;
                found[label].extend((start < at).then_some(start..at));
            }
            ("enter", _) => return Err(wrong("it enters and has not left")),
            ("leave", None) => return Err(wrong("it leaves and has not entered")),
            ("leave", _) => return Err(wrong("it leaves before it entered")),
            _ => return Err(wrong("the state is neither \"enter\" nor \"leave\"")),
        }
    }
    for (since, found) in since.iter().zip(&mut found) {
        found.extend(
            since.filter(|&start| start < scores.frames.len()).map(|start| start..scores.frames.len()),
        );
    }
    Ok(found)
}

/// When a label is there according to `thresholds`.
fn activations(
    smoothed: &[f32],
    times: &[f64],
    thresholds: &Thresholds,
    timing: &Timing,
) -> Vec<Range<usize>> {
    let (mut switch, mut found, mut since) = (Switch::default(), Vec::new(), 0);
    for (index, (&score, &time)) in smoothed.iter().zip(times).enumerate() {
        match switch.step(thresholds, timing, time, score) {
            Some(true) => since = index,
            Some(false) => found.push(since..index),
            None => {}
        }
    }
    if switch.inside {
        found.push(since..smoothed.len());
    }
    found
}

fn worth(found: &[Range<usize>], truth: &[Range<usize>], times: &[f64]) -> Worth {
    let overlap = |a: &Range<usize>, b: &Range<usize>| a.start < b.end && b.start < a.end;
    let hits = |truth: &Range<usize>| found.iter().filter(|found| overlap(found, truth)).count();
    let missed = truth.iter().filter(|truth| hits(truth) == 0).count();
    let again: usize = truth.iter().map(|truth| hits(truth).saturating_sub(1)).sum();
    let nothing = found.iter().filter(|found| !truth.iter().any(|truth| overlap(found, truth))).count();
    let inside = |ranges: &[Range<usize>]| {
        let mut inside = vec![false; times.len()];
        ranges.iter().for_each(|range| inside[range.clone()].fill(true));
        inside
    };
    let (said, is) = (inside(found), inside(truth));
    // A frame counts until the next one.
    let wrong_seconds = times
        .windows(2)
        .zip(said.iter().zip(&is))
        .filter(|(_, (said, is))| said != is)
        .map(|(pair, _)| (pair[1] - pair[0]).max(0.0))
        .sum::<f64>();
    Worth { missed, wrong: again + nothing, wrong_seconds: (wrong_seconds * 1e3).round() / 1e3 }
}

/// The thresholds with the fewest errors, then the least time that is wrong; of those that are about as good the middle.
fn best(
    smoothed: &[f32],
    times: &[f64],
    truth: &[Range<usize>],
    timing: &Timing,
) -> (Thresholds, Vec<Range<usize>>, Worth) {
    let mut sorted = smoothed.to_vec();
    sorted.sort_by(f32::total_cmp);
    let (least, most) = (sorted[0], sorted[sorted.len() - 1]);
    // Where scores are, and evenly between the extremes: neither rare nor wide ranges are missed.
    let mut enters: Vec<f32> = (1..STEPS)
        .flat_map(|step| {
            let quantile = sorted[(sorted.len() - 1) * step / STEPS];
            [quantile, least + (most - least) * step as f32 / STEPS as f32]
        })
        .map(round)
        .collect();
    enters.sort_by(f32::total_cmp);
    enters.dedup();
    let judge =
        |thresholds: &Thresholds| worth(&activations(smoothed, times, thresholds, timing), truth, times);
    let mut tried: Vec<(Worth, Thresholds)> = enters
        .iter()
        .flat_map(|&enter| {
            BELOW.map(|below| Thresholds { enter, leave: round(enter - below * (most - least)).min(enter) })
        })
        .map(|thresholds| (judge(&thresholds), thresholds))
        .collect();
    let key = |worth: &Worth| (worth.errors(), worth.wrong_seconds);
    let (errors, seconds) = tried
        .iter()
        .map(|(worth, _)| key(worth))
        .min_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)))
        .unwrap_or_default();
    tried.retain(|(worth, _)| worth.errors() == errors && worth.wrong_seconds <= seconds * 1.1);
    let order =
        |a: &Thresholds, b: &Thresholds| a.enter.total_cmp(&b.enter).then(a.leave.total_cmp(&b.leave));
    tried.sort_by(|(_, a), (_, b)| order(a, b));
    let thresholds =
        tried.get(tried.len() / 2).map_or(Thresholds { enter: most, leave: most }, |best| best.1);
    let found = activations(smoothed, times, &thresholds, timing);
    let worth = worth(&found, truth, times);
    (thresholds, found, worth)
}

/// With three significant digits: scores of some models are far below 0.001.
fn round(score: f32) -> f32 {
    format!("{score:.2e}").parse().unwrap_or(score)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::slice::from_ref;

    const TIMING: Timing = Timing { smoothing: 0.0, min_duration: 0.0, cool_down: 0.0 };

    #[test]
    fn worth_counts_what_was_missed_wrong_and_for_how_long() {
        let times: Vec<f64> = (0..100).map(|i| f64::from(i) / 10.0).collect();
        let judge = |found: &[Range<usize>]| {
            let Worth { missed, wrong, wrong_seconds } = worth(found, &[10..20, 50..60], &times);
            (missed, wrong, wrong_seconds)
        };
        assert_eq!(judge(&[10..20, 50..60]), (0, 0, 0.0));
        assert_eq!(judge(from_ref(&(12..20))), (1, 0, 1.2));
        assert_eq!(judge(&[10..20, 50..53, 55..60, 80..85]), (0, 2, 0.7));
        assert_eq!(judge(from_ref(&(0..100))), (0, 0, 7.9));
        assert_eq!(judge(&[]), (2, 0, 2.0));
    }

    /// Scores of 0.2 and 0.3 by turns, and 0.7 where the label is there: any threshold between separates them.
    #[test]
    fn the_middle_between_two_levels_is_found_whatever_their_scale() {
        for scale in [1.0, 1e-4, -1.0] {
            let level = |i: usize| if i % 100 >= 60 { 0.7 } else { 0.2 + 0.1 * (i % 2) as f32 };
            let smoothed: Vec<f32> =
                (0..1000).map(|i| if scale < 0.0 { level(i) - 1.0 } else { level(i) * scale }).collect();
            let times: Vec<f64> = (0..1000).map(|i| i as f64 / 25.0).collect();
            let truth: Vec<Range<usize>> = (0..10).map(|i| i * 100 + 60..i * 100 + 100).collect();
            let (thresholds, found, worth) = best(&smoothed, &times, &truth, &TIMING);
            assert_eq!((worth.errors(), worth.wrong_seconds), (0, 0.0), "{thresholds:?}");
            assert_eq!(found, truth);
            let (low, high) = if scale < 0.0 { (-0.7, -0.3) } else { (0.3 * scale, 0.7 * scale) };
            let quarter = (high - low) / 4.0;
            let middle = low + quarter..high - quarter;
            assert!(middle.contains(&thresholds.enter), "{thresholds:?} is not within {middle:?}");
        }
    }
}
