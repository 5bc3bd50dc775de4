//! `ocelli serve` as its clients meet it: every dialect, every limit, and what goes wrong.

#![cfg(all(feature = "serve", unix))]

mod clients;
mod http;
mod immich;
mod life;
mod limits;
mod openai;
mod others;
mod own;
mod page;
#[cfg(feature = "index")]
mod search;
mod soak;
#[cfg(feature = "index")]
mod thumbnails;
mod upstream;

use http::Answer;
use ocelli_tools::Precision;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::LazyLock;

/// What the models of these tests are called, after one that Immich knows.
const NAME: &str = "ViT-B-32__openai";

/// `clip-hf` with its text tower, in int8.
static CLIP: LazyLock<PathBuf> = LazyLock::new(|| converted("clip-hf", Precision::Int8));
/// A SigLIP.
static SIGLIP: LazyLock<PathBuf> = LazyLock::new(|| converted("siglip-hf", Precision::Fp32));
/// A classifier with classes of its own.
static VIT: LazyLock<PathBuf> = LazyLock::new(|| converted("vit-hf", Precision::Fp32));

fn converted(fixture: &str, precision: Precision) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("serve");
    std::fs::create_dir_all(&folder).unwrap();
    ocelli_tests::packed(&folder, fixture, precision)
}

fn example(name: &str) -> PathBuf {
    ocelli_tests::repository().join("examples").join(name).with_extension("jpg")
}

fn photo(name: &str) -> Vec<u8> {
    std::fs::read(example(name)).unwrap()
}

/// The command without arguments and without knobs in its environment.
fn command() -> Command {
    ocelli_tests::program(env!("CARGO_BIN_EXE_ocelli"))
}

/// The embeddings that `ocelli embed` prints for `arguments`.
fn embed(arguments: &[&str]) -> Vec<Vec<f32>> {
    let output = command().args(["embed", "--quiet"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| floats(&serde_json::from_str::<Value>(line).unwrap()["embedding"])).collect()
}

/// A JSON array as numbers.
#[track_caller]
fn floats(value: &Value) -> Vec<f32> {
    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}: {value}"))
}

/// The cosine of two embeddings of length 1.
fn same(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// A running server, which is killed when it is dropped.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    /// `ocelli serve` on a free port with these arguments and variables.
    fn with(arguments: &[&str], variables: &[(&str, &str)]) -> Server {
        let mut serve = command();
        serve.args(["serve", "--quiet", "--listen", "127.0.0.1:0"]).args(arguments);
        Server::started(serve.envs(variables.iter().copied()))
    }

    /// `ocelli serve` with these arguments, the address among them.
    fn at(arguments: &[&str]) -> Server {
        Server::started(command().args(["serve", "--quiet"]).args(arguments))
    }

    fn started(serve: &mut Command) -> Server {
        serve.stdout(Stdio::piped());
        let mut child = serve.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").map(str::to_owned);
        let address = address.unwrap_or_else(|| panic!("no address but {line:?}: {:?}", child.wait()));
        Server { child, address }
    }

    fn new(arguments: &[&str]) -> Server {
        Server::with(arguments, &[])
    }

    /// A server with the CLIP, under the name of one that Immich knows.
    fn clip(more: &[&str]) -> Server {
        let model = format!("{NAME}={}", CLIP.display());
        Server::new(&[&["--model", &model], more].concat())
    }

    fn get(&self, path: &str) -> Answer {
        http::request(&self.address, "GET", path, &[], b"")
    }

    fn post(&self, path: &str, kind: &str, body: &[u8]) -> Answer {
        http::request(&self.address, "POST", path, &[("Content-Type", kind)], body)
    }

    fn json(&self, path: &str, body: &Value) -> Answer {
        self.post(path, "application/json", body.to_string().as_bytes())
    }

    /// Posts a form; each part has a name, perhaps that of a file, and its bytes.
    fn form(&self, path: &str, parts: &[(&str, Option<&str>, &[u8])]) -> Answer {
        let (kind, body) = http::form(parts);
        self.post(path, &kind, &body)
    }

    /// A value of `/metrics`.
    fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Ends the server as the system does it, and waits for it.
    fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(out) = &mut self.child.stdout {
            let _ = out.read_to_end(&mut Vec::new());
        }
    }
}

/// Waits until `is` holds, at most half a minute.
#[track_caller]
fn until(what: &str, mut is: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !is() {
        assert!(start.elapsed().as_secs() < 30, "{what} did not come about");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
