//! The evaluation as one HTML page that needs nothing else: plots are SVG, drawn here.

use super::evaluation::Evaluation;
use super::metrics::Bin;
use crate::quant::AccuracyReport;
use std::fmt::Write;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2em auto;padding:0 1em;color:#1a1a1a}\
h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}table{border-collapse:collapse}td,th{padding:2px 8px;text-align:\
right;border-bottom:1px solid #ddd}th:first-child,td:first-child{text-align:left}svg{max-width:100%;height:auto}\
svg text{font:11px system-ui,sans-serif;fill:#444}pre{background:#f5f5f5;padding:1em;white-space:pre-wrap}";

/// The page.
pub fn html(result: &Evaluation) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>ocelli evaluation</title><style>{STYLE}</style>\
         <h1>{}</h1><pre>{}</pre>",
        escape(&result.model),
        escape(&result.render())
    );
    if let Some(accuracy) = &result.accuracy {
        _ = write!(page, "<h2>AccuracyReport in the file</h2><pre>{}</pre>", escape(&accuracy.render()));
        _ = write!(page, "<h2>Signal-to-noise ratio of every matrix</h2>{}", layers(accuracy));
    }
    if let Some(other) = &result.against {
        let title = format!("Cosines with {}", escape(&other.model));
        _ = write!(page, "<h2>{title}</h2>{}", histogram(&other.cosines));
    }
    if let Some(zero_shot) = &result.zero_shot {
        _ = write!(
            page,
            "<h2>Reliability</h2><p>How often answers are right, by their score; on the line they are as \
                          sure as they are right.</p>{}",
            reliability(&zero_shot.reliability)
        );
        _ = write!(
            page,
            "<h2>Confusion matrix</h2><p>Right label (row) and answer (column), pictures.</p>{}",
            confusion(&zero_shot.labels, &zero_shot.confusion)
        );
    }
    page + "</html>\n"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn svg(width: f64, height: f64, body: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\">{body}</svg>"
    )
}

fn rect(out: &mut String, (x, y, w, h): (f64, f64, f64, f64), fill: &str, title: &str) {
    _ = write!(
        out,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{fill}\"><title>{}</title></rect>",
        w.max(0.0),
        h.max(0.0),
        escape(title)
    );
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, label: &str) {
    _ = write!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>", escape(label));
}

/// One bar per matrix, int8 and floats in different colours.
fn layers(accuracy: &AccuracyReport) -> String {
    const MOST: f64 = 80.0;
    let (left, width, step) = (200.0, 620.0, 15.0);
    let mut out = String::new();
    for (i, layer) in accuracy.layers.iter().enumerate() {
        let y = i as f64 * step;
        text(&mut out, left - 6.0, y + 11.0, "end", &layer.name);
        let Some(snr) = layer.snr_db else { continue };
        let fill = if layer.dtype == "i8" { "#2b7bba" } else { "#d98032" };
        let bar = snr.clamp(0.0, MOST) / MOST * width;
        let label = if snr >= 200.0 { "exact".into() } else { format!("{snr:.1} dB {}", layer.dtype) };
        rect(&mut out, (left, y + 2.0, bar, step - 4.0), fill, &format!("{}: {label}", layer.name));
        text(&mut out, left + bar + 4.0, y + 11.0, "start", &label);
    }
    svg(left + width + 90.0, accuracy.layers.len() as f64 * step + 4.0, &out)
}

