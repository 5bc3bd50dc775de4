//! Models with classes of their own, other resolutions, tiles and layers.

use super::*;

fn fixture(name: &str) -> String {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli-sizes");
    std::fs::create_dir_all(&directory).unwrap();
    // Tests run at once and conversions are atomic: each may write the same bytes.
    ocelli_tests::packed(&directory, name, Precision::Fp32).display().to_string()
}

/// A run with these arguments.
fn with<'a>(args: impl IntoIterator<Item = &'a str>) -> Run {
    run(command().args(args))
}

fn photo() -> String {
    ocelli_tests::fixtures().join("images/landscape.png").display().to_string()
}

#[test]
fn a_classifier_uses_its_own_classes() {
    for name in ["vit-hf", "timm-vit", "simplevit", "timm-eva02"] {
        let (model, photo) = (fixture(name), photo());
        let run = with(["classify", "--model", model.as_str(), "--json", "-k", "10", photo.as_str()]).ok();
        let labels = run.json()[0]["labels"].as_array().unwrap().clone();
        let expected = ocelli_tests::Expected::of(name).f32("probs");
        assert_eq!(labels.len(), 10);
        let names = ["tench", "goldfish", "great white shark", "tiger shark", "hammerhead shark"];
        let names = names.into_iter().chain(["electric ray", "stingray", "rooster", "hen", "ostrich"]);
        for (class, name) in names.enumerate() {
            let found = labels.iter().find(|label| label["label"] == name).unwrap();
            // From the PNG: a level or two may differ.
            let off = found["score"].as_f64().unwrap() - f64::from(expected[10 + class]);
            assert!(off.abs() < 0.02, "{name}: {found}");
            assert!(found["logit"].is_number() && found.get("similarity").is_none());
        }
        let refused = with(["classify", "--model", model.as_str(), "--labels", "a,b", photo.as_str()]);
        assert!(refused.code == Some(1) && refused.err.contains("classes of its own"), "{}", refused.err);
    }
}

#[test]
fn a_model_without_classes_or_texts_says_so() {
    for name in ["dinov2-hf", "dinov3-hf", "mae-hf"] {
        let model = fixture(name);
        let refused = with(["classify", "--model", model.as_str(), photo().as_str()]);
        assert!(refused.code == Some(1) && refused.err.contains("embeddings only"), "{}", refused.err);
        for command in [&["classify", photo().as_str()][..], &["labels"]] {
            let labels = ["--model", model.as_str(), "--labels", "a cat,a dog"];
            let refused = with(command.iter().copied().chain(labels));
            refused.fails(&[&model, "embeddings only", "no text tower", "ocelli labels --examples"]);
        }
        let run = with(["embed", "--model", model.as_str(), "--image", photo().as_str()]).ok();
        let dim = run.json()[0]["dim"].as_u64().unwrap();
        assert_eq!(dim, if name == "dinov3-hf" { 64 } else { 48 });
    }
}

#[test]
fn every_layer_has_its_shape() {
    let model = fixture("dinov3-hf");
    let embed = |layer: &str| {
        let args = [
            "embed",
            "--model",
            model.as_str(),
            "--image-size",
            "64x96",
            "--layer",
            layer,
            "--raw",
            "--image",
        ];
        with(args.into_iter().chain([photo().as_str()])).ok().json()[0].clone()
    };
    let patch = embed("patch");
    assert_eq!((&patch["grid"], &patch["dim"]), (&serde_json::json!([4, 6]), &serde_json::json!(64)));
    assert_eq!(patch["patches"].as_array().unwrap().len(), 24);
    assert_eq!(patch["patches"][23].as_array().unwrap().len(), 64);
    let (class, pooled, projected) = (embed("cls"), embed("pooled"), embed("projected"));
    assert_eq!(class["embedding"], pooled["embedding"]);
    assert_eq!(pooled["embedding"], projected["embedding"]);
    assert_eq!((&class["layer"], projected.get("layer")), (&serde_json::json!("cls"), None));
    let none = fixture("simplevit");
    let refused = with(["embed", "--model", none.as_str(), "--layer", "cls", "--image", photo().as_str()]);
    assert!(refused.code == Some(1) && refused.err.contains("no class token"), "{}", refused.err);
}

