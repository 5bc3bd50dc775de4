//! `ocelli classify` and `ocelli embed` on good input.

use super::{EXAMPLES, FULL, SIGLIP, VISION, example, ocelli, run};
use ocelli_tests::{Expected, cosine, fixtures};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

/// The labels of every image: what must not depend on threads or on where the labels come from.
fn labels(command: &mut Command) -> Vec<Value> {
    run(command).ok().json().into_iter().map(|mut object| object["labels"].take()).collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn vector(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|value| number(value) as f32).collect()
}

fn length(x: &[f32]) -> f64 {
    x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_default_model_knows_its_example_photos() {
    let result = run(ocelli!["classify", "--json", "--top-k", "10"].args(EXAMPLES.map(example))).ok();
    assert_eq!(result.err, "");
    let objects = result.json();
    assert_eq!(objects.len(), EXAMPLES.len());
    for (object, name) in objects.iter().zip(EXAMPLES) {
        assert_eq!(keys(object), ["image", "labels", "model", "ms"]);
        assert_eq!(object["image"], example(name).to_str().unwrap());
        assert_eq!(object["model"], ocelli_tests::cifar10().to_str().unwrap());

        let labels = object["labels"].as_array().unwrap();
        let distinct: BTreeSet<_> = labels.iter().map(|label| label["label"].as_str().unwrap()).collect();
        assert_eq!((labels.len(), distinct.len()), (10, 10));
        assert_eq!(labels[0]["label"], name, "{labels:?}");
        let scores: Vec<f64> = labels.iter().map(|label| number(&label["score"])).collect();
        assert!(scores[0] > 0.3 && scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
        assert!((scores.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{scores:?}");
        for label in labels {
            assert_eq!(keys(label), ["label", "score", "similarity"]);
            assert!(number(&label["similarity"]).abs() <= 1.0 + 1e-6, "{label}");
        }

        let ms = &object["ms"];
        assert_eq!(keys(ms), ["decode", "preprocess", "encode", "total"]);
        let parts: f64 = ["decode", "preprocess", "encode"].iter().map(|part| number(&ms[part])).sum();
        // Each is rounded to a microsecond.
        assert!(parts > 0.0 && parts < number(&ms["total"]) + 0.003, "{ms}");
    }
}

#[test]
fn people_get_a_line_per_label_and_fast_resizing_finds_the_same() {
    let command = &mut ocelli!["classify", "--top-k", "2", "--resize", "fast"];
    let out = run(command.args(EXAMPLES.map(example))).ok().out;
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 3 * EXAMPLES.len(), "{out}");
    for (lines, name) in lines.chunks(3).zip(EXAMPLES) {
        assert!(lines[0].starts_with(example(name).to_str().unwrap()), "{out}");
        assert!(lines[1].contains(" %  ") && lines[1].ends_with(&format!("  {name}")), "{out}");
    }
}

#[test]
fn the_number_of_threads_does_not_show() {
    let classify = |threads: &str| {
        let mut command = ocelli!["classify", "--json"];
        command.args(EXAMPLES.map(example)).env("OCELLI_THREADS", threads);
        command
    };
    let one = labels(&mut classify("1"));
    assert_eq!(one, labels(&mut classify("3")));
    // The option overrides the variable.
    assert_eq!(one, labels(classify("3").args(["--threads", "2"])));
    let info = run(ocelli!["info", "--json", "--threads", "2"].env("OCELLI_THREADS", "3")).ok();
    assert_eq!(info.json()[0]["cpu"]["threads"], 2);
}

#[test]
fn labels_are_the_same_from_the_command_line_a_file_and_a_bank() {
    let folder = tempfile::tempdir().unwrap();
    let (file, bank) = (folder.path().join("labels.txt"), folder.path().join("my labels.bank"));
    fs::write(&file, "\u{feff}a cat\r\n\n  a ship \r\na naïve 🐸\n").unwrap();
    let list = "a cat, a ship,a naïve 🐸";
    let made = run(&mut ocelli!["labels", "--labels", list, "-o", bank]).ok();
    assert_eq!(made.out, "");
    made.says(&["my labels.bank", "3 labels"]);

    let photos = [example("cat"), example("ship")];
    let classify = |option: &str, value: &std::ffi::OsStr| {
        labels(ocelli!["classify", "--json", option, value].args(&photos))
    };
    let given = classify("--labels", list.as_ref());
    assert_eq!((&given[0][0]["label"], &given[1][0]["label"]), (&"a cat".into(), &"a ship".into()));
    assert_eq!(given, classify("--labels-file", file.as_os_str()));
    assert_eq!(given, classify("--bank", bank.as_os_str()));
}

#[test]
fn several_templates_are_averaged() {
    let templates = ["a photo of a {}", "a blurry {}, far away"];
    let names = ["cat", "frog"];
    let mut embed = ocelli!["embed", "--image", example("frog")];
    for name in names {
        for template in templates {
            embed.args(["--text", &template.replace("{}", name)]);
        }
    }
    let objects = run(&mut embed).ok().json();
    let kinds: Vec<_> = objects.iter().map(|object| object["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["image", "text", "text", "text", "text"]);
    assert_eq!(objects[3]["input"], "a photo of a frog");
    let embeddings: Vec<Vec<f32>> = objects.iter().map(|object| vector(&object["embedding"])).collect();
    for (object, embedding) in objects.iter().zip(&embeddings) {
        assert_eq!(keys(object), ["kind", "input", "dim", "embedding"]);
        assert_eq!(object["dim"], embedding.len());
        assert!((length(embedding) - 1.0).abs() < 1e-6, "{}", length(embedding));
    }
    let scale =
        number(&run(&mut ocelli!["info", "--json"]).ok().json()[0]["architecture"]["score"]["logit_scale"]);
    let similarity = |name: usize| {
        let (a, b) = (&embeddings[1 + 2 * name], &embeddings[2 + 2 * name]);
        let mean: Vec<f32> = a.iter().zip(b).map(|(a, b)| a + b).collect();
        cosine(&embeddings[0], &mean)
    };
    let exp = [0, 1].map(|name| (scale * similarity(name)).exp());

    let mut classify = ocelli!["classify", example("frog"), "--json", "--labels", names.join(",")];
    for template in templates {
        classify.args(["--template", template]);
    }
    let found = labels(&mut classify);
    for label in found[0].as_array().unwrap() {
        let name = names.iter().position(|name| label["label"] == *name).unwrap();
        let difference = number(&label["similarity"]) - similarity(name);
        assert!(difference.abs() < 1e-6, "{label}: off by {difference}");
        let difference = number(&label["score"]) - exp[name] / (exp[0] + exp[1]);
        assert!(difference.abs() < 1e-4, "{label}: off by {difference}");
    }
}

/// What a model carries was made by the same steps, perhaps on another CPU: near, not bit-equal.
#[test]
fn a_models_own_labels_are_those_of_its_own_templates() {
    let shown = run(&mut ocelli!["labels"]).ok();
    assert_eq!(shown.out.lines().count(), 10, "{}", shown.out);
    let templates: Vec<&str> = shown.err.lines().map(|line| line.split('"').nth(1).unwrap()).collect();
    assert!(
        !templates.is_empty() && templates.iter().all(|template| template.contains("{}")),
        "{}",
        shown.err
    );
    let own = labels(&mut ocelli!["classify", "--json", example("horse"), "-k", "3"]);
    let mut command = ocelli!["classify", "--json", example("horse"), "-k", "3"];
    for template in &templates {
        command.args(["--template", *template]);
    }
    let again = labels(&mut command);
    assert_eq!(own[0].as_array().unwrap().len(), 3);
    for (own, again) in own[0].as_array().unwrap().iter().zip(again[0].as_array().unwrap()) {
        assert_eq!(own["label"], again["label"]);
        let difference = number(&own["similarity"]) - number(&again["similarity"]);
        assert!(difference.abs() < 1e-3, "{own} {again}");
    }
}

#[test]
fn raw_embeddings_are_not_normalised_and_long_texts_are_cut_with_a_warning() {
    let text = "long ".repeat(100);
    let raw =
        run(&mut ocelli!["embed", "-m", *FULL, "--raw", "--image", example("coffee"), "--text", text]).ok();
    raw.says(&["warning", "77 tokens", "cut"]);
    let plain =
        run(&mut ocelli!["embed", "-m", *FULL, "--json", "--image", example("coffee"), "--text", text]).ok();
    for (raw, plain) in raw.json().iter().zip(plain.json()) {
        let (raw, plain) = (vector(&raw["embedding"]), vector(&plain["embedding"]));
        assert!((length(&raw) - 1.0).abs() > 1e-3 && (length(&plain) - 1.0).abs() < 1e-6);
        assert!(cosine(&raw, &plain) > 0.999_999);
    }
    run(&mut ocelli!["embed", "-m", *VISION, "--text", "a cat"]).fails(&[
        "cli-vision.ocelli",
        "no text tower",
        "label bank",
    ]);
}

/// The texts of the fixture as labels: each has the probability that transformers gives it, alone or among others.
#[test]
fn a_siglip_judges_each_label_for_itself() {
    let meta = fs::read(fixtures().join("siglip-hf/meta.json")).unwrap();
    let meta: Value = serde_json::from_slice(&meta).unwrap();
    let texts: Vec<&str> =
        meta["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    let expected = Expected::of("siglip-hf").f32("probs");
    let image = fixtures().join("images/portrait.png");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("labels.txt");
    // One of the texts is empty, which no label may be.
    fs::write(&file, texts.join("\n")).unwrap();
    let start = ["--json", "-k", "9", "--template", "{}"];
    let results = labels(
        ocelli!["classify"].args(start).arg("-m").arg(&*SIGLIP).arg("--labels-file").arg(&file).arg(&image),
    );
    let labels = results[0].as_array().unwrap();
    assert_eq!(labels.len(), texts.len() - 1);
    for label in labels {
        let at = texts.iter().position(|text| text.trim() == label["label"].as_str().unwrap()).unwrap();
        let off = number(&label["score"]) - f64::from(expected[at]);
        assert!(off.abs() < 2e-3, "{label}: expected {}", expected[at]);
    }
    let scores: Vec<f64> = labels.iter().map(|label| number(&label["score"])).collect();
    assert!(
        scores.is_sorted_by(|a, b| a >= b) && (scores.iter().sum::<f64>() - 1.0).abs() > 0.01,
        "{scores:?}"
    );

    let alone = run(ocelli!["classify", "--labels", "a dog,a dog"].arg("-m").arg(&*SIGLIP).arg(&image)).ok();
    assert!(alone.out.contains("each label for itself"), "{}", alone.out);
    alone.says(&["\"a dog\" is given twice\n"]);
}
