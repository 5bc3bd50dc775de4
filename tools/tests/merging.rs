//! `--merge-tokens`: schedules that are given, and one that is searched for by measure.

use ocelli::Model;
use ocelli::format::Merging;
use ocelli_tools::quant::{MergeTokens, QuantizeOptions};
use ocelli_tools::{ConvertOptions, Precision, Report, Result, convert};
use std::path::{Path, PathBuf};
use std::process::Command;

fn fixture(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures")).join(name)
}

/// Searches a schedule for the CLIP of the fixtures that keeps `target` on a few small photographs.
fn search(folder: &Path, target: f64, allow_below_target: bool) -> (Result<Report>, PathBuf) {
    let output = folder.join(format!("{target}.ocelli"));
    let mut options = ConvertOptions::new(fixture("clip-hf"), &output, Precision::Fp32);
    options.quantize = Some(QuantizeOptions {
        pictures: Some(fixture("cifar10")),
        images: 24,
        target: Some(target),
        repairs: Vec::new(),
        merge: Some(MergeTokens::Auto),
        allow_below_target,
        ..QuantizeOptions::default()
    });
    (convert(&options), output)
}

#[test]
fn a_search_keeps_its_target_and_saves_the_more_the_lower_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut times = vec![1.0];
    for target in [0.999, 0.99, 0.9] {
        let (report, output) = search(folder.path(), target, false);
        let promise = report.unwrap().accuracy.unwrap();
        let cosine = promise.image_cosine.unwrap().mean;
        assert!(promise.holds && cosine >= target, "{cosine} for {target}");
        let Some(merged) = promise.merging else {
            times.push(1.0);
            continue;
        };
        assert!(merged.cosine_without.unwrap() > 0.9999, "fp32 without merging is exact");
        assert!(cosine < 0.99999, "the cosine is that of merged tokens");
        // The file does what the promise says.
        let model = Model::open(&output).unwrap();
        let stored = Merging::of(&model.config().vision.tower);
        assert_eq!((stored.most, stored.first, stored.power), (merged.most, merged.first, merged.power));
        assert_eq!(merged.tokens[0], 17);
        assert!(merged.tokens.is_sorted_by(|a, b| a >= b) && merged.tokens[3] < 17, "{:?}", merged.tokens);
        times.push(merged.predicted_time);
    }
    assert!(times.is_sorted_by(|a, b| a >= b) && times[3] < 0.9, "{times:?}");
}

#[test]
fn nothing_is_merged_where_the_target_allows_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (report, output) = search(folder.path(), 1.0, true);
    assert_eq!(report.unwrap().accuracy.unwrap().merging, None);
    assert!(Merging::of(&Model::open(&output).unwrap().config().vision.tower).is_none());
}

#[test]
fn the_command_stores_a_schedule_and_says_what_is_wrong_with_one() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("merged.ocelli");
    let (checkpoint, path) = (fixture("dinov2-hf"), output.to_str().unwrap());
    let arch = std::env::consts::ARCH.to_uppercase();
    let runner = std::env::var(format!("CARGO_TARGET_{arch}_UNKNOWN_LINUX_GNU_RUNNER")).unwrap_or_default();
    let words: Vec<&str> = runner.split_whitespace().chain([env!("CARGO_BIN_EXE_ocelli-pack")]).collect();
    let pack = |args: &[&str]| {
        let output = Command::new(words[0]).args(&words[1..]).args(args).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    let with =
        |value: &str| pack(&["convert", checkpoint.to_str().unwrap(), "-o", path, "--merge-tokens", value]);
    for (value, code, words) in [
        ("9:0:4", 2, "the power, is 0 to 3"),
        ("9:0:1:2", 2, "at most three numbers"),
        ("all", 2, "auto, or whole numbers"),
        ("13", 1, "at most half of its 25 patches"),
        ("auto", 1, "--calibrate DIR"),
    ] {
        let (status, said) = with(value);
        assert_eq!(status, Some(code), "{value}: {said}");
        assert!(said.contains(words) && !output.exists(), "{value}: {said}");
    }
    assert_eq!(with("9").0, Some(0));
    let (status, said) = pack(&["inspect", path]);
    assert_eq!(status, Some(0));
    assert!(said.lines().any(|line| line.contains("merge_tokens.most") && line.ends_with('9')), "{said}");
}
