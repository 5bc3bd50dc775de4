//! Models that can't be used, and what `ocelli info` says of those that can.

use super::{FULL, VISION, example, ocelli, run};
use ocelli_kernels::Isa;
use serde_json::Value;
use std::fs;
use std::path::Path;

#[test]
fn unusable_models_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let good = fs::read(&*VISION).unwrap();
    let checkpoint = fs::read(ocelli_tests::fixtures().join("clip-hf/model.safetensors")).unwrap();
    for (name, bytes, problem) in [
        ("empty.ocelli", &[][..], "empty file"),
        ("cut.ocelli", &good[..good.len() - 1], "cut off"),
        ("start.ocelli", &good[..50], "cut off"),
        ("photo.ocelli", &fs::read(example("coffee")).unwrap(), "not a packed model"),
        ("lfs.ocelli", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        ("page.ocelli", b"<!DOCTYPE html><html></html>", "web page"),
        ("clip.ocelli", &checkpoint, "ocelli-pack convert"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let said = [path.to_str().unwrap(), problem];
        run(&mut ocelli!["classify", example("cat"), "--labels", "cat", "--model", path]).fails(&said);
    }
    let said = [folder.path().to_str().unwrap(), "a folder", "ocelli-pack convert"];
    run(&mut ocelli!["info", "-m", folder.path()]).fails(&said);
    let missing = folder.path().join("missing.ocelli");
    run(&mut ocelli!["info", "-m", missing]).fails(&["missing.ocelli", "cannot open the model"]);
}

#[test]
fn a_flipped_bit_in_a_weight_is_noticed_unless_the_check_is_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("worn sd card.ocelli");
    let mut bytes = fs::read(&*VISION).unwrap();
    // The last tensor is the projection, in f32: this is the lowest byte of a mantissa.
    let at = bytes.len() - 400;
    bytes[at] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let embed = |verify: &str| {
        run(ocelli!["embed", "-m", path, "--image", example("cat")].env("OCELLI_VERIFY", verify))
    };
    for verify in ["", "1"] {
        embed(verify).fails(&["worn sd card.ocelli", "vision.project.weight", "damaged", "copy it again"]);
    }
    assert_eq!(embed("0").ok().json().len(), 1);
    embed("no").fails(&["OCELLI_VERIFY=no", "0 or 1"]);
    // Even unchecked, damage that leaves nothing to compare is no result.
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    embed("0").fails(&["cat.jpg", "no numbers", "ocelli-pack verify"]);
}

/// Stacks that no address space has room for: every thread is refused, whoever the user is.
#[test]
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn a_system_without_threads_to_spare_is_an_error() {
    let mut embed = ocelli!["embed", "-m", *VISION, "--image", example("cat")];
    embed.env("RUST_MIN_STACK", (1u64 << 60).to_string());
    // The weights are checked without a second thread; then the team can't do with one less than it was asked for.
    run(embed.args(["--threads", "2"])).fails(&["start a thread"]);
    embed = ocelli!["embed", "-m", *VISION, "--image", example("cat"), "--threads", "1"];
    run(embed.env("RUST_MIN_STACK", (1u64 << 60).to_string())).ok();
}

#[test]
fn info_shows_the_model_and_this_machine() {
    let result = run(&mut ocelli!["info", "--json", "-m", *FULL]).ok();
    assert_eq!((result.out.lines().count(), result.err.as_str()), (1, ""));
    let info = &result.json()[0];
    assert_eq!(info["bytes"], fs::metadata(&*FULL).unwrap().len());
    assert_eq!(info["architecture"]["vision"]["image"], "64x64");
    assert_eq!(info["architecture"]["vision"]["activation"], "quick_gelu");
    assert_eq!(info["architecture"]["text"]["context"], 77);
    assert_eq!(info["preprocessing"]["filter"], "bicubic");
    assert_eq!(info["cpu"]["features"], Isa::available().to_string());
    assert_eq!(info["cpu"]["used"], Isa::detect().to_string());
    assert!(info["cpu"]["cores"].is_string(), "{}", info["cpu"]);
    let buffers = info["arena"]["buffers"].as_object().unwrap();
    let sum: u64 = buffers.values().map(|bytes| bytes.as_u64().unwrap()).sum();
    assert!(sum > 0 && info["arena"]["bytes"].as_u64().unwrap() > 0, "{}", info["arena"]);
    for knob in ocelli::knobs::ALL {
        let set = (knob.name == ocelli::knobs::MODEL.name).then(ocelli_tests::cifar10);
        assert_eq!(info["environment"][knob.name]["value"].as_str(), set.as_deref().and_then(Path::to_str));
    }
    // A vision-only file has the same checkpoint and another model id; the knob shows.
    let vision = run(ocelli!["info", "--json", "-m", *VISION].env("OCELLI_ISA", "scalar")).ok();
    let vision = &vision.json()[0];
    assert_eq!(vision["checkpoint_id"], info["checkpoint_id"]);
    assert_ne!(vision["model_id"], info["model_id"]);
    assert_eq!(vision["architecture"]["text"], Value::Null);
    assert_eq!(vision["cpu"]["used"], "scalar");
    assert_eq!(vision["environment"]["OCELLI_ISA"]["value"], "scalar");
    let text = run(&mut ocelli!["info"]).ok().out;
    for part in ["cifar10.ocelli", "arena\n", "OCELLI_THREADS\n", "kernels\n"] {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}
