//! `ocelli-pack`: converts checkpoints to packed files, and inspects and verifies them.

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use ocelli_tools::eval::{self, EvalOptions, evaluate};
use ocelli_tools::families::ModelOptions;
use ocelli_tools::quant::{
    AccuracyReport, DEFAULT_IMAGES, DEFAULT_TARGET, QuantizeOptions, Repair, parse_repairs,
};
use ocelli_tools::{ConvertOptions, LabelSet, Precision, Report, convert, inspect, verify};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Turns checkpoints into packed .ocelli files, and inspects and verifies them.
///
/// Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 failed, 2 wrong usage.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Convert a checkpoint to a packed file
    ///
    /// Reads the folder of a CLIP, SigLIP, ViT, MAE or DINO of transformers (config.json, model.safetensors or shards
    /// with their index, preprocessor_config.json or processor_config.json, and the tokenizer's files), of an OpenCLIP
    /// (open_clip_config.json, open_clip_model.safetensors) or of a timm ViT or EVA; docs/models.md lists them. Whatever
    /// is missing, unknown or not supported is named and nothing is written; an interrupted conversion leaves an
    /// older output as it was.
    Convert {
        /// The checkpoint's folder, its .safetensors file or its shard index
        #[arg(value_name = "CHECKPOINT")]
        checkpoint: PathBuf,
        /// The packed file to write
        #[arg(short, long, value_name = "FILE.ocelli")]
        output: PathBuf,
        /// How weights are stored
        #[arg(long, value_enum, default_value_t = Precision::Int8)]
        precision: Precision,
        /// Leave the text tower and the tokenizer out: for boards that use ready label banks
        #[arg(long)]
        vision_only: bool,
        /// Take the tokenizer from this folder instead of the checkpoint's
        #[arg(long, value_name = "DIR", conflicts_with = "vision_only")]
        tokenizer: Option<PathBuf>,
        /// Lower-case every text although the checkpoint's library does not: SigLIP 2 was trained on lower-case texts
        #[arg(long, conflicts_with = "vision_only")]
        lowercase: bool,
        /// Make the model see images of this size instead of the checkpoint's, in pixels: positions are interpolated
        /// as its library does it
        #[arg(long, value_name = "HxW", value_parser = pair)]
        image_size: Option<(u32, u32)>,
        /// Labels that the file carries, separated by commas: `ocelli classify` uses them when it is given none. For a
        /// supervised classifier, the names of its classes in their order
        #[arg(long, value_name = "A,B,C", value_delimiter = ',', group = "label_source")]
        labels: Option<Vec<String>>,
        /// The same from a UTF-8 text file with one label per line
        #[arg(long, value_name = "FILE", group = "label_source")]
        labels_file: Option<PathBuf>,
        /// Prompt template for those labels, with {} for the label; several are averaged
        #[arg(long, value_name = "TEXT", requires = "label_source")]
        template: Vec<String>,
        #[command(flatten)]
        promise: PromiseArgs,
        /// Print the report as JSON to standard output
        #[arg(long)]
        json: bool,
    },
    /// Show header, configuration, provenance and tensors of a packed file
    Inspect {
        /// The packed file
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Measure how good a model is: zero-shot accuracy, or retrieval and the training loss
    ///
    /// With labels: top-1, top-5 and a confusion table. With texts: recall@1, 5 and 10 both ways, and the symmetric
    /// InfoNCE loss (CLIP) or the sigmoid loss (SigLIP) over all pairs as one batch.
    Eval {
        /// The packed model
        model: PathBuf,
        /// A folder with one folder of pictures per class, or a CSV file with the columns image and label, or image and
        /// text; paths in it are relative to the file
        #[arg(long, value_name = "DIR|CSV")]
        images: PathBuf,
        /// Prompt template with {} for the label; several are averaged
        #[arg(long, value_name = "TEXT")]
        template: Vec<String>,
        /// Compare with this model: cosines, agreement, difference in accuracy with its 95 % interval
        #[arg(long, value_name = "OTHER.ocelli")]
        against: Option<PathBuf>,
        /// Write a page with plots: signal-to-noise ratios, cosines, confusion, reliability
        #[arg(long, value_name = "OUT.html")]
        report: Option<PathBuf>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Check every invariant and every checksum of a packed file
    Verify {
        /// The packed file
        file: PathBuf,
    },
}

/// What is measured on the converted model, and what it must keep of the fp32 one.
#[derive(clap::Args)]
struct PromiseArgs {
    /// Pictures to calibrate with and measure on: every JPEG, PNG, WebP and BMP in this folder and those inside it. 32
    /// are enough, and half of them are only measured on. Without a folder, --precision auto makes pictures up
    #[arg(long, value_name = "DIR")]
    calibrate: Option<PathBuf>,
    /// Most pictures to use, spread evenly over the folder
    #[arg(long, value_name = "N", default_value_t = DEFAULT_IMAGES as u32, value_parser = clap::value_parser!(u32).range(1..))]
    calibration_images: u32,
    /// Mean cosine that embeddings must keep with those of the fp32 model, images and texts each
    /// [default: 0.995 with --precision auto, none otherwise]
    #[arg(long, value_name = "X", value_parser = cosine)]
    target_cosine: Option<f64>,
    /// Repairs that auto may try: smooth, clip, gptq, bias, half; or none. Each is kept only if the measured pictures (or
    /// texts) get better by more than chance; half, only if the target is missed without it
    #[arg(long, value_name = "LIST", value_parser = RepairList::parse, default_value = "smooth,clip,bias,half")]
    repair: RepairList,
    /// Write the file even if it misses the target; it says so in the file
    #[arg(long)]
    allow_below_target: bool,
}

impl PromiseArgs {
    /// What was asked for; nothing is measured unless something was.
    fn wish(self, precision: Precision) -> Option<QuantizeOptions> {
        let auto = precision == Precision::Auto;
        (auto || self.calibrate.is_some() || self.target_cosine.is_some()).then(|| QuantizeOptions {
            pictures: self.calibrate,
            images: self.calibration_images as usize,
            target: self.target_cosine.or(auto.then_some(DEFAULT_TARGET)),
            repairs: if auto { self.repair.0 } else { Vec::new() },
            allow_below_target: self.allow_below_target,
        })
    }
}

#[derive(Clone, Debug)]
struct RepairList(Vec<Repair>);

impl RepairList {
    fn parse(list: &str) -> Result<RepairList, String> {
        parse_repairs(list).map(RepairList)
    }
}

/// A cosine that can be demanded.
fn cosine(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    if value > 0.0 && value <= 1.0 { Ok(value) } else { Err("a cosine from 0 to 1".into()) }
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    let verifying = matches!(command, Command::Verify { .. });
    let result = match command {
        Command::Convert {
            checkpoint,
            output,
            precision,
            vision_only,
            tokenizer,
            lowercase,
            image_size,
            labels,
            labels_file,
            template,
            promise,
            json,
        } => {
            let model_options = ModelOptions { vision_only, tokenizer, lowercase, image_size };
            let wish = promise.wish(precision);
            let progress = ProgressBar::new(0);
            label_set(labels, labels_file, template)
                .and_then(|labels| {
                    convert(&ConvertOptions {
                        checkpoint,
                        output,
                        precision,
                        model_options,
                        labels,
                        wish,
                        progress,
                    })
                })
                .and_then(|report| conversion(&report, json))
        }
        Command::Inspect { file, json } => inspect::inspect(&file)
            .and_then(|report| if json { to_json(&report) } else { Ok(inspect::render(&report)) }),
        Command::Eval { model, images, template, against, report, json } => {
            let progress = ProgressBar::new(0);
            let style = ProgressStyle::with_template("{bar:40} {pos} of {len} images, {eta} left");
            progress.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            let options = EvalOptions { model, images, templates: template, against, progress };
            evaluate(&options).and_then(|result| {
                if let Some(path) = report {
                    write_page(&path, &eval::html(&result))?;
                }
                if json { to_line(&result) } else { Ok(result.render()) }
            })
        }
        Command::Verify { file } => verify::verify(&file).map(|found| {
            let (bytes, tensors, weights) = (found.bytes, found.tensors, found.weights);
            format!("OK {}: {tensors} tensors, {weights} weights, {bytes} bytes\n", file.display())
        }),
    };
    match result {
        Ok(text) => print(&text),
        Err(error) => {
            eprintln!("ocelli-pack: {error}");
            if verifying {
                eprintln!(
                    "ocelli-pack: do not use this file: copy it again, or convert the checkpoint again"
                );
            }
            ExitCode::from(1)
        }
    }
}

/// `336x448`, height first, or `336` for both.
fn pair(text: &str) -> Result<(u32, u32), String> {
    let number = |text: &str| match text.parse::<u32>() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("{text:?} is no number above 0: expected two, as in 336x448, or one for both")),
    };
    match text.split_once('x') {
        Some((first, second)) => Ok((number(first)?, number(second)?)),
        None => number(text).map(|both| (both, both)),
    }
}

