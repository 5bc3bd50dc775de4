//! Models that can't be used, and what `ocelli info` and `ocelli profile` say of those that can.

use super::{FULL, VISION, example, ocelli, run};
use ocelli_kernels::Isa;
use serde_json::Value;
use std::fs;

#[test]
fn unusable_models_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let good = fs::read(&*VISION).unwrap();
    for (name, bytes, problem) in [
        ("empty.ocelli", &[][..], "empty file"),
        ("cut.ocelli", &good[..good.len() - 1], "cut off"),
        ("start.ocelli", &good[..50], "cut off"),
        ("photo.ocelli", &fs::read(example("coffee")).unwrap(), "not a packed model"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let said = [path.to_str().unwrap(), problem];
        run(&mut ocelli!["classify", example("cat"), "--labels", "cat", "--model", path]).fails(&said);
    }
    let said = [folder.path().to_str().unwrap(), "not a file"];
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
    let buffers = info["arena"]["buffers"].as_object().unwrap();
    let sum: u64 = buffers.values().map(|bytes| bytes.as_u64().unwrap()).sum();
    assert!(sum > 0 && info["arena"]["bytes"].as_u64().unwrap() > 0, "{}", info["arena"]);
    for knob in ocelli::knobs::ALL {
        assert_eq!(info["environment"][knob.name]["value"], Value::Null, "{}", knob.name);
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
    for part in ["model: demo", "arena\n", "OCELLI_THREADS\n", "kernels\n"] {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

#[test]
fn profile_times_and_embeds_given_pixels() {
    let folder = tempfile::tempdir().unwrap();
    let (pixels, out) = (folder.path().join("pixels.f32"), folder.path().join("embeddings.f32"));
    let image_len = 3 * 64 * 64;
    let values = (0..3 * image_len).flat_map(|i| ((i * 29 % 201) as f32 / 100.0 - 1.0).to_le_bytes());
    fs::write(&pixels, values.collect::<Vec<u8>>()).unwrap();
    let profile = |threads: &str| {
        let mut command = ocelli!["profile", "-m", *FULL, "--iters", "2", "--json", "-t", threads];
        let result = run(command.arg("--pixels").arg(&pixels).arg("--embeddings-out").arg(&out)).ok();
        assert!(result.out.starts_with("{\"ms\":[") && result.err.is_empty(), "{}", result.out);
        let report = result.json().remove(0);
        assert_eq!(result.out.lines().count(), 1);
        assert_eq!(report["ms"].as_array().unwrap().len(), 2);
        assert!(report["load_ms"].as_f64().unwrap() > 0.0);
        assert_eq!(report["threads"], threads.parse::<u32>().unwrap());
        assert!(!report["kernels"].as_str().unwrap().is_empty());
        if cfg!(target_os = "linux") {
            assert!(report["rss_mb"].as_f64().unwrap() > 1.0, "{}", report["rss_mb"]);
        }
        let names: Vec<_> = report["ops"].as_array().unwrap().iter().map(|op| op["op"].clone()).collect();
        assert!(names.contains(&"qkv".into()) && names.contains(&"attention".into()), "{names:?}");
        fs::read(&out).unwrap()
    };
    let embeddings = profile("1");
    assert_eq!(embeddings.len(), 3 * 32 * 4);
    assert_ne!(embeddings[..128], embeddings[128..256]);
    assert_eq!(embeddings, profile("3"));

    let text = run(&mut ocelli!["profile", "-m", *VISION, "--iters", "1"]).ok().out;
    assert!(text.contains("p50") && text.lines().any(|line| line.starts_with("fc1 ")), "{text}");

    fs::write(&pixels, f32::INFINITY.to_le_bytes().repeat(image_len)).unwrap();
    run(&mut ocelli!["profile", "-m", *VISION, "--pixels", pixels]).fails(&["pixels.f32", "value 0 is inf"]);
    fs::write(&pixels, [0; 1000]).unwrap();
    run(&mut ocelli!["profile", "--pixels", pixels]).fails(&["pixels.f32", "1000 bytes", "whole number"]);
    let missing = folder.path().join("missing/out.f32");
    run(&mut ocelli!["profile", "--iters", "1", "--embeddings-out", missing]).fails(&["missing/out.f32"]);
}
