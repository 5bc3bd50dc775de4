//! `ocelli profile`

use crate::common::{self, Failure, ModelArgs};
use crate::sensors;
use ocelli::profile::{Limits, Op, OpTime};
use ocelli::{Error, Model, Options, Result, Session, runtime};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Time the image tower, per image and per operation, against what this machine can do, measured in the same run.
///
/// The timed work is normalised pixels to embedding; decoding and resizing photos is not part of it. All figures are per
/// image, except calls, which are per batch.
///
/// GMAC/s: multiply-accumulates (MACs) per second. Of peak: against a loop that touches registers only, int8 where weights
/// are int8, else f32 (attention is f32; half-precision arithmetic, OCELLI_ISA=+fp16, can exceed it). MB: weights read,
/// activations read and written, each once. Bound: MACs at the peak, or MB at the rate at which all threads together read
/// the model's weights, whichever takes longer. Over it: time beyond the bound; negative where activations stay in a
/// cache nearer than the weights.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Timed calls, after one that warms up
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    iters: u32,
    /// Images per call, as when many are indexed; times are per image still
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch: u16,
    /// Normalised pixels to embed, N x 3 x height x width little-endian f32; all are embedded once, then the first (or
    /// the first batch, repeated where they are too few) is timed [default: one image of a fixed pattern]
    #[arg(long, value_name = "FILE")]
    pixels: Option<PathBuf>,
    /// Write the embeddings of all pixels here, N x dim little-endian f32, not normalised
    #[arg(long, value_name = "FILE")]
    embeddings_out: Option<PathBuf>,
    /// Then keep embedding for so long, and report how time, clock and temperature develop
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    sustained: Option<u64>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let loading = Instant::now();
    let model = args.model.open()?;
    let batch = usize::from(args.batch);
    let mut session = Session::new(&model, &Options { text: false, batch, ..args.model.options()? })?;
    let image_len = image_len(&model);
    let pixels = match &args.pixels {
        Some(path) => read_pixels(path, image_len)?,
        None => (0..image_len).map(|i| ((i * 37 % 255) as f32 / 127.0) - 1.0).collect(),
    };
    let mut embedding = vec![0.0; session.embed_dim()];
    session.embed_pixels_into(&pixels[..image_len], &mut embedding)?;
    let load_ms = common::ms_since(loading);

    let mut embeddings = embedding.clone();
    for image in pixels.chunks_exact(image_len).skip(1) {
        session.embed_pixels_into(image, &mut embedding)?;
        embeddings.extend_from_slice(&embedding);
    }
    if let Some(path) = &args.embeddings_out {
        let bytes: Vec<u8> = embeddings.iter().flat_map(|value| value.to_le_bytes()).collect();
        common::write_file(path, &bytes)?;
    }

    let timed: Vec<f32> = pixels.into_iter().cycle().take(batch * image_len).collect();
    let mut embeddings = vec![0.0; batch * session.embed_dim()];
    // Milliseconds per image.
    let mut embed = |session: &mut Session<'_>| {
        let start = Instant::now();
        session.embed_pixels_into(&timed, &mut embeddings)?;
        Ok(common::round_ms(common::ms_since(start) / batch as f64))
    };
    if batch > 1 {
        embed(&mut session)?;
    }
    session.profile_mut().clear();
    let ms = (0..args.iters).map(|_| embed(&mut session)).collect::<Result<Vec<f64>>>()?;
    let mut report = report(args, &model, &mut session, &ms, load_ms);
    report["sensors"] = sensors::read(Path::new("/"));
    if let Some(seconds) = args.sustained {
        report["sustained"] = sustained(seconds, || embed(&mut session))?;
    }
    if args.json {
        common::print_json(&report)?;
    } else {
        print(&report)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Calls `embed`, which gives milliseconds per image, for `seconds`; a tenth of that time at a time: calls, median, and
/// what the sensors say at its end.
fn sustained(seconds: u64, mut embed: impl FnMut() -> Result<f64>) -> Result<Value> {
    let start = Instant::now();
    let mut windows = Vec::new();
    for window in 1..=10 {
        let end = Duration::from_secs(seconds) * window / 10;
        let mut ms = Vec::new();
        while ms.is_empty() || start.elapsed() < end {
            ms.push(embed()?);
        }
        ms.sort_by(f64::total_cmp);
        windows.push(json!({
            "at_s": common::round_ms(start.elapsed().as_secs_f64()),
            "calls": ms.len(),
            "p50_ms": percentile(&ms, 50),
            "sensors": sensors::read(Path::new("/")),
        }));
    }
    Ok(windows.into())
}

/// Values of one normalised image.
fn image_len(model: &Model) -> usize {
    let vision = &model.file().config().vision;
    3 * vision.height as usize * vision.width as usize
}

fn read_pixels(path: &Path, image_len: usize) -> Result<Vec<f32>> {
    let bytes = std::fs::read(path)
        .map_err(|source| Error::Io { action: "read the pixels", source }.in_file(path))?;
    let image_bytes = image_len * size_of::<f32>();
    if bytes.is_empty() || !bytes.len().is_multiple_of(image_bytes) {
        let message = format!("{} bytes are no whole number of images of {image_bytes} bytes", bytes.len());
        return Err(Error::Message(message).in_file(path));
    }
    let pixels: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    match pixels.iter().position(|pixel| !pixel.is_finite()) {
        Some(at) => {
            let message = format!("value {at} is {}; pixels are finite little-endian f32", pixels[at]);
            Err(Error::Message(message).in_file(path))
        }
        None => Ok(pixels),
    }
}

fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

fn report(args: &Args, model: &Model, session: &mut Session<'_>, ms: &[f64], load_ms: f64) -> Value {
    let limits = Limits::measure(session, model.file().data());
    let mut sorted = ms.to_vec();
    sorted.sort_by(f64::total_cmp);
    let images = ms.len() as f64 * f64::from(args.batch);
    let seconds = ms.iter().sum::<f64>() / 1e3 * f64::from(args.batch);
    let profile = *session.profile_mut();
    let mut over_bound = Vec::new();
    let ops: Vec<Value> = Op::ALL
        .iter()
        .map(|&op| (op, profile.op(op)))
        .filter(|(_, cost)| cost.calls > 0)
        .map(|(op, OpTime { calls, time, work })| {
            let (time, bound) = (time.as_secs_f64(), limits.bound(&work));
            let multiplies = work.macs() > 0;
            over_bound.push((time - bound, op.name()));
            json!({
                "op": op.name(),
                "calls": calls as f64 / ms.len() as f64,
                "us": common::round_ms(time * 1e6 / images),
                "share": common::round_ms(time * 1e2 / seconds),
                "gmacs": multiplies.then(|| common::round_ms(work.macs() as f64 / time / 1e9)),
                "percent_of_peak": multiplies.then(|| common::round_ms(limits.compute(&work) / time * 1e2)),
                "bytes": (work.bytes as f64 / images).round() as u64,
                "bound_us": common::round_ms(bound * 1e6 / images),
                "over_bound_us": common::round_ms((time - bound) * 1e6 / images),
            })
        })
        .collect();
    over_bound.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let most_over_bound: Vec<_> = over_bound.iter().take(3).map(|(_, name)| name).collect();
    json!({
        "ms": ms,
        "load_ms": common::round_ms(load_ms),
        "rss_mb": peak_rss_mb(),
        "threads": session.threads(),
        "batch": args.batch,
        "cores": runtime::describe(&runtime::cpus()),
        "kernels": session.kernels().isa().to_string(),
        "p50_ms": percentile(&sorted, 50),
        "p95_ms": percentile(&sorted, 95),
        "gmacs": common::round_ms(profile.work().macs() as f64 / seconds / 1e9),
        "peak_gmacs": {
            "i8": common::round_ms(limits.macs_i8 / 1e9),
            "f32": common::round_ms(limits.macs_f32 / 1e9),
        },
        "memory_gb_per_s": common::round_ms(limits.bytes / 1e9),
        "model": args.model.name(),
        "ops": ops,
        "most_over_bound": most_over_bound,
    })
}

/// Peak resident memory of this process in MB, where the system tells.
fn peak_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some((kib * 1.024).round() / 1e3)
}

