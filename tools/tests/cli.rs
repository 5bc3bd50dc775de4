//! The `ocelli-pack` command: exit codes, streams, and what survives when it is killed or the disk is full.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn fixture(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures")).join(name)
}

/// The command as words. Under an emulator it runs under the same one: that is what Cargo's variable for the target
/// holds.
fn words() -> Vec<String> {
    let arch = std::env::consts::ARCH.to_uppercase();
    let runner = std::env::var(format!("CARGO_TARGET_{arch}_UNKNOWN_LINUX_GNU_RUNNER")).unwrap_or_default();
    runner.split_whitespace().chain([env!("CARGO_BIN_EXE_ocelli-pack")]).map(str::to_owned).collect()
}

fn pack(args: &[&str]) -> Output {
    let words = words();
    Command::new(&words[0]).args(&words[1..]).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn results_go_to_stdout_and_everything_else_to_stderr() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoint, path) = (fixture("clip-hf-gelu-p14"), folder.path().join("model.ocelli"));
    let (checkpoint, path) = (checkpoint.to_str().unwrap(), path.to_str().unwrap());

    let output = pack(&["convert", checkpoint, "-o", path, "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["tensors"].as_array().unwrap().len(), 73);
    assert_eq!(report["ignored"][0]["name"], "text_model.embeddings.position_ids");
    assert_eq!(report["bytes"], fs::metadata(path).unwrap().len());
    let listed = text(&output.stderr);
    assert!(listed.contains("ignored vision_model.embeddings.position_ids: a buffer"), "{listed}");
    assert_eq!(listed.lines().filter(|line| line.starts_with("used ")).count(), 73);

    let output = pack(&["convert", checkpoint, "-o", path, "--precision", "int8w7", "--vision-only"]);
    assert_eq!((output.status.code(), text(&output.stdout).lines().count()), (Some(0), 1));

    let output = pack(&["inspect", path, "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&report["config"]["vision"]["act"], &report["config"]["text"]),
        (&"gelu".into(), &Value::Null)
    );
    assert_eq!(report["provenance"]["precision"], "int8w7");
    assert_eq!(report["provenance"]["files"][0]["name"], "config.json");
    let output = pack(&["inspect", path]);
    assert!(text(&output.stdout).contains("vision.block.0.qkv.weight") && output.stderr.is_empty());

    let output = pack(&["verify", path]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).starts_with("OK ") && text(&output.stdout).contains("32 tensors"));
}

#[test]
fn failures_name_the_file_and_exit_codes_tell_them_from_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.ocelli");
    let name = path.to_str().unwrap();
    pack(&["convert", fixture("clip-hf").to_str().unwrap(), "-o", name, "--vision-only"]);
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 100;
    bytes[last] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let folder_name = folder.path().to_str().unwrap();
    for (args, expected) in [
        (["verify", name], "vision.project.weight"),
        (["verify", folder_name], "not a regular file"),
        (["verify", "/nonexistent/file"], "/nonexistent/file"),
        (["inspect", fixture("clip-hf").join("model.safetensors").to_str().unwrap()], "not a packed model"),
    ] {
        let output = pack(&args);
        let message = text(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{args:?}: {message}");
        assert!(message.contains(args[1]) && message.contains(expected), "{args:?}: {message}");
    }
    for args in [&["convert"][..], &["convert", "x", "-o", "y", "--precision", "int4"], &["frobnicate"], &[]]
    {
        assert_eq!(pack(args).status.code(), Some(2), "{args:?}");
    }
}

/// Runs a conversion under a shell that first sets limits.
#[cfg(unix)]
fn limited(limits: &str, checkpoint: &Path, output: &Path) -> Output {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{limits}; exec \"$@\""), "sh"]).args(words());
    shell.arg("convert").arg(checkpoint).arg("-o").arg(output);
    shell.args(["--vision-only", "--precision", "fp32"]).output().unwrap()
}

