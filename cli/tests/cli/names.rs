//! Names from outside: nothing in them reaches a terminal as a command, and all can be told apart.

use super::{FULL, example, ocelli, run};
use std::fs;
use std::path::PathBuf;

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/files").join(name)
}

/// Whether a terminal shows all of `text`; line breaks end lines.
fn is_harmless(text: &str) -> bool {
    !text.chars().any(|c| (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}'))
}

/// Class names with ESC, CR and U+202E, from a model file.
#[test]
fn names_in_a_model_are_shown_not_obeyed() {
    let model = file("labels.ocelli");
    let names = ["cat\u{1b}]0;owned\u{7}\u{1b}[2J", "d\rog", "\u{202e}gnp.exe"];
    let text = run(&mut ocelli!["classify", "-m", model, example("cat")]).ok();
    assert!(is_harmless(&text.out) && is_harmless(&text.err), "{:?}", text.out);
    for shown in ["cat\\u{1b}]0;owned\\u{7}\\u{1b}[2J", "d\\u{d}og", "\\u{202e}gnp.exe"] {
        assert!(text.out.contains(shown), "{}", text.out);
    }
    let json = run(&mut ocelli!["classify", "-m", model, example("cat"), "--json"]).ok();
    assert!(is_harmless(&json.out), "{:?}", json.out);
    let report = &json.json()[0];
    let labels: Vec<_> = report["labels"].as_array().unwrap().iter().map(|label| &label["label"]).collect();
    for name in names {
        assert!(labels.contains(&&name.into()), "{labels:?}");
    }
    for args in [&["info"][..], &["info", "--tensors"], &["info", "--json"]] {
        let info = run(super::command().args(args).arg("-m").arg(&model)).ok();
        assert!(is_harmless(&info.out), "{:?}", info.out);
    }
}

#[test]
fn labels_and_paths_are_shown_not_obeyed() {
    let folder = tempfile::tempdir().unwrap();
    let photo = folder.path().join("\u{1b}[31m\u{85}\u{202e}gpj.jpg");
    fs::copy(example("cat"), &photo).unwrap();
    let missing = folder.path().join("\u{1b}[2J\u{9b}2J\r.jpg");
    let bank = folder.path().join("\u{7}.bank");
    let label = "cat\u{1b}[8m";
    let labels = run(&mut ocelli!["labels", "--labels", format!("{label},dog"), "-o", bank]).ok();
    let shown = run(&mut ocelli!["labels", "--bank", bank]).ok();
    assert_eq!(shown.out, "cat\\u{1b}[8m\ndog\n");
    let found = run(&mut ocelli!["classify", photo, missing, "--bank", bank]);
    let twice = run(&mut ocelli!["classify", photo, "--labels", format!("{label},{label}")]).ok();
    let json = run(&mut ocelli!["embed", photo, missing]);
    let model = run(&mut ocelli!["info", "-m", missing]);
    assert_eq!((found.code, json.code, model.code), (Some(1), Some(1), Some(1)));
    for run in [labels, shown, found, twice, json, model] {
        assert!(is_harmless(&run.out) && is_harmless(&run.err), "{:?} {:?}", run.out, run.err);
        assert!(!run.err.contains("panicked"));
    }
}

/// Two names that look the same, as U+FFFD stands for what is not UTF-8.
#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_utf8_can_be_told_apart() {
    use std::os::unix::ffi::OsStrExt;

    let folder = tempfile::tempdir().unwrap();
    let path = |bytes: &[u8]| folder.path().join(std::ffi::OsStr::from_bytes(bytes));
    for name in [&b"x \xe9.jpg"[..], b"x \xe8.jpg", "x é.jpg".as_bytes()] {
        fs::copy(example("cat"), path(name)).unwrap();
    }
    let prefix = folder.path().to_str().unwrap();
    let expected = [Some(format!("{prefix}/x%20%E8.jpg")), Some(format!("{prefix}/x%20%E9.jpg")), None];
    let classified = run(&mut ocelli!["classify", "--json", folder.path()]).ok().json();
    let embedded = run(&mut ocelli!["embed", folder.path()]).ok().json();
    for (lines, key) in [(classified, "image"), (embedded, "input")] {
        let mut bytes: Vec<Option<String>> = lines
            .iter()
            .map(|line| line.get(format!("{key}_bytes")).map(|bytes| bytes.as_str().unwrap().to_owned()))
            .collect();
        // Sorted by their bytes, "é" (C3 A9) is the first.
        bytes.rotate_left(1);
        assert_eq!(bytes, expected);
    }
    let list = folder.path().join("list");
    fs::write(&list, [prefix.as_bytes(), b"/x \xe9.jpg\n"].concat()).unwrap();
    let line = run(&mut ocelli!["classify", "--json", "--files-from", list]).ok().json().remove(0);
    assert_eq!(line["image_bytes"], format!("{prefix}/x%20%E9.jpg"));
    let model = path(b"m\xff.ocelli");
    fs::copy(&*FULL, &model).unwrap();
    let info = run(&mut ocelli!["info", "--json", "-m", model]).ok().json().remove(0);
    assert_eq!(info["model_bytes"], format!("{prefix}/m%FF.ocelli"));
}

