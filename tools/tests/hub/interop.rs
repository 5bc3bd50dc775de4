//! The same cache, the same hub: the Python library huggingface_hub. Skipped where it is not installed.

use crate::command::{at_home, command};
use crate::server::{Repository, sha256};
use crate::{NAME, Setup, fixture};
use std::fs;
use std::process::{Command, Output};

/// Python with huggingface_hub: `OCELLI_PYTHON`, or `python3`.
fn python() -> Option<String> {
    let python = std::env::var("OCELLI_PYTHON").unwrap_or_else(|_| "python3".into());
    let version = "import huggingface_hub; print(huggingface_hub.__version__)";
    match Command::new(&python).args(["-c", version]).output() {
        Ok(output) if output.status.success() => {
            println!("huggingface_hub {}", String::from_utf8_lossy(&output.stdout).trim());
            Some(python)
        }
        _ => {
            println!("skipped: {python} has no huggingface_hub; OCELLI_PYTHON names one that has");
            None
        }
    }
}

fn run_python(setup: &Setup, python: &str, script: &str, token: bool) -> Output {
    let mut command = Command::new(python);
    command.args(["-c", script]);
    at_home(&mut command, setup);
    command.env("HF_HUB_DISABLE_TELEMETRY", "1").env("HF_HUB_DISABLE_XET", "1");
    if token {
        command.env("HF_TOKEN", "hf_secret");
    }
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{err}");
    out.into_owned()
}

#[test]
fn what_python_downloaded_is_converted_offline() {
    let Some(python) = python() else { return };
    for name in ["clip-hf", "siglip2-fixres", "siglip-hf"] {
        let setup = Setup::of(Repository::of(&fixture(name)));
        let script = "from huggingface_hub import snapshot_download; print(snapshot_download('org/clip'))";
        let folder = text(&run_python(&setup, &python, script, true));
        assert!(folder.trim().ends_with(&setup.repository.commit()), "{folder}");
        setup.hub.requests();
        let output = command(&setup, &["pull", NAME]).env("HF_HUB_OFFLINE", "1").output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{message}");
        assert!(message.contains("cached     org/clip/config.json"), "{message}");
        assert!(setup.hub.requests().is_empty());
        // Online nothing but the commit is asked for.
        let output = command(&setup, &["pull", NAME]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(setup.hub.requests().len(), 1);
    }
}

#[test]
fn what_was_pulled_is_found_by_python() {
    let Some(python) = python() else { return };
    let setup = Setup::new();
    let output = command(&setup, &["pull", NAME]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    setup.hub.requests();
    let script = "
import hashlib
from huggingface_hub import hf_hub_download, snapshot_download, scan_cache_dir
folder = snapshot_download('org/clip', local_files_only=True)
weights = hf_hub_download('org/clip', 'model.safetensors', local_files_only=True)
assert weights.startswith(folder), (weights, folder)
print(hashlib.sha256(open(weights, 'rb').read()).hexdigest())
cache = scan_cache_dir()
assert not cache.warnings, cache.warnings
[repository] = cache.repos
assert repository.repo_id == 'org/clip' and repository.refs.keys() == {'main'}, repository
print(len(next(iter(repository.revisions)).files))
";
    let found = text(&run_python(&setup, &python, script, false));
    assert_eq!(found, format!("{}\n5\n", sha256(setup.weights())));
    assert!(setup.hub.requests().is_empty());
    // Online it asks for what each file is, and downloads none of these again.
    let script = "
from huggingface_hub import hf_hub_download
for name in ['config.json', 'tokenizer.json', 'model.safetensors']:
    hf_hub_download('org/clip', name)
";
    text(&run_python(&setup, &python, script, false));
    let asked = setup.hub.requests();
    assert!(!asked.is_empty() && asked.iter().all(|request| request.method == "HEAD"), "{asked:?}");
}

/// What one of them left half done, and locks that both know.
#[test]
fn both_at_once_end_with_the_same_files() {
    let Some(python) = python() else { return };
    let setup = Setup::new();
    setup.hub.limit(Some(1 << 20));
    let script = "from huggingface_hub import snapshot_download; print(snapshot_download('org/clip'))";
    let own = command(&setup, &["pull", NAME]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let folder = text(&run_python(&setup, &python, script, false));
    let output = own.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (name, bytes) in &setup.repository.files {
        assert_eq!(fs::read(format!("{}/{name}", folder.trim())).unwrap(), *bytes, "{name}");
    }
    let weights = setup.hub.requests().into_iter().filter(|request| request.cdn).count();
    assert_eq!(weights, 1, "the weights were downloaded more than once");
}
