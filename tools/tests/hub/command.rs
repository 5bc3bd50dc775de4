//! The commands `pull` and `convert hf:`.

use crate::server::{Fault, Repository, sha256};
use crate::{NAME, Setup, fixture};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// The command as words. Under an emulator it runs under the same one: that is what Cargo's variable for the target
/// holds.
pub(crate) fn words() -> Vec<String> {
    let arch = std::env::consts::ARCH.to_uppercase();
    let runner = std::env::var(format!("CARGO_TARGET_{arch}_UNKNOWN_LINUX_GNU_RUNNER")).unwrap_or_default();
    runner.split_whitespace().chain([env!("CARGO_BIN_EXE_ocelli-pack")]).map(str::to_owned).collect()
}

/// Takes all of a user's settings away, and names the hub and the cache of `setup`.
pub(crate) fn at_home(command: &mut Command, setup: &Setup) {
    let prefixes = ["HF_", "HUGGING", "TRANSFORMERS_", "XDG_", "SSL_"];
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().into_owned();
        let is_proxy = text.to_ascii_lowercase().ends_with("_proxy");
        if is_proxy || prefixes.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command.env("HOME", setup.folder.path()).env("HF_HUB_CACHE", &setup.settings.cache);
    command.env("HF_ENDPOINT", setup.hub.endpoint()).current_dir(setup.folder.path());
}

pub(crate) fn command(setup: &Setup, args: &[&str]) -> Command {
    let words = words();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args(args);
    at_home(&mut command, setup);
    command
}

fn run(setup: &Setup, args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command(setup, args).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn pull_converts_and_says_what_is_next() {
    let setup = Setup::new();
    let (code, out, err) = run(&setup, &["pull", NAME]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.starts_with("clip.ocelli: int8, ") && out.lines().count() == 1, "{out}");
    assert!(setup.folder.path().join("clip.ocelli").exists());
    for part in [
        "downloaded org/clip/model.safetensors",
        &format!("commit {}; licence: mit", setup.repository.commit()),
        "next: ocelli classify photo.jpg --model clip.ocelli --labels",
    ] {
        assert!(err.contains(part), "{part}: {err}");
    }
    let (code, out, err) =
        run(&setup, &["--quiet", "pull", NAME, "-o", "b.ocelli", "--vision-only", "--json"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["repository"]["repository"], NAME);
    assert_eq!(report["output"], "b.ocelli");

    let revision = format!("hf:{NAME}@{}", setup.repository.commit());
    let (code, out, err) = run(&setup, &["convert", &revision, "-o", "c.ocelli", "--precision", "fp16"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.starts_with("c.ocelli: fp16"), "{out}");
    assert!(err.contains("cached     org/clip/model.safetensors") && err.contains("next: "), "{err}");
    let (code, out, _) = run(&setup, &["inspect", "c.ocelli"]);
    assert!(code == Some(0) && out.contains(&setup.repository.commit()), "{out}");
}

/// M-CLIP's repositories hold no image tower.
#[test]
fn a_text_tower_alone_says_what_goes_with_it() {
    let (setup, source) = (Setup::new(), fixture("mclip"));
    let name = "XLM-Roberta-Large-Vit-B-32";
    setup.hub.add(&format!("M-CLIP/{name}"), Repository::of(&source));
    // The fixture's base is a small one that nobody knows; its configuration is found beside the tokenizer.
    let tokenizer = setup.folder.path().join("tokenizer");
    fs::create_dir(&tokenizer).unwrap();
    for (from, to) in [
        ("tokenizer.json", "tokenizer.json"),
        ("tokenizer_config.json", "tokenizer_config.json"),
        ("xlm-roberta-small/config.json", "config.json"),
    ] {
        fs::copy(source.join(from), tokenizer.join(to)).unwrap();
    }
    let (code, _, err) = run(&setup, &["pull", name, "--tokenizer", tokenizer.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{err}");
    let next = format!("next: ocelli embed --model {name}.ocelli --text");
    assert!(err.contains(&next) && err.contains("pull ViT-B-32__openai --vision-only"), "{err}");
    assert!(!err.contains("tokenizer.json ("), "{err}");
}

#[test]
fn exit_codes_tell_failure_from_wrong_usage() {
    let setup = Setup::new();
    for args in [
        &["pull"][..],
        &["pull", NAME, "--list"],
        &["pull", "--list", "-o", "x"],
        &["pull", NAME, "--costs"],
        &["pull", NAME, "--precision", "int4"],
        &["pull", "a", "b"],
        &["convert", "hf:org/clip"],
    ] {
        let (code, out, err) = run(&setup, args);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{args:?}: {err}");
    }
    for (args, expected) in [
        (&["pull", "ViT-B-32__opnai"][..], "ViT-B-32__openai"),
        (&["pull", "RN50__openai"], "ResNet"),
        (&["pull", "org/none"], "org/none"),
        (&["convert", "hf:none", "-o", "x"], "--list"),
        (&["pull", NAME, "--labels-file", "none.txt"], "none.txt"),
        (&["pull", NAME, "-o", "no/such/folder/x.ocelli"], "no/such/folder"),
    ] {
        let (code, out, err) = run(&setup, args);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{args:?}: {err}");
        assert!(err.contains(expected), "{args:?}: {err}");
    }
}

#[test]
fn the_list_has_every_name() {
    let setup = Setup::new();
    let (code, out, err) = run(&setup, &["pull", "--list"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let rows = ocelli_tools::hub::table::entries().len();
    assert_eq!(out.lines().count(), rows + 2);
    let (code, out, _) = run(&setup, &["pull", "--list", "--costs", "--json"]);
    assert_eq!((code, out.lines().count()), (Some(0), rows));
    let rows: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let row = rows.iter().find(|row| row["name"] == "ViT-B-16__openai").unwrap();
    assert_eq!(row["repository"], "timm/vit_base_patch16_clip_224.openai");
    assert_eq!(row["image_macs"], 16_348_090_368_u64);
    assert_eq!(row["predicted_ms"]["Pi 5"], 79.0);
    assert!(setup.hub.requests().is_empty());
}

/// As in `cli.rs`: a file may grow to 100 or 200 KiB; the tokenizer has 3.6 MB.
#[cfg(unix)]
#[test]
fn a_full_disk_is_named_and_what_came_is_kept() {
    let setup = Setup::new();
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 200; exec \"$@\"", "sh"]).args(words()).args(["pull", NAME]);
    at_home(&mut shell, &setup);
    let output = shell.output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains(".incomplete: cannot write"), "{message}");
    assert!(!setup.folder.path().join("clip.ocelli").exists());
    let (code, _, err) = run(&setup, &["pull", NAME]);
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("resumed    org/clip/tokenizer.json"), "{err}");
    assert!(setup.blob(&sha256(setup.weights())).exists());
}

#[test]
fn two_pulls_at_once_download_once() {
    let setup = Setup::new();
    setup.hub.limit(Some(1 << 20));
    let children: Vec<_> = ["a.ocelli", "b.ocelli"]
        .map(|output| {
            let mut command = command(&setup, &["pull", NAME, "-o", output]);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .into();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(setup.hub.requests().iter().filter(|request| request.cdn).count(), 1);
    let read = |name: &str| fs::read(setup.folder.path().join(name)).unwrap();
    assert_eq!(read("a.ocelli"), read("b.ocelli"));
}

#[test]
fn settings_come_from_the_environment() {
    let setup = Setup::new();
    // The file that a login wrote.
    let home = setup.folder.path().join("home");
    fs::create_dir_all(&home).unwrap();
    fs::write(home.join("token"), "hf_file").unwrap();
    let output = command(&setup, &["pull", NAME, "-o", "x.ocelli"])
        .env_remove("HF_HUB_CACHE")
        .env("HF_HOME", &home)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(home.join("hub/models--org--clip/snapshots").exists());
    let asked = setup.hub.requests();
    let token = |cdn: bool| {
        let mut of =
            asked.iter().filter(|request| request.cdn == cdn).map(|request| request.header("authorization"));
        let first = of.next().unwrap();
        assert!(of.all(|token| token == first));
        first
    };
    assert_eq!((token(false), token(true)), (Some("Bearer hf_file"), None));
    // Offline with a hub that would answer.
    let output = command(&setup, &["pull", NAME, "-o", "x.ocelli"])
        .env_remove("HF_HUB_CACHE")
        .env("HF_HOME", &home)
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(setup.hub.requests().is_empty());
    for (name, value) in
        [("HF_TOKEN", "a b"), ("HF_HUB_DOWNLOAD_TIMEOUT", "x"), ("SSL_CERT_FILE", "none.pem")]
    {
        let output = command(&setup, &["pull", NAME]).env(name, value).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains(if name == "SSL_CERT_FILE" { value } else { name }), "{message}");
    }
}

/// A proxy that opens a tunnel to the hub whatever host it is asked for, and counts.
fn proxy(port: u16) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (own, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counter = count.clone();
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            counter.fetch_add(1, Ordering::Relaxed);
            thread::spawn(move || tunnel(&client, port));
        }
    });
    (own, count)
}

fn tunnel(mut client: &TcpStream, port: u16) -> std::io::Result<()> {
    let mut lines = BufReader::new(client).lines();
    let first = lines.next().unwrap()?;
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    assert!(first.starts_with("CONNECT hub.invalid:80 "), "{first}");
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let mut server = TcpStream::connect(("127.0.0.1", port))?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || std::io::copy(&mut from, &mut to));
    let mut buffer = [0; 4096];
    loop {
        match server.read(&mut buffer)? {
            0 => return client.shutdown(std::net::Shutdown::Both),
            n => client.write_all(&buffer[..n])?,
        }
    }
}

