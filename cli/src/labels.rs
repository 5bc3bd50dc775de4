//! `ocelli labels`

use crate::common::{self, Failure, LabelArgs, ModelArgs};
use ocelli::Result;
use ocelli::format::Bank;
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Make a label bank, so that classifying needs neither tokenizer nor text tower; or show the labels of one.
///
/// A bank fits every packed file of the same checkpoint, whatever its precision and with or without its text tower:
/// make it once from the full model, and give it to `ocelli classify --bank` with a vision-only file on the board.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    labels: LabelArgs,
    /// Show the labels of this bank, whatever model it fits
    #[arg(long, value_name = "FILE", group = "source", conflicts_with_all = ["template", "output"])]
    bank: Option<PathBuf>,
    /// Write the bank here; without it, the labels are shown
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print one JSON object per label
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    if let Some(path) = &args.bank {
        show(&common::open_bank(path)?.as_bank(), args.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let model = args.model.open()?;
    let labels = common::find_labels(&args.labels, &args.model, &model)?;
    let bank = labels.bank();
    match &args.output {
        None => show(&bank, args.json)?,
        Some(path) => write(path, &bank.to_bytes(), &bank)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, bytes: &[u8], bank: &Bank<'_>) -> Result<()> {
    common::write_file(path, bytes)?;
    let (path, count, dim) = (path.display(), bank.len(), bank.dim());
    common::tell(format_args!("{path}: {count} labels of {dim} values"));
    Ok(())
}

fn show(bank: &Bank<'_>, json: bool) -> Result<(), Failure> {
    if json {
        return bank
            .labels()
            .zip(0..)
            .try_for_each(|(label, i): (_, u32)| common::print_json(&json!({"index": i, "label": label})));
    }
    let mut out = std::io::stdout().lock();
    for template in bank.templates() {
        writeln!(out, "# {template}")?;
    }
    for label in bank.labels() {
        writeln!(out, "{label}")?;
    }
    Ok(())
}
