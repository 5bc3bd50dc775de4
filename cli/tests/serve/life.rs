//! How a server starts, and what happens to it.

use crate::http::{connect, finish, head};
use crate::{CLIP, SIGLIP, Server, command, embed, example, floats, photo, same, until};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Output, Stdio};

fn serve(arguments: &[&str]) -> Output {
    let listen = if arguments.contains(&"--listen") { &[][..] } else { &["--listen", "127.0.0.1:0"] };
    command().arg("serve").args(listen).args(arguments).output().unwrap()
}

/// Asserts that the server does not start, and says why.
#[track_caller]
fn refuses(arguments: &[&str], code: i32, parts: &[&str]) {
    let output = serve(arguments);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(code), &b""[..]), "{message}");
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

#[test]
fn what_cannot_work_is_refused_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (clip, empty) = (CLIP.to_str().unwrap(), folder.path().join("none"));
    std::fs::create_dir(&empty).unwrap();
    refuses(&["--model", "missing.ocelli"], 1, &["missing.ocelli"]);
    refuses(&["--model", &file("text.ocelli", "hello")], 1, &["text.ocelli", "cut off"]);
    refuses(
        &["--model", clip, "--model", &format!("clip-hf-Int8={clip}")],
        1,
        &["two models", "clip-hf-Int8"],
    );
    refuses(&["--models", empty.to_str().unwrap()], 1, &["none", "no .ocelli"]);
    refuses(&["--bank", &file("x.bank", "hello")], 1, &["x.bank"]);
    refuses(&["--api-key-file", &file("keys", "\n# nothing\n")], 1, &["keys", "no key"]);
    refuses(&["--api-key-file", &file("short", "secret\n")], 1, &["short", "16 characters"]);
    refuses(&["--upstream", "https://immich"], 2, &["https"]);
    refuses(&["--cors", "photos.example"], 2, &["--cors"]);
    refuses(&["--listen", "nowhere"], 2, &["nowhere"]);
    for option in
        ["--queue", "--batch", "--decoders", "--connections", "--max-body", "--timeout", "--threads"]
    {
        refuses(&[option, "0"], 2, &[option]);
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let holder = std::net::TcpListener::bind(taken).unwrap();
    refuses(&["--listen", &holder.local_addr().unwrap().to_string()], 1, &["cannot listen"]);
}

#[test]
fn help_tells_of_every_option() {
    let help = String::from_utf8(command().args(["serve", "--help"]).output().unwrap().stdout).unwrap();
    for part in [
        "--upstream <URL>",
        "--api-key-file",
        "--idle-unload",
        "--cors",
        "127.0.0.1:3003",
        "OCELLI_MAX_PIXELS",
    ] {
        assert!(help.contains(part), "{part:?} is not in: {help}");
    }
}

#[test]
fn a_folder_of_models_is_served() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(&*CLIP, folder.path().join("b.ocelli")).unwrap();
    std::fs::copy(&*SIGLIP, folder.path().join("a.ocelli")).unwrap();
    std::fs::write(folder.path().join("notes.txt"), "x").unwrap();
    let named = format!("first={}", folder.path().join("b.ocelli").display());
    let server = Server::new(&["--models", folder.path().to_str().unwrap(), "--model", &named]);
    let models = server.get("/v1/models").ok();
    let names: Vec<&Value> = models["data"].as_array().unwrap().iter().map(|model| &model["id"]).collect();
    assert_eq!(names, ["first", "a"]);
}

#[test]
fn sigterm_finishes_what_runs() {
    let server = Server::clip(&[]);
    let texts: Vec<String> = (0..400).map(|i| format!("text number {i}")).collect();
    let body = json!({ "input": texts }).to_string();
    let mut stream = connect(&server.address);
    stream.write_all(&head(&server.address, "POST", "/v1/embeddings", &[], body.len())).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    until("work", || server.get("/healthz").ok()["queue"]["length"] != 0);
    let address = server.address.clone();
    let idle = connect(&address);
    server.signal("TERM");
    assert_eq!(finish(stream).ok()["data"].as_array().unwrap().len(), 400);
    drop(idle);
    let mut server = server;
    assert!(server.child.wait().unwrap().success());
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn models_are_opened_when_they_are_needed_and_closed_when_idle() {
    let server = Server::clip(&["--idle-unload", "1"]);
    assert_eq!(server.metric("ocelli_models_open"), 0.0);
    for _ in 0..2 {
        server.post("/embed", "image/jpeg", &photo("ship")).ok();
        assert_eq!(server.metric("ocelli_models_open"), 1.0);
        until("a closed model", || server.metric("ocelli_models_open") == 0.0);
    }
    assert!(server.stop().success());
}

#[test]
fn a_file_that_was_replaced_is_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.ocelli");
    let put = |source: &Path| {
        let new = folder.path().join("new");
        std::fs::copy(source, &new).unwrap();
        std::fs::rename(new, &model).unwrap();
    };
    put(&CLIP);
    let server = Server::new(&["--model", model.to_str().unwrap()]);
    let ship = example("ship");
    let of = |model: &Path| embed(&[ship.to_str().unwrap(), "--model", model.to_str().unwrap()]).remove(0);
    let now = || floats(&server.post("/embed", "image/jpeg", &photo("ship")).ok()["embeddings"][0]);
    assert!(same(&now(), &of(&CLIP)));
    // While the old one is open it is the one that is used, though its file has no name any more.
    let other = crate::converted("clip-hf-outliers", ocelli_tools::Precision::Int8);
    put(&other);
    assert!(same(&now(), &of(&CLIP)));
    server.signal("HUP");
    until("the new file", || same(&now(), &of(&other)));
    // A file that is gone is an error, and no end.
    std::fs::remove_file(&model).unwrap();
    server.signal("HUP");
    until("an error", || server.post("/embed", "image/jpeg", &photo("ship")).status == 500);
    put(&CLIP);
    assert!(same(&now(), &of(&CLIP)));
}

#[test]
fn the_start_and_each_request_are_told() {
    let run = |arguments: &[&str]| {
        let mut serve = command();
        serve.args(["serve", "--listen", "127.0.0.1:0"]).args(arguments);
        let mut child = serve.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (Server { address: String::new(), child }, line)
    };
    let log = |mut server: Server| {
        let err = server.child.stderr.take().unwrap();
        server.signal("TERM");
        std::io::read_to_string(err).unwrap()
    };
    let (mut server, line) = run(&[]);
    server.address = line.trim().strip_prefix("http://").unwrap().to_owned();
    server.get("/v1/models?api_key=secret").ok();
    let text = log(server);
    for part in ["models: cifar10", "limits: 32 MB", "127.0.0.1 GET /v1/models 200 ", "stopped"] {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
    assert!(!text.contains("secret"), "{text}");

    let (mut server, line) = run(&["--json"]);
    let start: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(start["models"], json!(["cifar10"]));
    server.address = start["listening"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
    server.get("/x\u{1b}y");
    let text = log(server);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["event"] == "stopped"), "{text}");
}