/// The labels that were asked for, if any were.
fn label_set(
    labels: Option<Vec<String>>,
    file: Option<PathBuf>,
    templates: Vec<String>,
) -> ocelli_tools::Result<Option<LabelSet>> {
    let labels = match (labels, file) {
        (Some(labels), _) => labels.iter().map(|label| label.trim().to_owned()).collect(),
        (None, Some(path)) => ocelli::text::read_labels(&path)?,
        (None, None) => return Ok(None),
    };
    Ok(Some(LabelSet { labels, templates }))
}

/// To standard output; a reader that has seen enough is no failure.
fn print(text: &str) -> ExitCode {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("ocelli-pack: cannot write to standard output: {error}");
            ExitCode::from(1)
        }
        _ => ExitCode::SUCCESS,
    }
}

fn to_json(value: &impl serde::Serialize) -> ocelli_tools::Result<String> {
    let text = serde_json::to_string_pretty(value);
    text.map(|text| text + "\n")
        .map_err(|source| ocelli_tools::Error::Json { path: "standard output".into(), source })
}

/// One JSON object on a line.
fn to_line(value: &impl serde::Serialize) -> ocelli_tools::Result<String> {
    let text = serde_json::to_string(value);
    text.map(|text| text + "\n")
        .map_err(|source| ocelli_tools::Error::Json { path: "standard output".into(), source })
}