fn print(report: &Value) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let number = |value: &Value| value.as_f64().map_or_else(|| "-".to_owned(), |v| format!("{v:.1}"));
    writeln!(
        out,
        "{}: p50 {} ms, p95 {} ms per image, threads {}, batch {}, {}; {} GMAC/s",
        report["model"].as_str().unwrap_or_default(),
        number(&report["p50_ms"]),
        number(&report["p95_ms"]),
        report["threads"],
        report["batch"],
        report["kernels"].as_str().unwrap_or_default(),
        number(&report["gmacs"]),
    )?;
    writeln!(
        out,
        "file to first result {} ms, peak memory {} MB; {}: peak {} GMAC/s int8, {} f32, reads {} GB/s",
        number(&report["load_ms"]),
        number(&report["rss_mb"]),
        report["cores"].as_str().filter(|cores| !cores.is_empty()).unwrap_or("this machine"),
        number(&report["peak_gmacs"]["i8"]),
        number(&report["peak_gmacs"]["f32"]),
        number(&report["memory_gb_per_s"]),
    )?;
    writeln!(
        out,
        "{:<18} {:>5} {:>9} {:>7} {:>7} {:>7} {:>6} {:>9} {:>9}",
        "operation", "calls", "us", "share", "GMAC/s", "of peak", "MB", "bound us", "over it"
    )?;
    for op in report["ops"].as_array().into_iter().flatten() {
        writeln!(
            out,
            "{:<18} {:>5} {:>9} {:>5} % {:>7} {:>5} % {:>6} {:>9} {:>9}",
            op["op"].as_str().unwrap_or_default(),
            op["calls"].as_f64().unwrap_or_default().round(),
            number(&op["us"]),
            number(&op["share"]),
            number(&op["gmacs"]),
            number(&op["percent_of_peak"]),
            op["bytes"].as_f64().map_or_else(String::new, |bytes| format!("{:.2}", bytes / 1e6)),
            number(&op["bound_us"]),
            number(&op["over_bound_us"]),
        )?;
    }
    let most = report["most_over_bound"].as_array().into_iter().flatten().filter_map(Value::as_str);
    writeln!(out, "longest beyond their bounds: {}", most.collect::<Vec<_>>().join(", "))?;
    print_sensors(&mut out, &report["sensors"])?;
    for window in report["sustained"].as_array().into_iter().flatten() {
        write!(out, "after {} s: p50 {} ms; ", number(&window["at_s"]), number(&window["p50_ms"]))?;
        print_sensors(&mut out, &window["sensors"])?;
    }
    Ok(())
}

/// One line; a dash where the system says nothing.
fn print_sensors(out: &mut impl Write, sensors: &Value) -> std::io::Result<()> {
    let list = |value: &Value| match value {
        Value::Array(list) if list.is_empty() => "no".to_owned(),
        Value::Array(list) => list
            .iter()
            .map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
            .collect::<Vec<_>>()
            .join(", "),
        Value::Object(map) => {
            map.iter().map(|(name, v)| format!("{name} {v}")).collect::<Vec<_>>().join(", ")
        }
        _ => "-".to_owned(),
    };
    writeln!(
        out,
        "clock MHz: {}; temperature: {}; throttled: {}",
        list(&sensors["mhz"]),
        list(&sensors["celsius"]),
        list(&sensors["throttled"]),
    )
}
