//! `ocelli completions` and `ocelli man`: what a package installs beside the program.

use crate::console::{Console, Failure};
use crate::files::write_file;
use clap_complete::Shell;
use clap_mangen::Man;
use ocelli::Error;
use std::path::PathBuf;
use std::process::ExitCode;

/// Print the completions for a shell: source them, or put them where the shell looks.
#[derive(clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Write the manual, ocelli.1 and a page for each command, into a folder.
#[derive(clap::Args)]
pub(crate) struct ManArgs {
    /// The folder; made if there is none
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(crate) fn completions(
    args: &CompletionsArgs,
    mut program: clap::Command,
    console: &Console,
) -> Result<ExitCode, Failure> {
    // In memory first: the generator panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, "ocelli", &mut script);
    console.write(&script)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn man(
    args: &ManArgs,
    mut program: clap::Command,
    console: &Console,
) -> Result<ExitCode, Failure> {
    std::fs::create_dir_all(&args.folder)
        .map_err(|source| Error::Io { action: "create the folder", source }.in_file(&args.folder))?;
    program.build();
    let commands = program.get_subcommands().filter(|command| command.get_name() != "help");
    for command in commands.cloned().chain([program.clone()]) {
        let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
        let mut page = Vec::new();
        Man::new(command)
            .title(name.clone())
            .render(&mut page)
            .map_err(|source| Error::Io { action: "make the page", source })?;
        write_file(&args.folder.join(format!("{name}.1")), &page)?;
    }
    console.tell(format_args!("{}: ocelli.1 and a page for each command", args.folder.display()));
    Ok(ExitCode::SUCCESS)
}
