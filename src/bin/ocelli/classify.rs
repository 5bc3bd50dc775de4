//! `ocelli classify`

use crate::common::{self, Failure, LabelArgs, Labels, ModelArgs, Resize};
use ocelli::format::Bank;
use ocelli::score::{Scored, normalize};
use ocelli::{Model, Result, Session};
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// Say what photos show: score them against labels.
///
/// Labels come from --labels, --labels-file or --bank (made by `ocelli labels`; needs no text tower), otherwise from
/// the model. Images that cannot be read are reported on stderr, the others are still classified, and the exit code
/// is 1.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// JPEG, PNG, WebP or BMP files
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    labels: LabelArgs,
    /// A label bank made by `ocelli labels`
    #[arg(long, value_name = "FILE", group = "source", conflicts_with = "template")]
    bank: Option<PathBuf>,
    /// How many labels to show per image
    #[arg(long, short = 'k', value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    top_k: u32,
    /// How photos are resized
    #[arg(long, value_enum, default_value_t = Resize::Exact)]
    resize: Resize,
    /// Print one JSON object per image
    #[arg(long)]
    json: bool,
}

/// Milliseconds that an image took.
struct Times {
    decode: f64,
    preprocess: f64,
    encode: f64,
    total: f64,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let model = args.model.open()?;
    let options = args.model.options()?;
    let labels = match &args.bank {
        Some(path) => {
            let bank = common::open_bank(path)?;
            bank.bank().check_fits(model.file().config()).map_err(|error| error.in_file(path))?;
            Labels::Owned(bank)
        }
        None => common::find_labels(&args.labels, &args.model, &model)?,
    };
    let bank = labels.bank();
    let mut session = Session::new(&model, &ocelli::Options { text: false, ..options })?;
    let mut embedding = vec![0.0; session.embed_dim()];
    let mut scored = vec![Scored::default(); bank.len()];
    let mut code = ExitCode::SUCCESS;
    for path in &args.images {
        match classify(args, &model, &mut session, &bank, path, &mut embedding, &mut scored) {
            Ok(times) => print(args, &bank, path, &scored, &times)?,
            Err(error) => {
                common::complain(&error);
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

fn classify(
    args: &Args,
    model: &Model,
    session: &mut Session<'_>,
    bank: &Bank<'_>,
    path: &Path,
    embedding: &mut [f32],
    scored: &mut [Scored],
) -> Result<Times> {
    let start = Instant::now();
    let image = common::decode(path)?;
    let decode = common::ms_since(start);
    let view = image.view();
    let preprocessing = Instant::now();
    common::preprocess(session, model.file().config(), args.resize, &view)
        .map_err(|error| error.in_file(path))?;
    let preprocess = common::ms_since(preprocessing);
    let encoding = Instant::now();
    session.encode_frames(1, embedding).map_err(|error| error.in_file(path))?;
    normalize(embedding);
    let encode = common::ms_since(encoding);
    session.score(embedding, bank, scored)?;
    Ok(Times { decode, preprocess, encode, total: common::ms_since(start) })
}

fn print(args: &Args, bank: &Bank<'_>, path: &Path, scored: &[Scored], times: &Times) -> Result<(), Failure> {
    let top = &scored[..scored.len().min(args.top_k as usize)];
    if args.json {
        let labels: Vec<_> = top
            .iter()
            .map(|s| {
                let (score, similarity) = (common::number(s.score), common::number(s.similarity));
                json!({"label": bank.label(s.label), "score": score, "similarity": similarity})
            })
            .collect();
        return common::print_json(&json!({
            "image": path.display().to_string(),
            "labels": labels,
            "model": args.model.name(),
            "ms": {
                "decode": common::round_ms(times.decode),
                "preprocess": common::round_ms(times.preprocess),
                "encode": common::round_ms(times.encode),
                "total": common::round_ms(times.total),
            },
        }));
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}  ({:.1} ms)", path.display(), times.total)?;
    for s in top {
        writeln!(out, "  {:>6.2} %  {:>7.4}  {}", s.score * 100.0, s.similarity, bank.label(s.label))?;
    }
    Ok(())
}
