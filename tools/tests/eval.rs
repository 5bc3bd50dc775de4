//! `ocelli-pack eval`: the fixtures' losses, and the demo model's accuracy as PyTorch has it.

use ocelli_tools::eval::{EvalOptions, Evaluation, evaluate, html};
use ocelli_tools::{ConvertOptions, Precision, convert};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures")).join(name)
}

fn options(model: &Path, images: &Path) -> EvalOptions {
    EvalOptions {
        model: model.into(),
        images: images.into(),
        templates: Vec::new(),
        against: None,
        progress: indicatif::ProgressBar::hidden(),
    }
}

/// The fixture's own pictures and texts, pair by pair.
fn pairs(folder: &Path, name: &str) -> PathBuf {
    let meta: Value = serde_json::from_slice(&fs::read(fixture(name).join("meta.json")).unwrap()).unwrap();
    let mut table = csv::Writer::from_path(folder.join("pairs.csv")).unwrap();
    table.write_record(["image", "text"]).unwrap();
    let images = meta["images"].as_array().unwrap();
    for (image, text) in images.iter().zip(meta["texts"].as_array().unwrap()) {
        let image = fixture(name).join(image.as_str().unwrap());
        table.write_record([image.to_str().unwrap(), text.as_str().unwrap()]).unwrap();
    }
    table.flush().unwrap();
    folder.join("pairs.csv")
}

fn loss_of(name: &str, tokenizer: &str) -> (Evaluation, f64) {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.ocelli");
    let mut conversion = ConvertOptions::new(fixture(name), &model, Precision::Fp32);
    conversion.wishes.tokenizer = Some(fixture(tokenizer));
    convert(&conversion).unwrap();
    let result = evaluate(&options(&model, &pairs(folder.path(), name))).unwrap();
    let bytes = fs::read(fixture(name).join("expected.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let loss: [u8; 4] = tensors.tensor("loss").unwrap().data().try_into().unwrap();
    (result, f32::from_le_bytes(loss).into())
}

#[test]
fn losses_equal_those_of_the_libraries() {
    for (name, tokenizer) in [
        ("clip-hf", "clip-hf"),
        ("clip-hf-outliers", "clip-hf"),
        ("clip-hf-gelu-p14", "clip-hf-gelu-p14"),
        ("siglip-hf", "siglip-hf"),
    ] {
        if !fixture(name).join("meta.json").exists() {
            continue;
        }
        let (result, expected) = loss_of(name, tokenizer);
        let retrieval = result.retrieval.unwrap();
        let found = retrieval.loss.unwrap();
        // Pixels may be a level off where the library resized with other arithmetic.
        assert!((found - expected).abs() < 2e-3, "{name}: {found}, expected {expected}");
        println!("{name}: {} {found:.6}, expected {expected:.6}", retrieval.loss_name);
        assert_eq!(retrieval.image_to_text[1..], [1.0, 1.0]);
    }
}

#[test]
fn a_comparison_and_its_page() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/demo.ocelli");
    let folder = tempfile::tempdir().unwrap();
    for class in ["cat", "ship"] {
        fs::create_dir(folder.path().join(class)).unwrap();
        for i in 0..8 {
            let name = format!("{class}/{i:04}.jpg");
            fs::copy(fixture("cifar10").join(&name), folder.path().join(&name)).unwrap();
        }
    }
    let mut options = options(&demo, folder.path());
    options.against = Some(demo.clone());
    let result = evaluate(&options).unwrap();
    let zero_shot = result.zero_shot.as_ref().unwrap();
    assert_eq!((zero_shot.labels.as_slice(), result.images), (&["cat".to_owned(), "ship".into()][..], 16));
    assert!(zero_shot.top1 > 0.8 && zero_shot.top5 == 1.0);
    assert_eq!(zero_shot.confusion.iter().flatten().sum::<usize>(), 16);
    let other = result.against.as_ref().unwrap();
    assert_eq!((other.agreement, other.difference.unwrap().points), (Some(1.0), 0.0));
    assert!(other.cosine.min > 0.999_999);
    let page = html(&result);
    assert!(page.contains("Confusion matrix") && page.contains("Reliability") && !page.contains("http"));
}

#[test]
fn unusable_data_is_named() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/demo.ocelli");
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("table.csv");
    let message = |images: &Path| evaluate(&options(&demo, images)).unwrap_err().to_string();
    assert!(message(folder.path()).contains("one folder per class"));
    for (contents, expected) in [
        ("picture,label\n", "\"image\""),
        ("image,colour\n", "\"label\""),
        ("image,label\n", "no rows"),
        ("image,label\na.jpg\n", "no CSV table"),
        ("image,label\na.jpg,x\na.jpg,y\n", "twice"),
        ("image,label\nabsent.jpg,x\n", "absent.jpg"),
    ] {
        fs::write(&table, contents).unwrap();
        let message = message(&table);
        assert!(message.contains("table.csv") || message.contains("absent.jpg"), "{message}");
        assert!(message.contains(expected), "{contents}: {message}");
    }
}
