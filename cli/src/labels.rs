//! `ocelli labels`

use crate::args::{ModelArgs, Opened};
use crate::console::{Console, Failure};
use crate::examples::ExampleArgs;
use crate::files::write_file;
use crate::label_args::{self, LabelArgs};
use ocelli::format::{Bank, LabelBank};
use ocelli::{excerpt, printable};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;

/// Make a label bank, so that classifying needs neither tokenizer nor text tower; or show the labels of one.
///
/// Labels are words, or with --examples pictures: for models without a text tower, and for things that have no name.
/// Both go together: a label that has words and a folder of pictures is recognised by either. How well the pictures are
/// told apart is estimated by leaving out one after the other.
///
/// A bank fits every packed file of the same checkpoint, whatever its precision and with or without its text tower:
/// make it once from the full model, and give it to `ocelli classify --bank` with a vision-only file on the board.
/// Labels are shown one per line, as --labels-file reads them; their templates are told on stderr. Pictures that cannot
/// be read are reported on stderr and left out, and the exit code is 1.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    labels: LabelArgs,
    #[command(flatten)]
    examples: ExampleArgs,
    /// Show the labels of this bank, whatever model it fits
    #[arg(long, visible_alias = "list", value_name = "FILE", group = "source", conflicts_with_all = ["template", "output"])]
    bank: Option<PathBuf>,
    /// Write the bank here; without it, the labels are shown
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print one JSON object per label, and with --examples one with the estimate of accuracy
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
    let opened = args.model.open()?;
    if args.examples.given() {
        return teach(args, &opened, console);
    }
    let labels = label_args::find_labels(&args.labels, &opened, console)?;
    give(args, &labels.as_bank(), console)?;
    Ok(ExitCode::SUCCESS)
}

/// Makes a bank with pictures, and says how well they are told apart.
fn teach(args: &Args, opened: &Opened, console: &Console) -> Result<ExitCode, Failure> {
    let words = match args.labels.given() {
        true => Some(label_args::find_labels(&args.labels, opened, console)?),
        false => None,
    };
    let taught = args.examples.teach(words.as_ref().map(LabelBank::as_bank).as_ref(), opened, console)?;
    give(args, &taught.bank.as_bank(), console)?;
    match (args.json, &args.output) {
        (true, _) => console.print_json(&taught.report())?,
        (false, Some(_)) => console.print(&taught.text())?,
        // stdout is the list of labels.
        (false, None) => taught.text().lines().for_each(|line| console.tell(format_args!("{line}"))),
    }
    Ok(if taught.incomplete { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Writes the bank where that was asked for, or shows its labels.
fn give(args: &Args, bank: &Bank<'_>, console: &Console) -> Result<(), Failure> {
    let Some(path) = &args.output else { return show(bank, args.json, console) };
    write_file(path, &bank.to_bytes())?;
    let (path, count, dim) = (path.display(), bank.len(), bank.dim());
    console.tell(format_args!("{path}: {count} labels of {dim} values"));
    Ok(())
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
