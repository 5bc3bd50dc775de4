//! The `ocelli` command as a user meets it: exit codes (0 done, 1 failed, 2 wrong usage), results on stdout, everything
//! else on stderr, and errors that name the file.

mod classify;
mod default_model;
mod demo;
mod examples;
mod images;
#[cfg(all(feature = "index", unix))]
mod index;
mod inputs;
mod labels;
mod models;
mod names;
mod output;
mod profile;
mod sizes;
mod usage;

#[cfg(unix)]
use ocelli_tests::under_shell;
use ocelli_tools::families::ModelOptions;
use ocelli_tools::{ConvertOptions, Precision, convert};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// What the small model of the tests was made to tell apart and the repository has photos of.
const EXAMPLES: [&str; 5] = ["automobile", "cat", "frog", "horse", "ship"];

fn example(name: &str) -> PathBuf {
    ocelli_tests::repository().join("examples").join(name).with_extension("jpg")
}

/// `clip-hf` with its text tower, in int8.
static FULL: LazyLock<PathBuf> = LazyLock::new(|| converted("full", Precision::Int8, false));

/// The same checkpoint without its text tower, in f32.
static VISION: LazyLock<PathBuf> = LazyLock::new(|| converted("vision", Precision::Fp32, true));

/// `siglip-hf` with its text tower, in f32.
static SIGLIP: LazyLock<PathBuf> = LazyLock::new(|| {
    ocelli_tests::packed(Path::new(env!("CARGO_TARGET_TMPDIR")), "siglip-hf", Precision::Fp32)
});

fn converted(name: &str, precision: Precision, vision_only: bool) -> PathBuf {
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-{name}.ocelli"));
    let mut options = ConvertOptions::new(ocelli_tests::fixtures().join("clip-hf"), &output, precision);
    options.model = ModelOptions { vision_only, ..ModelOptions::default() };
    convert(&options).unwrap();
    output
}

/// How a run ended.
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Run {
    /// The objects on stdout, one per line.
    fn json(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Asserts success, and returns what is on stdout.
    #[track_caller]
    fn ok(self) -> Run {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self
    }

    /// Asserts a failure without results, whose message names all of `parts`.
    #[track_caller]
    fn fails(self, parts: &[&str]) {
        assert_eq!((self.code, self.out.as_str()), (Some(1), ""), "{}", self.err);
        self.says(parts);
    }

    /// Asserts that stderr has all of `parts`, and is no panic.
    #[track_caller]
    fn says(&self, parts: &[&str]) {
        assert!(!self.err.contains("panicked"), "{}", self.err);
        for part in parts {
            assert!(self.err.contains(part), "{part:?} is not in: {}", self.err);
        }
    }
}

/// The command without arguments and without knobs in its environment.
fn command() -> Command {
    ocelli_tests::program(env!("CARGO_BIN_EXE_ocelli"))
}

fn run(command: &mut Command) -> Run {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
    Run { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// The command with these arguments.
macro_rules! ocelli {
    ($($arg:expr),+ $(,)?) => {{
        let mut command = crate::command();
        $(command.arg(&$arg);)+
        command
    }};
}
pub(crate) use ocelli;