/// A file may grow to 100 or 200 KiB (shells count blocks differently); the model has about 900.
#[cfg(unix)]
#[test]
fn a_killed_or_failed_conversion_leaves_the_old_file() {
    use std::os::unix::process::ExitStatusExt;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.ocelli");
    fs::write(&path, "old").unwrap();
    // Without a handler the signal kills the process in the middle of writing.
    let output = limited("ulimit -c 0; ulimit -f 200", &fixture("clip-hf"), &path);
    assert!(output.status.signal().is_some(), "{output:?}");
    assert_eq!(fs::read(&path).unwrap(), b"old");
    // With the signal ignored, the write fails as it does on a full disk.
    let output = limited("trap '' XFSZ; ulimit -f 200", &fixture("clip-hf"), &path);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("model.ocelli") && message.contains("cannot write"), "{message}");
    assert_eq!(fs::read(&path).unwrap(), b"old");
    let output = limited("true", &fixture("clip-hf"), &path);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(fs::metadata(&path).unwrap().len() > 800_000);
}

/// Nothing but the old file is there whenever the process dies.
#[cfg(target_os = "linux")]
#[test]
fn killed_conversions_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.ocelli");
    for (ms, signal) in
        [(0, "KILL"), (3, "TERM"), (6, "KILL"), (10, "INT"), (15, "KILL"), (25, "TERM"), (40, "KILL")]
    {
        fs::write(&path, "old").unwrap();
        let words = words();
        let mut child = Command::new(&words[0]);
        child.args(&words[1..]).args(["--quiet", "convert", "--precision", "auto"]).arg(fixture("clip-hf"));
        let mut child = child.arg("-o").arg(&path).arg("--vision-only").spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(ms));
        Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap();
        child.wait().unwrap();
        let names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["model.ocelli"], "{signal} after {ms} ms");
        let bytes = fs::read(&path).unwrap();
        assert!(bytes == b"old" || ocelli_tools::verify::verify(&path).is_ok());
    }
}

/// The permissions of what is replaced stay; a place that cannot be written to is refused with the reason.
#[cfg(unix)]
#[test]
fn outputs_keep_their_permissions_and_unusable_ones_are_refused() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.ocelli");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let output = limited("umask 022", &fixture("clip-hf"), &path);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    for (path, problem) in
        [(folder.path().to_path_buf(), "is a folder"), (folder.path().join("no/m"), "does not exist")]
    {
        let output = limited("true", &fixture("clip-hf"), &path);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains(path.to_str().unwrap()) && message.contains(problem), "{message}");
    }
}

/// Standard error may be full or closed; of standard output a full disk is a failure, a closed pipe is none.
#[cfg(target_os = "linux")]
#[test]
fn full_and_closed_streams_are_survived() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.ocelli");
    let shell = |redirect: &str, args: &[&str]| {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("\"$@\" {redirect}"), "sh"]).args(words()).args(args).output().unwrap()
    };
    let (checkpoint, path) = (fixture("clip-hf"), path.to_str().unwrap().to_owned());
    let convert = ["convert", checkpoint.to_str().unwrap(), "-o", &path, "--vision-only"];
    for redirect in ["2>/dev/full", "2>&-"] {
        let output = shell(redirect, &convert);
        assert_eq!((output.status.code(), text(&output.stdout).lines().count()), (Some(0), 1), "{redirect}");
        assert_eq!(shell(redirect, &["verify", "/nonexistent"]).status.code(), Some(1), "{redirect}");
        assert_eq!(shell(redirect, &["frobnicate"]).status.code(), Some(2), "{redirect}");
    }
    for args in [&["inspect", &path][..], &["verify", &path], &["--help"], &["--version"]] {
        let output = shell(">/dev/full", args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(text(&output.stderr).contains("cannot write to standard output"), "{output:?}");
        assert_eq!(text(&shell("| true; true", args).stderr), "", "{args:?}");
    }
    let output = shell("2>&1", &["--quiet", "convert", checkpoint.to_str().unwrap(), "-o", &path]);
    assert_eq!(text(&output.stdout).lines().count(), 1);
}

