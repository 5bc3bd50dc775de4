//! The `ocelli` command: classify and embed images, make label banks, look into a model, profile it, serve it,
//! watch a camera.
//!
//! Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage.

mod args;
mod classify;
mod console;
mod decoders;
mod default_model;
mod embed;
mod examples;
mod files;
#[cfg(feature = "index")]
mod index;
mod info;
mod inputs;
mod label_args;
mod labels;
mod named;
mod npy;
mod profile;
mod scored;
mod sensors;
#[cfg(all(feature = "serve", unix))]
mod serve;
mod shell;
#[cfg(all(feature = "watch", target_os = "linux"))]
mod watch;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use console::{Console, Failure};
use std::process::ExitCode;

/// Zero-shot image classification and embeddings with CLIP and Vision Transformers on small CPUs.
///
/// Without --model, commands take the model that OCELLI_MODEL names, or demo.ocelli beside this program, in the folder models or in
/// a data folder (share/ocelli). The demo model knows some hundred everyday things and animals by sight, and English words;
/// ocelli-pack pulls and converts better ones.
#[derive(Parser)]
#[command(name = "ocelli", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print only results and errors: no warnings, no progress
    #[arg(long, short, global = true)]
    quiet: bool,
}

#[derive(Subcommand)]
enum Command {
    Classify(classify::Args),
    Embed(embed::Args),
    Labels(labels::Args),
    Info(info::Args),
    Profile(profile::Args),
    #[cfg(feature = "index")]
    #[command(flatten)]
    Index(index::Command),
    #[cfg(all(feature = "serve", unix))]
    Serve(serve::Args),
    #[cfg(all(feature = "watch", target_os = "linux"))]
    Watch(Box<watch::Args>),
    Completions(shell::CompletionsArgs),
    Man(shell::ManArgs),
}

/// The program's arguments; every help text ends with the environment variables.
fn program() -> clap::Command {
    let with_knobs = |command: clap::Command| command.after_help(args::knobs_help());
    with_knobs(Cli::command()).mut_subcommands(with_knobs)
}

fn main() -> ExitCode {
    let arguments = std::env::args_os();
    #[cfg(feature = "index")]
    let arguments = index::separate_signs(arguments);
    let matches = program().get_matches_from(arguments);
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let console = Console::new(cli.quiet);
    let result = match &cli.command {
        Command::Classify(args) => classify::run(args, &console),
        Command::Embed(args) => embed::run(args, &console),
        Command::Labels(args) => labels::run(args, &console),
        Command::Info(args) => info::run(args, &console),
        Command::Profile(args) => profile::run(args, &console),
        #[cfg(feature = "index")]
        Command::Index(command) => index::run(command, &console),
        #[cfg(all(feature = "serve", unix))]
        Command::Serve(args) => serve::run(args, cli.quiet, &console),
        #[cfg(all(feature = "watch", target_os = "linux"))]
        Command::Watch(args) => watch::run(args, &console),
        Command::Completions(args) => shell::completions(args, program(), &console),
        Command::Man(args) => shell::man(args, program(), &console),
    };
    console.done();
    match result {
        Ok(code) => code,
        // Whoever read our output has seen enough (`ocelli … | head`).
        Err(Failure::Pipe) => ExitCode::SUCCESS,
        Err(Failure::Error(error)) => {
            console.complain(&error);
            ExitCode::FAILURE
        }
        Err(Failure::Usage(message)) => {
            let mut program = program();
            let name = matches.subcommand_name().unwrap_or_default();
            program.build();
            let command = program.find_subcommand_mut(name).expect("it was found once");
            command.error(ErrorKind::ArgumentConflict, message).exit()
        }
    }
}