/// Forty bins from the least cosine to 1.
fn histogram(cosines: &[f64]) -> String {
    let least = cosines.iter().copied().fold(1.0, f64::min);
    let span = (1.0 - least).max(1e-9);
    let mut bins = [0usize; 40];
    for cosine in cosines {
        bins[(((cosine - least) / span * 40.0) as usize).min(39)] += 1;
    }
    let most = bins.iter().copied().max().unwrap_or(1).max(1) as f64;
    let (left, width, height) = (40.0, 640.0, 200.0);
    let mut out = String::new();
    for (i, &count) in bins.iter().enumerate() {
        let h = count as f64 / most * height;
        let (from, to) = (least + span * i as f64 / 40.0, least + span * (i + 1) as f64 / 40.0);
        let x = left + i as f64 * width / 40.0;
        rect(
            &mut out,
            (x, height - h + 5.0, width / 40.0 - 1.0, h),
            "#2b7bba",
            &format!("{from:.6} to {to:.6}: {count}"),
        );
    }
    text(&mut out, left, height + 20.0, "start", &format!("{least:.6}"));
    text(&mut out, left + width, height + 20.0, "end", "1");
    text(&mut out, left - 4.0, 14.0, "end", &format!("{most}"));
    svg(left + width + 10.0, height + 28.0, &out)
}

fn reliability(bins: &[Bin; 10]) -> String {
    let (left, side) = (40.0, 300.0);
    let mut out = String::new();
    _ = write!(
        out,
        "<rect x=\"{left}\" y=\"5\" width=\"{side}\" height=\"{side}\" fill=\"none\" stroke=\"#bbb\"/>\
         <line x1=\"{left}\" y1=\"{}\" x2=\"{}\" y2=\"5\" stroke=\"#999\" stroke-dasharray=\"4\"/>",
        side + 5.0,
        left + side
    );
    for (i, bin) in bins.iter().enumerate().filter(|(_, bin)| bin.count > 0) {
        let h = bin.accuracy * side;
        let title = format!("score {:.3}: {:.3} right of {}", bin.score, bin.accuracy, bin.count);
        let x = left + i as f64 * side / 10.0;
        rect(&mut out, (x + 1.0, side - h + 5.0, side / 10.0 - 2.0, h), "#2b7bbaaa", &title);
        text(&mut out, x + side / 20.0, side + 32.0, "middle", &bin.count.to_string());
    }
    for part in 0..=5 {
        let share = f64::from(part) / 5.0;
        text(&mut out, left - 4.0, side * (1.0 - share) + 9.0, "end", &format!("{share:.1}"));
        text(&mut out, left + share * side, side + 18.0, "middle", &format!("{share:.1}"));
    }
    svg(left + side + 20.0, side + 40.0, &out)
}

fn confusion(labels: &[String], counts: &[Vec<usize>]) -> String {
    let n = labels.len();
    let cell = (700.0 / n as f64).clamp(4.0, 44.0);
    let (left, top) = (130.0, 110.0);
    let mut out = String::new();
    for (i, row) in counts.iter().enumerate() {
        let all = row.iter().sum::<usize>().max(1) as f64;
        for (j, &count) in row.iter().enumerate() {
            let shade = 255.0 - 200.0 * count as f64 / all;
            let fill = if i == j {
                format!("rgb({shade:.0},255,{shade:.0})")
            } else {
                format!("rgb(255,{shade:.0},{shade:.0})")
            };
            let (x, y) = (left + j as f64 * cell, top + i as f64 * cell);
            rect(
                &mut out,
                (x, y, cell - 0.5, cell - 0.5),
                &fill,
                &format!("{} as {}: {count}", labels[i], labels[j]),
            );
            if cell > 20.0 {
                text(&mut out, x + cell / 2.0, y + cell / 2.0 + 4.0, "middle", &count.to_string());
            }
        }
        if cell > 8.0 {
            text(&mut out, left - 4.0, top + (i as f64 + 0.5) * cell + 4.0, "end", &labels[i]);
            let (x, y) = (left + (i as f64 + 0.5) * cell, top - 4.0);
            _ = write!(
                out,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" transform=\"rotate(-60 {x:.1} {y:.1})\">{}</text>",
                escape(&labels[i])
            );
        }
    }
    svg(left + n as f64 * cell + 60.0, top + n as f64 * cell + 6.0, &out)
}