#[test]
fn version_completions_and_manual_pages() {
    assert_eq!(text(&pack(&["--version"]).stdout), concat!("ocelli-pack ", env!("CARGO_PKG_VERSION"), "\n"));
    for shell in ["bash", "fish", "zsh"] {
        assert!(text(&pack(&["completions", shell]).stdout).contains("calibrate"), "{shell}");
    }
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(pack(&["man", folder.path().to_str().unwrap()]).status.code(), Some(0));
    let page = fs::read_to_string(folder.path().join("ocelli-pack-convert.1")).unwrap();
    assert!(page.contains("half precision") && page.contains("image\\-size"), "{page}");
}

/// A device is neither written to nor replaced.
#[cfg(target_os = "linux")]
#[test]
fn devices_are_refused_as_output() {
    use std::os::unix::fs::FileTypeExt;

    let output = limited("true", &fixture("clip-hf"), Path::new("/dev/full"));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/dev/full"), "{}", text(&output.stderr));
    assert!(fs::metadata("/dev/full").unwrap().file_type().is_char_device());
}

/// 200 MB of zeros in a sparse file must convert within 64 MB of address space.
#[cfg(target_os = "linux")]
#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "an emulator needs address space of its own")]
fn memory_does_not_grow_with_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path();
    let mut config: Value =
        serde_json::from_slice(&fs::read(fixture("clip-hf").join("config.json")).unwrap()).unwrap();
    config["vision_config"]["hidden_size"] = 1024.into();
    config["vision_config"]["intermediate_size"] = 4096.into();
    config["vision_config"]["num_attention_heads"] = 16.into();
    config["vision_config"]["num_hidden_layers"] = 4.into();
    fs::write(checkpoint.join("config.json"), config.to_string()).unwrap();
    let preprocess = "preprocessor_config.json";
    fs::copy(fixture("clip-hf").join(preprocess), checkpoint.join(preprocess)).unwrap();

    let mut shapes = vec![
        ("logit_scale".to_string(), vec![]),
        ("visual_projection.weight".into(), vec![32, 1024]),
        ("vision_model.embeddings.class_embedding".into(), vec![1024]),
        ("vision_model.embeddings.patch_embedding.weight".into(), vec![1024, 3, 16, 16]),
        ("vision_model.embeddings.position_embedding.weight".into(), vec![17, 1024]),
    ];
    let mut linear = |name: String, shape: Vec<u64>| {
        shapes.push((format!("vision_model.{name}.bias"), vec![shape[0]]));
        shapes.push((format!("vision_model.{name}.weight"), shape));
    };
    for norm in ["pre_layrnorm", "post_layernorm"] {
        linear(norm.into(), vec![1024]);
    }
    for layer in 0..4 {
        let name = |part: &str| format!("encoder.layers.{layer}.{part}");
        for part in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            linear(name(&format!("self_attn.{part}")), vec![1024, 1024]);
        }
        linear(name("mlp.fc1"), vec![4096, 1024]);
        linear(name("mlp.fc2"), vec![1024, 4096]);
        linear(name("layer_norm1"), vec![1024]);
        linear(name("layer_norm2"), vec![1024]);
    }
    let (mut header, mut end) = (serde_json::Map::new(), 0);
    for (name, shape) in shapes {
        let len = 4 * shape.iter().product::<u64>();
        header.insert(
            name,
            serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [end, end + len]}),
        );
        end += len;
    }
    let header = Value::from(header).to_string();
    let mut start = (header.len() as u64).to_le_bytes().to_vec();
    start.extend(header.as_bytes());
    let weights = checkpoint.join("model.safetensors");
    fs::write(&weights, &start).unwrap();
    fs::OpenOptions::new().write(true).open(&weights).unwrap().set_len(start.len() as u64 + end).unwrap();
    assert!(end > 200_000_000);

    let output = limited("ulimit -v 65536", checkpoint, &checkpoint.join("model.ocelli"));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}
