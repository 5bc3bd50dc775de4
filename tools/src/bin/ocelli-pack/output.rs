//! What the program writes: results to standard output, everything else to standard error. That nobody reads it any more
//! is no failure.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ocelli_tools::Progress;
use std::fmt::Arguments;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

/// Writes a line to standard error.
pub(crate) fn tell(message: Arguments<'_>) {
    _ = writeln!(io::stderr(), "{message}");
}

/// The exit code after results were written, or were not. A reader that has seen enough is no failure.
pub(crate) fn written(result: io::Result<()>) -> ExitCode {
    match result {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            tell(format_args!("ocelli-pack: cannot write to standard output: {error}"));
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Writes results.
pub(crate) fn print(bytes: &[u8]) -> ExitCode {
    let mut out = io::stdout().lock();
    written(out.write_all(bytes).and_then(|()| out.flush()))
}

/// A bar on a terminal, and warnings.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// Hidden if it is to be `quiet`, or if standard error is no terminal.
    pub(crate) fn new(quiet: bool) -> Bar {
        let shown = !quiet && io::stderr().is_terminal();
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Bar(ProgressBar::with_draw_target(None, target))
    }
}

impl Progress for Bar {
    fn begin(&self, unit: &str, total: u64) {
        let template = match unit {
            "bytes" => "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left {msg}".to_owned(),
            _ => {
                format!("{{bar:40}} {{human_pos}} of {{human_len}} {unit}, {{elapsed}}, {{eta}} left {{msg}}")
            }
        };
        let style = ProgressStyle::with_template(&template);
        self.0.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        self.0.reset();
        self.0.set_message("");
        self.0.set_length(total);
    }
    fn describe(&self, what: &str) {
        self.0.set_message(what.to_owned());
    }
    fn extend(&self, steps: u64) {
        self.0.inc_length(steps);
    }
    fn advance(&self, steps: u64) {
        self.0.inc(steps);
    }
    fn end(&self) {
        self.0.finish_and_clear();
    }
    fn warn(&self, message: &str) {
        self.0.suspend(|| tell(format_args!("ocelli-pack: warning: {message}")));
    }
}
