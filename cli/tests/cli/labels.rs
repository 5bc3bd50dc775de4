//! Lists of labels and label banks: what fits, what is refused, and what is said.

use super::{FULL, VISION, example, ocelli, run};
use std::fs;

#[test]
fn a_bank_serves_every_file_of_its_checkpoint_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let bank = folder.path().join("pets.bank");
    run(&mut ocelli!["labels", "-m", *FULL, "--labels", "cat,dog", "-o", bank]).ok();

    // Made with the int8 model, used with the f32 one that has no text tower.
    let result = run(&mut ocelli!["classify", "-m", *VISION, example("cat"), "--bank", bank, "--json"]).ok();
    let object = &result.json()[0];
    assert_eq!(object["labels"].as_array().unwrap().len(), 2);
    assert_eq!(object["model"], VISION.to_str().unwrap());

    // The default model is another checkpoint.
    run(&mut ocelli!["classify", example("cat"), "--bank", bank]).fails(&[
        "pets.bank",
        "made with another model",
        "make it again",
    ]);
    // A bank can be looked into whatever it fits.
    let shown = run(&mut ocelli!["labels", "--bank", bank]).ok();
    assert_eq!((shown.out.as_str(), shown.err.contains("\"a photo of a {}\"")), ("cat\ndog\n", true));
    let shown = run(&mut ocelli!["labels", "--bank", bank, "--json"]).ok();
    assert_eq!(shown.out, "{\"index\":0,\"label\":\"cat\"}\n{\"index\":1,\"label\":\"dog\"}\n");

    let good = fs::read(&bank).unwrap();
    let mut flipped = good.clone();
    flipped[200] ^= 1;
    for (name, bytes, problem) in [
        ("flipped", &flipped[..], "damaged"),
        ("cut", &good[..good.len() - 1], "damaged"),
        ("empty", &[], "cut off"),
        ("photo", &fs::read(example("cat")).unwrap(), "not a label bank"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let said = [path.to_str().unwrap(), problem, "ocelli labels"];
        run(&mut ocelli!["classify", "-m", *VISION, example("cat"), "--bank", path]).fails(&said);
    }
    for path in [folder.path().join("missing.bank"), folder.path().to_path_buf()] {
        let said = [path.to_str().unwrap(), "cannot read the label bank"];
        run(&mut ocelli!["labels", "--bank", path]).fails(&said);
    }
}

#[test]
fn the_default_models_own_labels_become_a_bank() {
    let folder = tempfile::tempdir().unwrap();
    let bank = folder.path().join("own.bank");
    run(&mut ocelli!["labels", "-o", bank]).ok();
    let classify = |command: &mut std::process::Command| {
        run(command).ok().json().into_iter().map(|mut object| object["labels"].take()).collect::<Vec<_>>()
    };
    assert_eq!(
        classify(&mut ocelli!["classify", "--json", example("cat"), "--bank", bank]),
        classify(&mut ocelli!["classify", "--json", example("cat")]),
    );
}

#[test]
fn a_model_without_text_tower_or_labels_says_what_to_do() {
    let model = VISION.to_str().unwrap();
    run(&mut ocelli!["classify", "-m", model, example("cat"), "--labels", "cat,dog"]).fails(&[
        model,
        "no text tower",
        "ocelli labels",
        "--vision-only",
    ]);
    run(&mut ocelli!["classify", "-m", model, example("cat")]).fails(&[model, "no labels", "--bank"]);
    run(&mut ocelli!["labels", "-m", model]).fails(&[model, "no labels", "--labels"]);
}

#[test]
fn unusable_lists_of_labels_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes, parts) in [
        ("latin1.txt", &b"cat\ndog\nna\xefve\n"[..], &["line 3", "UTF-8"][..]),
        ("blank.txt", b"\n  \r\n", &["no labels", "one per line"]),
        ("empty.txt", b"", &["no labels", "one per line"]),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let said = [&[path.to_str().unwrap()], parts].concat();
        run(&mut ocelli!["classify", example("cat"), "--labels-file", path]).fails(&said);
    }
    for path in [folder.path().join("missing.txt"), folder.path().to_path_buf()] {
        let said = [path.to_str().unwrap(), "cannot read the labels"];
        run(&mut ocelli!["labels", "--labels-file", path]).fails(&said);
    }
    run(&mut ocelli!["labels", "--labels", ""]).fails(&["--labels", "empty"]);
    run(&mut ocelli!["labels", "--labels", "cat,,dog"]).fails(&["label 2", "empty", "comma"]);
    run(&mut ocelli!["labels", "--labels", "cat", "--template", "a photo"]).fails(&["\"a photo\"", "{}"]);
}

#[test]
fn long_and_repeated_labels_work_with_a_warning() {
    let long = "very ".repeat(90) + "long";
    let list = format!("cat,{long},cat");
    let result = run(&mut ocelli!["classify", example("cat"), "--json", "--labels", list]).ok();
    result.says(&["warning: label \"cat\" is given twice", "warning: label \"very very", "77 tokens", "cut"]);
    let object = &result.json()[0];
    let labels: Vec<_> = object["labels"].as_array().unwrap().iter().collect();
    assert_eq!(labels.len(), 3);
    let score = |i: usize| labels[i]["score"].as_f64().unwrap();
    // The two cats are equal and in front.
    assert_eq!((&labels[0]["label"], &labels[1]["label"]), (&"cat".into(), &"cat".into()));
    assert!(score(0) == score(1) && score(2) > 0.0, "{object}");
}

#[test]
fn what_labels_prints_is_a_list_of_labels() {
    let folder = tempfile::tempdir().unwrap();
    let (list, bank) = (folder.path().join("labels.txt"), folder.path().join("x.bank"));
    let given = "a dog,\"red, white and blue\", \"say \"\"hi\"\"\",# naïve 🐸,👩\u{200d}🚀";
    run(&mut ocelli!["labels", "--labels", given, "--template", "my {}", "-o", bank]).ok();
    let shown = run(&mut ocelli!["labels", "--list", bank]).ok();
    assert_eq!(shown.out, "a dog\nred, white and blue\nsay \"hi\"\n# naïve 🐸\n👩\u{200d}🚀\n");
    shown.says(&["\"my {}\""]);
    fs::write(&list, &shown.out).unwrap();
    let again = run(&mut ocelli!["labels", "--labels-file", list, "--template", "my {}"]).ok();
    assert_eq!(again.out, shown.out);
    for unfinished in ["a,\"b", "\"a\"b,c"] {
        run(&mut ocelli!["labels", "--labels", unfinished]).fails(&["labels: the quote"]);
    }
}

/// More labels than are embedded at a time: the bank is the same as from one label after the other.
#[test]
fn many_labels_are_embedded_in_their_order() {
    let names: Vec<String> = (0..21).map(|i| format!("thing {i}")).collect();
    let classify = |names: &[String]| {
        let list = names.join(",");
        let mut command = ocelli!["classify", example("cat"), "--json", "-k", "21", "--labels", list];
        run(&mut command).ok().json().remove(0)["labels"].take()
    };
    let reversed: Vec<String> = names.iter().rev().cloned().collect();
    let (one, other) = (classify(&names), classify(&reversed));
    assert_eq!(one.as_array().unwrap().len(), 21);
    for label in one.as_array().unwrap() {
        let same = other.as_array().unwrap().iter().find(|other| other["label"] == label["label"]).unwrap();
        assert_eq!(label["similarity"], same["similarity"]);
    }
}
