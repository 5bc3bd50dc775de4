//! `ocelli watch` as a camera and a house meet it: streams, damage, events, and what goes wrong around them.

#![cfg(all(feature = "watch", target_os = "linux"))]

mod damage;
mod live;
#[cfg(feature = "mqtt")]
mod mqtt;
mod outputs;
mod scores;
mod soak;
mod video;

use ocelli::format::Alpha;
use ocelli::preprocess::decode::{self, decode_file};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Frames of the photos that the default model knows: 32 x 32 pixels.
const SIZE: &[&str] = &["--format", "rgb24", "--size", "32x32"];
/// Every frame counts at once, and all are scored.
const PLAIN: &[&str] =
    &["--smoothing", "0", "--min-duration", "0", "--gate", "0", "--enter", "0.5", "--leave", "0.3"];
const RECORDED: &[&str] = &["--recorded", "25"];

fn example(name: &str) -> PathBuf {
    ocelli_tests::repository().join("examples").join(name).with_extension("jpg")
}

/// A photo's pixels, RGB.
fn rgb(name: &str) -> Vec<u8> {
    let image = decode_file(example(name), &decode::Options::default()).unwrap();
    let view = image.view();
    let (width, height) = (view.width() as usize, view.height() as usize);
    let mut pixels = vec![0; 3 * width * height];
    for (y, row) in pixels.chunks_exact_mut(3 * width).enumerate() {
        view.row_rgb(y, 0..width, Alpha::White, row);
    }
    pixels
}

/// A photo as it is on the disk: a JPEG of 32 x 32 pixels.
fn jpeg(name: &str) -> Vec<u8> {
    std::fs::read(example(name)).unwrap()
}

/// So many frames of each photo, one after the other.
fn scenes(scenes: &[(&str, usize)]) -> Vec<u8> {
    scenes.iter().flat_map(|&(name, frames)| rgb(name).repeat(frames)).collect()
}

/// `ocelli watch` without knobs and systemd's variables in its environment.
fn command(args: &[&[&str]]) -> Command {
    let mut command = ocelli_tests::program(env!("CARGO_BIN_EXE_ocelli"));
    command.arg("watch").args(args.concat());
    command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC").env_remove("WATCHDOG_PID");
    command
}

/// How a run ended.
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Run {
    /// The events: label, state, frame.
    #[track_caller]
    fn events(&self) -> Vec<(String, String, u64)> {
        self.out.lines().map(event).collect()
    }

    #[track_caller]
    fn ok(self) -> Run {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self
    }

    #[track_caller]
    fn says(&self, parts: &[&str]) {
        assert!(!self.err.contains("panicked"), "{}", self.err);
        for part in parts {
            assert!(self.err.contains(part), "{part:?} is not in: {}", self.err);
        }
    }
}

/// Label, state and frame of a line of JSON.
#[track_caller]
fn event(line: &str) -> (String, String, u64) {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let text = |name: &str| value[name].as_str().unwrap().to_owned();
    (text("label"), text("state"), value["frame"].as_u64().unwrap())
}

/// Events as they are written in tests.
fn expected(events: &[(&str, &str, u64)]) -> Vec<(String, String, u64)> {
    events.iter().map(|&(label, state, frame)| (label.into(), state.into(), frame)).collect()
}

/// Runs `command` with `input` on stdin.
fn run(command: &mut Command, input: &[u8]) -> Run {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        // That it reads no more is for the test to judge.
        scope.spawn(move || _ = stdin.write_all(input));
        child.wait_with_output().unwrap()
    });
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
    Run { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// A running `ocelli watch`, killed when it is dropped.
struct Live {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
}

/// The lines of `source` as they come.
fn lines(source: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(source).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

impl Live {
    fn start(command: &mut Command) -> Live {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (out, err) = (lines(child.stdout.take().unwrap()), lines(child.stderr.take().unwrap()));
        Live { child, out, err }
    }

    fn write(&mut self, frames: &[u8]) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(frames).unwrap();
        stdin.flush().unwrap();
    }

    /// The next event: label and state.
    #[track_caller]
    fn event(&self) -> (String, String) {
        match self.out.recv_timeout(Duration::from_secs(30)) {
            Ok(line) => {
                let (label, state, _) = event(&line);
                (label, state)
            }
            Err(error) => panic!("no event: {error}; {:?}", self.err.try_iter().collect::<Vec<_>>()),
        }
    }

    #[track_caller]
    fn expect(&self, label: &str, state: &str) {
        assert_eq!(self.event(), (label.to_owned(), state.to_owned()));
    }

    /// Waits for a message that has `part`.
    #[track_caller]
    fn says(&self, part: &str) {
        let (start, mut seen) = (Instant::now(), Vec::new());
        while start.elapsed() < Duration::from_secs(30) {
            if let Ok(line) = self.err.recv_timeout(Duration::from_millis(100)) {
                if line.contains(part) {
                    return;
                }
                seen.push(line);
            }
        }
        panic!("{part:?} is not in {seen:?}");
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Ends it as the system does; everything that it then said on stdout and stderr.
    #[track_caller]
    fn stop(mut self) -> (Vec<String>, Vec<String>) {
        // Waiting would close it, and end the stream.
        let stdin = self.child.stdin.take();
        self.signal("TERM");
        let start = Instant::now();
        assert!(self.child.wait().unwrap().success());
        assert!(start.elapsed() < Duration::from_secs(10), "it took {:?}", start.elapsed());
        drop(stdin);
        (self.out.iter().collect(), self.err.iter().collect())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a program is installed; says so where it is not.
fn has(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !found {
        println!("skipped: there is no {program} here (Debian has it)");
    }
    found
}
