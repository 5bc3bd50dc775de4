//! The real clients: Node's `fetch`, and Python's `openai`, `infinity-client`, `inference-sdk` and `schemathesis`. Each is
//! skipped where it is not installed; `scripts/serve-clients.sh` installs those of Python, and names the Python that has
//! them in `OCELLI_CLIENTS_PYTHON`.

use crate::{CLIP, NAME, Server, embed, example};
use std::path::Path;
use std::process::Command;

fn script(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/serve/clients").join(name)
}

/// A Python that has `module`.
fn python(module: &str) -> Option<String> {
    let python = std::env::var("OCELLI_CLIENTS_PYTHON").unwrap_or_else(|_| "python3".into());
    let found = Command::new(&python).args(["-c", &format!("import {module}")]).output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    println!("no {module}: skipped");
    None
}

/// Runs a client against `server`, and asserts that it is content.
#[track_caller]
fn run(command: &mut Command, server: &Server) {
    let ship = example("ship");
    let model = CLIP.to_str().unwrap();
    let expected = embed(&[ship.to_str().unwrap(), "--text", "a cat", "--model", model]);
    let command = command.env("OCELLI_URL", format!("http://{}", server.address)).env("OCELLI_MODEL", NAME);
    command.env("OCELLI_IMAGE", ship).env("OCELLI_TEXT", "a cat");
    command.env("OCELLI_EXPECTED", serde_json::to_string(&expected).unwrap());
    let output = command.output().unwrap();
    let [out, err] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{out}{err}");
}

#[test]
fn node_in_the_shape_of_immichs_server() {
    let asked =
        Command::new("node").args(["-e", "process.exit(typeof fetch === 'function' ? 0 : 1)"]).output();
    if !asked.is_ok_and(|output| output.status.success()) {
        println!("no node with fetch: skipped");
        return;
    }
    run(Command::new("node").arg(script("immich.mjs")), &Server::clip(&[]));
}

#[test]
fn python_clients() {
    for (module, name) in
        [("openai", "openai_client.py"), ("infinity_client", "infinity.py"), ("inference_sdk", "roboflow.py")]
    {
        if let Some(python) = python(module) {
            run(Command::new(python).arg(script(name)), &Server::clip(&[]));
        }
    }
}

/// Frigate's request, as its `llama_cpp.py` makes it with the library `requests`.
#[test]
fn frigates_client() {
    if let Some(python) = python("requests, numpy") {
        run(Command::new(python).arg(script("frigate.py")), &Server::clip(&[]));
    }
}

/// Schemathesis asks everything that `/openapi.json` describes, rightly and wrongly.
#[test]
fn the_description_holds() {
    let Some(python) = python("schemathesis") else { return };
    let server = Server::clip(&[]);
    let mut command = Command::new(python);
    command.args(["-m", "schemathesis.cli", "run"]).arg(format!("http://{}/openapi.json", server.address));
    command.args(["--max-examples", "15", "--seed", "1", "--workers", "1", "--no-color"]);
    // No schema says which bytes are a picture, or which model there is.
    command.args(["--exclude-checks", "positive_data_acceptance"]);
    command.current_dir(env!("CARGO_TARGET_TMPDIR"));
    run(&mut command, &server);
}
