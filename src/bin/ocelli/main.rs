//! The `ocelli` command: classify and embed images, make label banks, look into a model, profile it.
//!
//! Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage.

mod classify;
mod common;
mod embed;
mod info;
mod labels;
mod profile;
mod sensors;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Zero-shot image classification and embeddings with CLIP and Vision Transformers on small CPUs.
///
/// Without --model, a small demo model inside this program is used. It knows ten kinds of things (airplane, automobile,
/// bird, cat, deer, dog, frog, horse, ship, truck) at 32x32 pixels and nothing else. Convert a real checkpoint with
/// ocelli-pack.
#[derive(Parser)]
#[command(version, max_term_width = 110, after_help = common::knobs_help())]
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

fn main() -> ExitCode {
    let result = match Cli::parse().command {
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
