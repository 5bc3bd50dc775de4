//! What the program says: results on stdout, everything else on stderr; nothing that a terminal would obey.

use indicatif::{ProgressBar, ProgressStyle};
use ocelli::Error;
use ocelli::{is_unprintable, printable};
use serde::Serialize;
use std::cell::RefCell;
use std::fmt::Arguments;
use std::io::{self, Write};

/// Why a command ends early.
pub(crate) enum Failure {
    /// Something that the user should read.
    Error(Error),
    /// Arguments that do not go together.
    Usage(String),
    /// stdout was closed.
    Pipe,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Error(error)
    }
}

impl From<io::Error> for Failure {
    fn from(source: io::Error) -> Failure {
        match source.kind() {
            io::ErrorKind::BrokenPipe => Failure::Pipe,
            _ => Failure::Error(Error::Io { action: "write to stdout", source }),
        }
    }
}

/// stdout, stderr, and a progress bar that makes way for both.
pub(crate) struct Console {
    quiet: bool,
    bar: RefCell<ProgressBar>,
}

impl Console {
    /// With `quiet`, only results and errors are written.
    pub(crate) fn new(quiet: bool) -> Console {
        Console { quiet, bar: RefCell::new(ProgressBar::hidden()) }
    }

    /// Shows how far a job of `steps` steps is, where stderr is a terminal, until the next job or [`Console::done`].
    pub(crate) fn start(&self, steps: usize) {
        if self.quiet || steps < 2 {
            return;
        }
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len}, {per_sec}, {eta} left")
            .expect("a valid template");
        // Hides itself where stderr is no terminal.
        *self.bar.borrow_mut() = ProgressBar::new(steps as u64).with_style(style);
    }

    /// So many steps of the job are done.
    pub(crate) fn step(&self, steps: usize) {
        self.bar.borrow().inc(steps as u64);
    }

    /// A job inside a job, of `steps` steps: shown where the outer one is not, because it has a single step. Call the
    /// result once for each step.
    pub(crate) fn start_inner(&self, steps: usize) -> impl Fn() {
        let outer = !self.bar.borrow().is_hidden();
        if !outer {
            self.start(steps);
        }
        move || {
            if !outer {
                self.step(1);
            }
        }
    }

    /// The job is done.
    pub(crate) fn done(&self) {
        self.bar.replace(ProgressBar::hidden()).finish_and_clear();
    }

    /// Tells the user something on stderr, unless told to be quiet.
    pub(crate) fn tell(&self, message: Arguments<'_>) {
        if !self.quiet {
            self.say(message);
        }
    }

    /// Prints a warning, unless told to be quiet.
    pub(crate) fn warn(&self, message: Arguments<'_>) {
        self.tell(format_args!("ocelli: warning: {message}"));
    }

    /// Prints why something failed, on one line: messages of some libraries end with a line break.
    pub(crate) fn complain(&self, error: &Error) {
        self.say(format_args!("ocelli: {}", error.to_string().trim_end()));
    }

    /// That nobody may read it (`ocelli … 2>&1 | head`) is no failure.
    fn say(&self, message: Arguments<'_>) {
        let line = format!("{}\n", printable(&message.to_string()));
        let _ = self.bar.borrow().suspend(|| io::stderr().write_all(line.as_bytes()));
    }

    /// Writes `text`, whole lines, to stdout. Names in it are printable already.
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        self.write(text.as_bytes())
    }

    /// Writes `value` as one line of JSON to stdout.
    pub(crate) fn print_json(&self, value: &impl Serialize) -> Result<(), Failure> {
        self.write(&json_line(value)?)
    }

    /// Writes bytes to stdout.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        self.bar.borrow().suspend(|| {
            let mut out = io::stdout().lock();
            out.write_all(bytes)?;
            out.flush()
        })?;
        Ok(())
    }
}

/// `value` as one line of JSON, without anything that a terminal would obey.
pub(crate) fn json_line(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut line, Printable))?;
    line.push(b'\n');
    Ok(line)
}

/// JSON in which what [`printable`] escapes is escaped as JSON does it.
struct Printable;

impl serde_json::ser::Formatter for Printable {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(is_unprintable) {
            writer.write_all(&rest.as_bytes()[..at])?;
            let c = rest[at..].chars().next().expect("found there");
            // All of them are in the basic plane: one escape each.
            write!(writer, "\\u{:04x}", u32::from(c))?;
            rest = &rest[at + c.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

/// Milliseconds since `start`.
pub(crate) fn ms_since(start: std::time::Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

/// Milliseconds as they are printed: microseconds are the last digit.
pub(crate) fn round_ms(ms: f64) -> f64 {
    (ms * 1e3).round() / 1e3
}
