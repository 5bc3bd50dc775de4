//! `ocelli labels`

use crate::args::ModelArgs;
use crate::console::{Console, Failure};
use crate::files::write_file;
use crate::label_args::{self, LabelArgs};
use ocelli::format::Bank;
use ocelli::{excerpt, printable};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;

/// Make a label bank, so that classifying needs neither tokenizer nor text tower; or show the labels of one.
///
/// A bank fits every packed file of the same checkpoint, whatever its precision and with or without its text tower:
/// make it once from the full model, and give it to `ocelli classify --bank` with a vision-only file on the board.
/// Labels are shown one per line, as --labels-file reads them; their templates are told on stderr.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    labels: LabelArgs,
    /// Show the labels of this bank, whatever model it fits
    #[arg(long, visible_alias = "list", value_name = "FILE", group = "source", conflicts_with_all = ["template", "output"])]
    bank: Option<PathBuf>,
    /// Write the bank here; without it, the labels are shown
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print one JSON object per label
    #[arg(long)]
    json: bool,
}

/// A label of a bank.
#[derive(Serialize)]
struct Label<'b> {
    index: usize,
    label: &'b str,
}

pub(crate) fn run(args: &Args, console: &Console) -> Result<ExitCode, Failure> {
    if let Some(path) = &args.bank {
        show(&label_args::open_bank(path)?.as_bank(), args.json, console)?;
        return Ok(ExitCode::SUCCESS);
    }
    let labels = label_args::find_labels(&args.labels, &args.model.open()?, console)?;
    let bank = labels.as_bank();
    match &args.output {
        None => show(&bank, args.json, console)?,
        Some(path) => {
            write_file(path, &bank.to_bytes())?;
            let (path, count, dim) = (path.display(), bank.len(), bank.dim());
            console.tell(format_args!("{path}: {count} labels of {dim} values"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(bank: &Bank<'_>, json: bool, console: &Console) -> Result<(), Failure> {
    for (index, label) in bank.labels().enumerate() {
        match json {
            true => console.print_json(&Label { index, label })?,
            false => console.print(&format!("{}\n", printable(label)))?,
        }
    }
    for template in bank.templates() {
        console.tell(format_args!("made with the template {:?}", excerpt(template)));
    }
    Ok(())
}
