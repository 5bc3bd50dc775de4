//! The `ocelli` command: classify and embed images, make label banks, look into a model, profile it.
//!
//! Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage.

mod classify;
mod common;
#[cfg(feature = "demo")]
mod demo;
mod embed;
mod info;
mod labels;
mod profile;
mod sensors;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::process::ExitCode;

/// Zero-shot image classification and embeddings with CLIP and Vision Transformers on small CPUs.
///
/// Without --model, a small demo model inside this program is used. It knows ten kinds of things (airplane, automobile,
/// bird, cat, deer, dog, frog, horse, ship, truck) at 32x32 pixels and nothing else. Convert a real checkpoint with
/// ocelli-pack.
#[derive(Parser)]
#[command(version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Classify(classify::Args),
    Embed(embed::Args),
    Labels(labels::Args),
    Info(info::Args),
    Profile(profile::Args),
}

/// The command line; every help text ends with the environment variables.
fn parse() -> Cli {
    let with_knobs = |command: clap::Command| command.after_help(common::knobs_help());
    let matches = with_knobs(Cli::command()).mut_subcommands(with_knobs).get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

fn main() -> ExitCode {
    let result = match parse().command {
        Command::Classify(args) => classify::run(&args),
        Command::Embed(args) => embed::run(&args),
        Command::Labels(args) => labels::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Profile(args) => profile::run(&args),
    };
    match result {
        Ok(code) => code,
        // Whoever read our output has seen enough (`ocelli … | head`).
        Err(common::Failure::Pipe) => ExitCode::SUCCESS,
        Err(common::Failure::Error(error)) => {
            common::complain(&error);
            ExitCode::FAILURE
        }
    }
}