/// A small file that asks for too much is shown with its cost, and not run.
#[test]
fn the_cost_is_shown_before_anything_is_run() {
    let model = file("tokens.ocelli");
    let result = run(&mut ocelli!["info", "-m", model, "--json"]).ok();
    result.says(&["tokens.ocelli", "65025 tokens", "OCELLI_MAX_COST"]);
    let info = &result.json()[0];
    assert_eq!(info["cost"]["image"]["tokens"], 65025);
    assert!(info["arena"].is_null() && info["cost"].get("text").is_none(), "{info}");
    let text = run(&mut ocelli!["info", "-m", model]).ok().out;
    assert!(text.contains("cost\n  image\n    tokens: 65025\n"), "{text}");
    run(&mut ocelli!["embed", "-m", model, example("cat")]).fails(&["tokens.ocelli", "OCELLI_MAX_COST"]);

    let info = run(&mut ocelli!["info", "-m", *FULL, "--json"]).ok().json().remove(0);
    let (image, text) = (&info["cost"]["image"], &info["cost"]["text"]);
    let number = |value: &serde_json::Value| value.as_u64().unwrap();
    assert_eq!(number(&text["tokens"]), 77);
    // The estimate is above what is taken, and not far.
    let (estimate, arena) =
        (number(&image["arena_bytes"]) + number(&text["arena_bytes"]), number(&info["arena"]["bytes"]));
    assert!(estimate >= arena && estimate < 2 * arena, "{estimate}, {arena}");
}

/// A long text is quoted by its beginning, and one that is too long is not blamed on the model.
#[test]
fn long_texts_are_not_repeated() {
    let model = FULL.to_str().unwrap();
    let embed = |text: &str| run(&mut ocelli!["embed", "--model", model, "--text", text]);
    let cut = embed(&"word ".repeat(3000)).ok();
    assert!(cut.err.contains("was cut") && cut.err.contains("word word"), "{}", cut.err);
    assert!(cut.err.len() < 300, "{}", cut.err);
    let refused = embed(&"letters ".repeat(3000));
    let (code, err) = (refused.code, refused.err);
    assert!(code == Some(1) && err.contains("letters letters") && err.contains("24000 bytes"), "{err}");
    assert!(err.len() < 300 && !err.contains(model), "{err}");
    // Nor is a template, or a label.
    let template = format!("{} {{}} {{}}", "t".repeat(5000));
    let refused = run(&mut ocelli!["labels", "--model", model, "--labels", "a,b", "--template", template]);
    let (code, err) = (refused.code, refused.err);
    assert!(code == Some(1) && err.contains("ttt") && err.len() < 300, "{err}");
}