/// Writes a page, whole or not at all.
fn write_page(path: &Path, page: &str) -> ocelli_tools::Result<()> {
    let io = |source| ocelli_tools::Error::Io { action: "write", path: path.into(), source };
    ocelli::atomic::write_atomically(path, |out| out.write_all(page.as_bytes()).map_err(io))
}

/// Lists what was used and what was not to standard error; returns what goes to standard output.
fn conversion(report: &Report, json: bool) -> ocelli_tools::Result<String> {
    for tensor in &report.tensors {
        let shape = format!("{} x {}", tensor.n, tensor.k);
        eprintln!(
            "used    {:<36}{:>4} {shape:>14}  from {}",
            tensor.name,
            tensor.dtype,
            tensor.from.join(" + ")
        );
    }
    for ignored in &report.ignored {
        eprintln!("ignored {}: {}", ignored.name, ignored.reason);
    }
    if json {
        return to_json(report);
    }
    let promise = report.promise.as_ref().map(AccuracyReport::render).unwrap_or_default();
    let (path, tensors, ignored) = (report.output.display(), report.tensors.len(), report.ignored.len());
    let (bytes, precision) = (report.bytes, report.precision.name());
    Ok(format!("{path}: {precision}, {tensors} tensors, {ignored} ignored, {bytes} bytes\n{promise}"))
}
