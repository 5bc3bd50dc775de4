//! `ocelli watch`
//!
//! ```text
//! source ─► mailbox ─► pictures ─► scorer (gate, classifier) ─► events ─► output
//! ```

#[cfg(feature = "mqtt")]
mod broker;
mod calibrate;
mod events;
mod exec;
mod folder;
mod format;
mod gate;
mod heat;
mod mailbox;
mod mjpeg;
#[cfg(feature = "mqtt")]
mod mqtt;
mod notes;
mod notify;
mod output;
mod pictures;
mod plot;
mod record;
mod replay;
mod rules;
mod run;
mod scorer;
mod signals;
mod snapshot;
mod source;
mod splitter;
mod stats;
mod stream;
#[cfg(test)]
mod zero_alloc;

use crate::args::{ModelArgs, Resize, SizeArgs};
use crate::console::{Console, Failure};
use crate::label_args::LabelArgs;
use format::{Color, Format};
use output::OutputArgs;
use rules::RuleArgs;
use scorer::Region;
use std::path::PathBuf;
use std::process::ExitCode;

/// Watch a camera, and say when something comes and goes.
///
/// Every frame is scored against the labels, as `ocelli classify` does it. A label enters when its score, smoothed over
/// time, stays above a threshold, and leaves when it stays below a lower one. Each time a line of JSON goes to stdout:
/// {"time", "label", "state": "enter" or "leave", "score", "frame"}, with the time in seconds since 1970. Frames that
/// show what the last one showed are not scored again; a model that is slower than the camera gets the newest frame and
/// never falls behind. The frame's number counts what the source gave, from 0.
///
/// Raw frames carry no marks: if bytes get lost, the frames after that are wrong until the stream starts anew, so mjpeg
/// is the better choice where they may. SIGTERM and SIGINT end it, and what is there leaves; SIGHUP reads the labels
/// again. Recipes for cameras are in docs/boards.md, everything else in docs/watch.md.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// - for stdin; a named pipe, device or file with frames; a folder that a camera writes pictures into
    #[arg(value_name = "SOURCE", required_unless_present_any = ["replay", "calibrate"], conflicts_with_all = ["replay", "calibrate"])]
    camera: Option<PathBuf>,
    /// What the frames of a stream look like [default: mjpeg]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Width and height of raw frames in pixels, as in 640x480; rows have no padding
    #[arg(long, value_name = "WxH", value_parser = source::size)]
    size: Option<(u32, u32)>,
    /// What the levels of yuv420, nv12 and yuyv mean [default: bt601]
    #[arg(long, value_enum)]
    color: Option<Color>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    labels: LabelArgs,
    /// A label bank made by `ocelli labels`
    #[arg(long, value_name = "FILE", group = "source", conflicts_with = "template")]
    bank: Option<PathBuf>,
    #[command(flatten)]
    frames: SizeArgs,
    /// How pictures are resized
    #[arg(long, value_enum, default_value_t = Resize::Exact)]
    resize: Resize,
    /// Only this part of the frames counts: left, top, width and height in pixels or per cent, as in 10%,0%,50%,100%
    #[arg(long, value_name = "L,T,W,H", value_parser = Region::parse)]
    roi: Option<Region>,
    /// Do not score a frame if no part of it (of 32 x 32) has changed its brightness by more than so many levels of
    /// 255; 0 scores every frame
    #[arg(long, value_name = "LEVELS", default_value_t = 5, value_parser = clap::value_parser!(u8))]
    gate: u8,
    /// Score a frame after so long even if nothing has changed
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = rules::seconds())]
    refresh: f64,
    #[command(flatten)]
    rules: RuleArgs,
    /// Score at most so many frames per second
    #[arg(long, value_name = "N", value_parser = source::rate)]
    fps: Option<f64>,
    /// Score nothing while any temperature of the system is at least this, until it is 3 degrees below
    #[arg(long, value_name = "CELSIUS", value_parser = clap::value_parser!(u8).range(20..=120))]
    max_temp: Option<u8>,
    /// Say so when no frame has come for so long
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = rules::seconds())]
    stall: f64,
    /// The source is a recording with so many frames per second: score all of them, however long that takes; times are
    /// seconds from its start. Of a folder the pictures that are in it, sorted by name
    #[arg(long, value_name = "FPS", value_parser = source::rate, conflicts_with_all = ["fps", "max_temp"])]
    recorded: Option<f64>,
    #[command(flatten)]
    output: OutputArgs,
    /// Write the scores of every frame to this file; one that is there is kept as FILE.1, FILE.2, ...
    #[arg(long, value_name = "FILE", conflicts_with_all = ["replay", "calibrate"])]
    record: Option<PathBuf>,
    /// Print the events that recorded scores have with these thresholds and times; needs no model
    #[arg(long, value_name = "FILE", conflicts_with = "calibrate")]
    replay: Option<PathBuf>,
    /// Suggest thresholds for recorded scores of which --truth says when each label was there
    #[arg(long, value_name = "FILE", requires = "truth")]
    calibrate: Option<PathBuf>,
    /// When each label was there: events as JSON lines, of which "label", "state" and "frame" (or "time") count
    #[arg(long, value_name = "FILE", requires = "calibrate")]
    truth: Option<PathBuf>,
    /// Draw scores, truth and thresholds into this HTML file
    #[arg(long, value_name = "FILE", requires = "calibrate")]
    plot: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, console: &Console) -> Result<ExitCode, Failure> {
    match (&args.replay, &args.calibrate, &args.truth) {
        (Some(path), ..) => replay::run(path, &args.rules, console),
        (_, Some(path), Some(truth)) => {
            calibrate::run(path, truth, args.plot.as_deref(), &args.rules, console)
        }
        _ => run::run(args, console),
    }
}