#[test]
fn proxies_are_used_except_for_the_hosts_that_need_none() {
    let setup = Setup::new();
    let (port, count) = proxy(setup.hub.port);
    let pull = |variables: &[(&str, &str)]| {
        let mut command = command(&setup, &["pull", NAME, "-o", "x.ocelli"]);
        command.env("HF_ENDPOINT", "http://hub.invalid").envs(variables.iter().copied());
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let address = format!("http://127.0.0.1:{port}");
    let (code, message) = pull(&[("http_proxy", &address), ("NO_PROXY", "localhost")]);
    assert_eq!(code, Some(0), "{message}");
    assert!(count.load(Ordering::Relaxed) > 5);
    let used = count.load(Ordering::Relaxed);
    let (code, message) = pull(&[("http_proxy", &address), ("NO_PROXY", ".invalid")]);
    assert!(code == Some(1) && message.contains("no such host"), "{message}");
    assert_eq!(count.load(Ordering::Relaxed), used);
    // Its password is not repeated.
    let (code, message) = pull(&[("http_proxy", "http://user:password@[")]);
    assert!(code == Some(1) && message.contains("HTTP_PROXY") && !message.contains("password"), "{message}");
}

/// Whoever waits sees why.
#[test]
fn another_try_is_announced() {
    let setup = Setup::new();
    setup.hub.fault("GET", "/cdn/", 1, Fault::Status(503, "Retry-After: 0"));
    let (code, _, err) = run(&setup, &["pull", NAME]);
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("503") && err.contains("again in 0 s"), "{err}");
    assert!(Path::new(env!("CARGO_BIN_EXE_ocelli-pack")).exists() && !err.contains("Signature"), "{err}");
}
