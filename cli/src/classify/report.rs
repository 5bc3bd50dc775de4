//! What `ocelli classify` prints for an image.

use super::{Args, Found};
use crate::args::Opened;
use crate::console::round_ms;
use crate::files::path_bytes;
use crate::inputs::Input;
use crate::scored::ScoredLabel;
use ocelli::Labels;
use ocelli::preprocess::TileBox;
use ocelli::printable;
use ocelli::score::Scored;
use serde::Serialize;
use std::fmt::Write;

/// An image's labels, best first.
#[derive(Serialize)]
pub(super) struct Report {
    image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_bytes: Option<String>,
    labels: Vec<ScoredLabel>,
    model: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_bytes: Option<String>,
    ms: Ms,
    /// Each tile's best label, where tiles were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    tiles: Option<Vec<ScoredLabel>>,
}

/// Milliseconds.
#[derive(Serialize)]
struct Ms {
    decode: f64,
    preprocess: f64,
    encode: f64,
    total: f64,
}

impl Report {
    pub(super) fn new(args: &Args, opened: &Opened, labels: &Labels, input: &Input, found: &Found) -> Report {
        let label = |scored: &Scored, part: Option<TileBox>| ScoredLabel {
            part: part.map(|part| [part.left, part.top, part.width, part.height]),
            ..ScoredLabel::new(scored, labels.name(scored.label), matches!(labels, Labels::Classes(_)))
        };
        let tiles = found.tiles.iter().map(|(part, best)| label(best, Some(*part)));
        Report {
            image: input.path().display().to_string(),
            image_bytes: path_bytes(input.path()),
            labels: found.scored.iter().take(args.top_k as usize).map(|scored| label(scored, None)).collect(),
            model: opened.name(),
            model_bytes: opened.name_bytes(),
            ms: Ms {
                decode: round_ms(found.times.decode),
                preprocess: round_ms(found.times.preprocess),
                encode: round_ms(found.times.encode),
                total: round_ms(found.times.total),
            },
            tiles: args.size.any_res.is_some().then(|| tiles.collect()),
        }
    }

    /// The report for people; `alone` says that each label was judged for itself.
    pub(super) fn text(&self, alone: bool) -> String {
        // A label that is judged for itself often has far less than a per cent, and still more than the others.
        let (digits, note) = if alone { (4, ", each label for itself") } else { (2, "") };
        let mut text = format!("{}  ({:.1} ms{note})\n", printable(&self.image), self.ms.total);
        let mut line =
            |line: std::fmt::Arguments<'_>| writeln!(text, "{line}").expect("strings take everything");
        for label in &self.labels {
            let (score, name, wide) = (label.score * 100.0, printable(&label.label), digits + 4);
            let measure = label.similarity.or(label.logit).unwrap_or(f32::NAN);
            line(format_args!("  {score:>wide$.digits$} %  {measure:>7.4}  {name}"));
        }
        for tile in self.tiles.iter().flatten() {
            let (score, name, [left, top, width, height]) =
                (tile.score * 100.0, printable(&tile.label), tile.part.unwrap_or_default());
            line(format_args!("  tile {width}x{height} at {left},{top}: {score:.2} %  {name}"));
        }
        text
    }
}
