//! `ocelli-pack`: converts checkpoints to packed files, and inspects, verifies and evaluates them.

mod args;
mod output;
#[cfg(feature = "hub")]
mod pull;

use args::{Cli, Command};
use clap::{CommandFactory, Parser};
use ocelli::excerpt;
use ocelli::format::Limits;
use ocelli_tools::eval::{self, EvalOptions, evaluate_with};
use ocelli_tools::progress::Progress;
use ocelli_tools::quant::AccuracyReport;
use ocelli_tools::{ConvertOptions, Error, Report, Result, convert_with, inspect, join, verify};
use output::{Bar, print, tell, written};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Cli { quiet, command } = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and version are results.
        Err(error) if error.exit_code() == 0 => return written(error.print()),
        Err(error) => {
            _ = error.print();
            return ExitCode::from(2);
        }
    };
    let verifying = matches!(command, Command::Verify { .. });
    match run(command, quiet) {
        Ok(result) => print(&result),
        Err(error) => {
            // Messages of some libraries end with a line break.
            tell(format_args!("ocelli-pack: {}", error.to_string().trim_end()));
            if verifying {
                let advice = "do not use this file: copy it again, or convert the checkpoint again";
                tell(format_args!("ocelli-pack: {advice}"));
            }
            ExitCode::FAILURE
        }
    }
}

/// Runs a command; returns what goes to standard output.
fn run(command: Command, quiet: bool) -> Result<Vec<u8>> {
    let bar = Bar::new(quiet);
    let text = match command {
        Command::Convert { checkpoint, output, convert, json } => {
            #[cfg(feature = "hub")]
            if let Some(name) = pull::repository(&checkpoint) {
                return pull::pull(&name, Some(output), convert, json, &bar, quiet);
            }
            converted(&convert.options(checkpoint, output)?, json, &bar, quiet)?
        }
        #[cfg(feature = "hub")]
        Command::Pull { name: None, costs, json, .. } => pull::list(costs, json)?,
        #[cfg(feature = "hub")]
        Command::Pull { name: Some(name), output, convert, json, .. } => {
            return pull::pull(&name, output, convert, json, &bar, quiet);
        }
        Command::Join { image, text, output } => {
            let bytes = join(&image, &text, &output, &bar)?;
            format!("{}: {bytes} bytes\n", output.display())
        }
        Command::Inspect { file, json } => {
            let report = inspect::inspect(&file)?;
            if json { to_json(&report)? } else { inspect::render(&report) }
        }
        Command::Eval { model, images, template, bank, merge_tokens, against, report, json } => {
            let options =
                EvalOptions { model, images, templates: template, bank, merging: merge_tokens, against };
            let result = evaluate_with(&options, &bar)?;
            if let Some(path) = report {
                write_page(&path, &eval::html(&result))?;
            }
            if json { to_line(&result)? } else { result.render() }
        }
        Command::Verify { file } => {
            let found = verify::verify_with(&file, &bar)?;
            let (bytes, tensors, weights) = (found.bytes, found.tensors, found.weights);
            let mut text =
                format!("OK {}: {tensors} tensors, {weights} weights, {bytes} bytes\n", file.display());
            for (tower, cost) in [("image", found.image), ("text", found.text)] {
                let Some(cost) = cost else { continue };
                text += &format!(
                    "{tower}: {} tokens, {} blocks, {:.3} GMAC, {:.1} MB of working memory\n",
                    cost.tokens,
                    cost.blocks,
                    cost.macs as f64 / 1e9,
                    cost.arena_bytes as f64 / 1e6
                );
                if let Err(error) = cost.check(&Limits::default()) {
                    bar.warn(&format!("{}: {error}", file.display()));
                }
            }
            text
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "ocelli-pack", &mut script);
            return Ok(script);
        }
        Command::Man { folder } => {
            let io = |source| Error::Io { action: "write manual pages to", path: folder.clone(), source };
            std::fs::create_dir_all(&folder)
                .and_then(|()| clap_mangen::generate_to(Cli::command(), &folder))
                .map_err(io)?;
            String::new()
        }
    };
    Ok(text.into_bytes())
}

/// Converts, and returns the report.
fn converted(options: &ConvertOptions, json: bool, bar: &Bar, quiet: bool) -> Result<String> {
    let report = convert_with(options, bar)?;
    summarize(&report, quiet);
    if json { to_json(&report) } else { Ok(one_line(&report)) }
}

fn to_json(value: &impl serde::Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(value);
    text.map(|text| text + "\n").map_err(|source| Error::Json { path: "standard output".into(), source })
}

/// One JSON object on a line.
fn to_line(value: &impl serde::Serialize) -> Result<String> {
    let text = serde_json::to_string(value);
    text.map(|text| text + "\n").map_err(|source| Error::Json { path: "standard output".into(), source })
}

/// Writes a page, whole or not at all.
fn write_page(path: &Path, page: &str) -> Result<()> {
    let io = |source| Error::Io { action: "write", path: path.into(), source };
    ocelli::atomic::write_atomically(path, |out| out.write_all(page.as_bytes()).map_err(io))
}

/// Lists what was used and what was not, and warnings, to standard error.
fn summarize(report: &Report, quiet: bool) {
    if !quiet {
        for tensor in &report.tensors {
            let shape = format!("{} x {}", tensor.n, tensor.k);
            let (name, dtype, from) = (&tensor.name, tensor.dtype, tensor.from.join(" + "));
            tell(format_args!("used    {name:<36}{dtype:>4} {shape:>14}  from {from}"));
        }
        for ignored in &report.ignored {
            tell(format_args!("ignored {}: {}", excerpt(&ignored.name), ignored.reason));
        }
    }
    for warning in &report.warnings {
        tell(format_args!("ocelli-pack: warning: {warning}"));
    }
}

/// What came out, for people.
fn one_line(report: &Report) -> String {
    let accuracy = report.accuracy.as_ref().map(AccuracyReport::render).unwrap_or_default();
    let (path, tensors, ignored) = (report.output.display(), report.tensors.len(), report.ignored.len());
    let (bytes, precision) = (report.bytes, report.precision.name());
    format!("{path}: {precision}, {tensors} tensors, {ignored} ignored, {bytes} bytes\n{accuracy}")
}
