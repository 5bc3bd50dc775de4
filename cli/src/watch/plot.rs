//! A page that shows scores over time, when labels were there, and what thresholds make of them.

use super::calibrate::{Judged, Scores};
use std::fmt::Write;
use std::ops::Range;

/// Width and height of a label's picture.
const WIDTH: f64 = 1100.0;
const HEIGHT: f64 = 130.0;
/// Points of a curve: the least and the largest score of each part of the recording.
const PARTS: usize = 550;

/// The page, which needs nothing else.
pub(super) fn page(scores: &Scores, judged: &[Judged]) -> String {
    let mut page = String::from(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>ocelli watch --calibrate</title>\n<style>\n\
         body { font: 14px system-ui, sans-serif; margin: 2em; color: #222; background: #fff }\n\
         h2 { font-size: 1em; margin: 1.5em 0 .3em }\nsvg { border: 1px solid #ccc; display: block }\n\
         .truth { fill: #cde8cd } .found { fill: #4a7fb5 } .score { fill: none; stroke: #222 }\n\
         .enter { stroke: #c0392b } .leave { stroke: #c0392b; stroke-dasharray: 4 3 }\n</style>\n\
         <p>Smoothed scores over time. Green: the label is there. Blue, below: what the thresholds say. Red: the thresholds, \
         dashed that for leaving.</p>\n",
    );
    for judged in judged {
        picture(&mut page, scores, judged).expect("strings take everything");
    }
    page
}

fn picture(page: &mut String, scores: &Scores, judged: &Judged) -> std::fmt::Result {
    let (first, last) = (scores.times[0], scores.times[scores.times.len() - 1]);
    let least = judged.smoothed.iter().copied().fold(judged.thresholds.leave, f32::min);
    let most = judged.smoothed.iter().copied().fold(judged.thresholds.enter, f32::max);
    let x = |index: usize| {
        let time = scores.times[index.min(scores.times.len() - 1)];
        (time - first) / (last - first).max(f64::MIN_POSITIVE) * WIDTH
    };
    let y = |score: f32| {
        let share = f64::from(score - least) / f64::from(most - least).max(f64::MIN_POSITIVE);
        4.0 + (HEIGHT - 20.0) * (1.0 - share)
    };
    let enter = judged.thresholds.enter;
    writeln!(
        page,
        "<h2>{}: enter {enter}, leave {}</h2>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\">\n\
         <title>{first:.1} to {last:.1} s; {least} to {most}</title>",
        escaped(&judged.label),
        judged.thresholds.leave
    )?;
    let mut bars = |ranges: &[Range<usize>], class: &str, top: f64, height: f64| {
        ranges.iter().try_for_each(|range| {
            let (left, right) = (x(range.start), x(range.end));
            let width = (right - left).max(1.0);
            writeln!(
                page,
                "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"{height}\"/>"
            )
        })
    };
    bars(&judged.truth, "truth", 0.0, HEIGHT)?;
    bars(&judged.found, "found", HEIGHT - 8.0, 8.0)?;
    for (class, score) in [("enter", enter), ("leave", judged.thresholds.leave)] {
        let y = y(score);
        writeln!(page, "<line class=\"{class}\" x1=\"0\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>")?;
    }
    write!(page, "<polyline class=\"score\" points=\"")?;
    let len = judged.smoothed.len();
    let parts = len.min(PARTS);
    for part in 0..parts {
        let range = part * len / parts..(part + 1) * len / parts;
        let part = &judged.smoothed[range.clone()];
        let low = part.iter().copied().fold(f32::INFINITY, f32::min);
        let high = part.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        write!(page, "{0:.1},{1:.1} ", x(range.start), y(low))?;
        if high > low {
            write!(page, "{0:.1},{1:.1} ", x(range.start), y(high))?;
        }
    }
    writeln!(page, "\"/>\n</svg>")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
