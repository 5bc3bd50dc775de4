//! `ocelli info`

mod promise;
mod report;

use crate::args::ModelArgs;
use crate::console::{Console, Failure, json_line};
use ocelli::printable;
use report::Report;
use serde_json::Value;
use std::fmt::Write;
use std::process::ExitCode;

/// Show a model, what it costs and how it would run here: architecture, precision, memory plan, CPU cores and features,
/// kernels.
///
/// The kernels follow from the features alone (OCELLI_ISA chooses among them), which all cores of a machine share. There is
/// a thread for each CPU (OCELLI_THREADS); on boards with big and little cores, the kind of a core decides where they run.
/// The cost is computed from the architecture; a model beyond the limits (see OCELLI_MAX_COST) is shown, not run.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// List every tensor with its precision
    #[arg(long)]
    tensors: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, console: &Console) -> Result<ExitCode, Failure> {
    let opened = args.model.open()?;
    let report = Report::new(args, &opened, console)?;
    if args.json {
        console.print_json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    // The same report; numbers as they are written.
    let line = json_line(&report)?;
    let mut report: Value = serde_json::from_slice(&line).map_err(std::io::Error::from)?;
    report["promise"] = promise::summary(&report["promise"], args.tensors);
    let mut text = String::new();
    list(&mut text, &report, 0);
    console.print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Nested objects as an indented list.
fn list(out: &mut String, value: &Value, depth: usize) {
    let Value::Object(map) = value else { return };
    for (key, value) in map {
        let (indent, key) = ("  ".repeat(depth), printable(key));
        let mut line = |text: std::fmt::Arguments<'_>| {
            writeln!(out, "{indent}{key}{text}").expect("strings take everything");
        };
        match value {
            Value::Object(_) => {
                line(format_args!(""));
                list(out, value, depth + 1);
            }
            Value::String(text) => line(format_args!(": {}", printable(text))),
            Value::Null => line(format_args!(": -")),
            other => line(format_args!(": {}", printable(&other.to_string()))),
        }
    }
}
