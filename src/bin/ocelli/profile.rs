//! `ocelli profile`

use crate::common::{self, Failure, ModelArgs};
use crate::sensors;
use ocelli::format::Dtype;
use ocelli::profile::Op;
use ocelli::{Error, Model, Result, Session};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Time the image tower: per image and per operation, against the peak of this machine measured in the same run.
///
/// The timed work is normalised pixels to embedding; decoding and resizing photos is not part of it.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Timed images, after one that warms up
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    iters: u32,
    /// Normalised pixels to embed, N x 3 x height x width little-endian f32; all are embedded once, then the first is
    /// timed [default: one image of a fixed pattern]
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
    let mut session = Session::new(&model, &ocelli::Options { text: false, ..args.model.options()? })?;
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

    session.profile_mut().clear();
    let ms: Vec<f64> = (0..args.iters)
        .map(|_| {
            let start = Instant::now();
            session.embed_pixels_into(&pixels[..image_len], &mut embedding)?;
            Ok(common::round_ms(common::ms_since(start)))
        })
        .collect::<Result<_>>()?;
    let mut report = report(args, &model, &mut session, &ms, load_ms);
    report["sensors"] = sensors::read(Path::new("/"));
    if let Some(seconds) = args.sustained {
        report["sustained"] =
            sustained(seconds, || session.embed_pixels_into(&pixels[..image_len], &mut embedding))?;
    }
    if args.json {
        common::print_json(&report)?;
    } else {
        print(&report)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs `embed` for `seconds`; a tenth of that time at a time: images, median, and what the sensors say at its end.
fn sustained(seconds: u64, mut embed: impl FnMut() -> Result<()>) -> Result<Value> {
    let start = Instant::now();
    let mut windows = Vec::new();
    for window in 1..=10 {
        let end = Duration::from_secs(seconds) * window / 10;
        let mut ms = Vec::new();
        while ms.is_empty() || start.elapsed() < end {
            let image = Instant::now();
            embed()?;
            ms.push(common::ms_since(image));
        }
        ms.sort_by(f64::total_cmp);
        windows.push(json!({
            "at_s": common::round_ms(start.elapsed().as_secs_f64()),
            "images": ms.len(),
            "p50_ms": common::round_ms(percentile(&ms, 50)),
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

/// The peaks of all threads together, in GMAC/s.
struct Peaks {
    i8: f64,
    f32: f64,
}

/// Runs the register-only loops on every thread at once for some milliseconds.
fn peaks(session: &Session<'_>) -> Peaks {
    let kernels = session.kernels();
    let measure = |work: &(dyn Fn(u64) -> u64 + Sync)| {
        let one = || {
            let deadline = Duration::from_millis(50);
            let (start, mut macs) = (Instant::now(), 0);
            while start.elapsed() < deadline {
                macs += work(100_000);
            }
            macs as f64 / start.elapsed().as_secs_f64() / 1e9
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..session.threads()).map(|_| scope.spawn(one)).collect();
            threads.into_iter().map(|thread| thread.join().expect("a loop does not panic")).sum()
        })
    };
    Peaks { i8: measure(&|n| kernels.peak_i8(n)), f32: measure(&|n| kernels.peak_f32(n)) }
}

/// The element type of the weights that `op` multiplies by; attention multiplies f32.
fn dtype(model: &Model, op: Op) -> Dtype {
    let tensor = match op {
        Op::PatchEmbed => "vision.patch_embed.weight",
        Op::Qkv => "vision.block.0.qkv.weight",
        Op::Out => "vision.block.0.out.weight",
        Op::Fc1 => "vision.block.0.fc1.weight",
        Op::Fc2 => "vision.block.0.fc2.weight",
        _ => return Dtype::F32,
    };
    model.file().tensor(tensor).map_or(Dtype::F32, |tensor| tensor.dtype())
}

fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

fn report(args: &Args, model: &Model, session: &mut Session<'_>, ms: &[f64], load_ms: f64) -> Value {
    let peaks = peaks(session);
    let mut sorted = ms.to_vec();
    sorted.sort_by(f64::total_cmp);
    let total: f64 = ms.iter().sum();
    let images = ms.len() as f64;
    let profile = *session.profile_mut();
    let mut macs = 0;
    let ops: Vec<Value> = Op::ALL
        .iter()
        .map(|&op| (op, profile.op(op)))
        .filter(|(_, cost)| cost.calls > 0)
        .map(|(op, cost)| {
            macs += cost.macs;
            let seconds = cost.time.as_secs_f64();
            let rate = cost.macs as f64 / seconds / 1e9;
            let peak = if dtype(model, op) == Dtype::I8 { peaks.i8 } else { peaks.f32 };
            let of_peak = (cost.macs > 0).then(|| common::round_ms(rate / peak * 100.0));
            json!({
                "op": op.name(),
                "calls": cost.calls as f64 / images,
                "us": common::round_ms(seconds * 1e6 / images),
                "share": common::round_ms(seconds * 1e5 / total),
                "gmacs": (cost.macs > 0).then(|| common::round_ms(rate)),
                "percent_of_peak": of_peak,
            })
        })
        .collect();
    json!({
        "ms": ms,
        "load_ms": common::round_ms(load_ms),
        "rss_mb": peak_rss_mb(),
        "threads": session.threads(),
        "kernels": session.kernels().isa().to_string(),
        "p50_ms": percentile(&sorted, 50),
        "p95_ms": percentile(&sorted, 95),
        "gmacs": common::round_ms(macs as f64 / (total / 1e3) / 1e9),
        "peak_gmacs": {"i8": common::round_ms(peaks.i8), "f32": common::round_ms(peaks.f32)},
        "model": args.model.name(),
        "ops": ops,
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
        "{}: p50 {} ms, p95 {} ms per image, {} threads, {}; {} GMAC/s",
        report["model"].as_str().unwrap_or_default(),
        number(&report["p50_ms"]),
        number(&report["p95_ms"]),
        report["threads"],
        report["kernels"].as_str().unwrap_or_default(),
        number(&report["gmacs"]),
    )?;
    writeln!(
        out,
        "file to first result {} ms, peak memory {} MB; peak of this machine {} GMAC/s int8, {} GMAC/s f32",
        number(&report["load_ms"]),
        number(&report["rss_mb"]),
        number(&report["peak_gmacs"]["i8"]),
        number(&report["peak_gmacs"]["f32"]),
    )?;
    writeln!(
        out,
        "{:<20} {:>6} {:>10} {:>7} {:>9} {:>8}",
        "operation", "calls", "us", "share", "GMAC/s", "of peak"
    )?;
    for op in report["ops"].as_array().into_iter().flatten() {
        writeln!(
            out,
            "{:<20} {:>6} {:>10} {:>5} % {:>9} {:>6} %",
            op["op"].as_str().unwrap_or_default(),
            op["calls"].as_f64().unwrap_or_default().round(),
            number(&op["us"]),
            number(&op["share"]),
            number(&op["gmacs"]),
            number(&op["percent_of_peak"]),
        )?;
    }
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