#[test]
fn a_size_given_to_the_converter_or_to_the_session_is_the_same() {
    let (model, photo) = (fixture("vit-hf"), photo());
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli-resized.ocelli");
    let mut options = ConvertOptions::new(ocelli_tests::fixtures().join("vit-hf"), &output, Precision::Fp32);
    options.model.image_size = Some((48, 80));
    convert(&options).unwrap();
    let output = output.display().to_string();
    let at_once = with(["embed", "--model", output.as_str(), "--image", photo.as_str()]).ok();
    let later =
        with(["embed", "--model", model.as_str(), "--image-size", "48x80", "--image", photo.as_str()]).ok();
    let own = with(["embed", "--model", model.as_str(), "--image", photo.as_str()]).ok();
    assert_eq!(at_once.json()[0]["embedding"], later.json()[0]["embedding"]);
    assert_ne!(own.json()[0]["embedding"], later.json()[0]["embedding"]);
    for (size, problem) in [("8x64", "smaller than a patch"), ("9000x9000", "tokens, and the limit")] {
        let refused =
            with(["embed", "--model", model.as_str(), "--image-size", size, "--image", photo.as_str()]);
        assert!(refused.code == Some(1) && refused.err.contains(problem), "{size}: {}", refused.err);
    }
    for size in ["0", "x", "64x", "64x0", "a"] {
        let refused =
            with(["embed", "--model", model.as_str(), "--image-size", size, "--image", photo.as_str()]);
        assert_eq!(refused.code, Some(2), "{size}: {}", refused.err);
    }
}

#[test]
fn tiles_have_boxes_and_average_to_the_embedding() {
    let (model, photo) = (fixture("dinov2-hf"), photo());
    let args = ["embed", "--model", model.as_str(), "--any-res", "2x3", "--tiles", "--image", photo.as_str()];
    let lines = with(args).ok().json();
    let (parts, mean) = lines.split_at(lines.len() - 1);
    assert!(parts.len() > 2 && mean[0].get("box").is_none());
    let number = |value: &Value| value.as_f64().unwrap();
    let image = &parts[0]["box"];
    let area = |part: &Value| number(&part["box"][2]) * number(&part["box"][3]);
    assert_eq!((number(&image[0]), number(&image[1])), (0.0, 0.0));
    assert_eq!(parts[1..].iter().map(area).sum::<f64>(), area(&parts[0]));
    let vector =
        |line: &Value| -> Vec<f64> { line["embedding"].as_array().unwrap().iter().map(number).collect() };
    let mut sum = vec![0.0; 48];
    for part in parts {
        sum.iter_mut().zip(vector(part)).for_each(|(sum, value)| *sum += value);
    }
    let length = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
    for (sum, value) in sum.iter().zip(vector(&mean[0])) {
        assert!((sum / length - value).abs() < 1e-6);
    }
    // A classifier's tiles have scores of their own.
    let classifier = fixture("vit-hf");
    let run =
        with(["classify", "--model", classifier.as_str(), "--any-res", "2", "--json", photo.as_str()]).ok();
    let report = &run.json()[0];
    let scores =
        report["labels"].as_array().unwrap().iter().map(|label| number(&label["score"])).sum::<f64>();
    assert!(scores > 0.5 && scores < 1.000_001);
    for tile in report["tiles"].as_array().unwrap() {
        assert!(tile["box"].as_array().unwrap().len() == 4 && number(&tile["score"]) > 0.1, "{tile}");
    }
    let refused = with(["embed", "--model", model.as_str(), "--tiles", "--image", photo.as_str()]);
    assert_eq!(refused.code, Some(2), "{}", refused.err);
    let refused = with(["embed", "--model", model.as_str(), "--any-res", "65x2", "--image", photo.as_str()]);
    assert!(refused.code == Some(2) && refused.err.contains("at most 64"), "{}", refused.err);
}
