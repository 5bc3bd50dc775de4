//! Labels from folders of pictures.

use super::{EXAMPLES, FULL, SIGLIP, VISION, example, ocelli, run};
use ocelli_tests::packed;
use ocelli_tools::Precision;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use tempfile::TempDir;

/// A model that gives embeddings only.
static DINO: LazyLock<PathBuf> =
    LazyLock::new(|| packed(Path::new(env!("CARGO_TARGET_TMPDIR")), "dinov2-hf", Precision::Int8));

/// A folder with folders of the example pictures named.
fn folder(labels: &[(&str, &[&str])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (label, pictures) in labels {
        fs::create_dir_all(folder.path().join(label)).unwrap();
        for name in *pictures {
            fs::copy(example(name), folder.path().join(label).join(name).with_extension("jpg")).unwrap();
        }
    }
    folder
}

fn pets() -> TempDir {
    folder(&[("animal", &["cat", "frog", "horse"]), ("vehicle", &["automobile", "ship"])])
}

#[test]
fn a_model_without_text_tower_learns_labels_from_pictures() {
    let (examples, bank) = (pets(), tempfile::tempdir().unwrap());
    let bank = bank.path().join("pets.bank");
    let result =
        run(&mut ocelli!["labels", "-m", *DINO, "--examples", examples.path(), "-o", bank, "--json"]).ok();
    let report = &result.json()[0]["leave_one_out"];
    assert_eq!((&report["judged"], &report["not_judged"]), (&5.into(), &serde_json::json!([])));
    let right = report["right"].as_u64().unwrap();
    let wrong: u64 =
        report["confusions"].as_array().unwrap().iter().map(|c| c["pictures"].as_u64().unwrap()).sum();
    assert_eq!((right + wrong, report["accuracy"].as_f64().unwrap()), (5, right as f64 / 5.0));
    assert!(report["scale"].as_f64().unwrap() >= 1.0 && report["bias"] == 0.0);

    for name in EXAMPLES {
        let result = run(&mut ocelli!["classify", "-m", *DINO, "--bank", bank, example(name), "--json"]).ok();
        let labels = result.json()[0]["labels"].as_array().unwrap().clone();
        assert_eq!(labels.len(), 2);
        let sum: f64 = labels.iter().map(|label| label["score"].as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{labels:?}");
        assert!(labels[0]["similarity"].as_f64() <= Some(1.0001));
    }
    // With a prototype for each picture, its own is at a cosine of 1.
    let (dir, most) = (examples.path(), "9");
    let text =
        run(&mut ocelli!["labels", "-m", *DINO, "--examples", dir, "--prototypes", most, "-o", bank]).ok();
    assert!(text.out.starts_with("leave-one-out: ") && text.err.contains("2 labels of"), "{}", text.out);
    for (name, label) in [("cat", "animal"), ("ship", "vehicle")] {
        let result = run(&mut ocelli!["classify", "-m", *DINO, "--bank", bank, example(name), "--json"]).ok();
        let best = &result.json()[0]["labels"][0];
        assert!(best["label"] == label && best["similarity"].as_f64() > Some(0.999), "{best}");
    }
    let shown = run(&mut ocelli!["labels", "--bank", bank]).ok();
    assert_eq!(shown.out, "animal\nvehicle\n");
    // Without a bank the model says how to get one.
    run(&mut ocelli!["classify", "-m", *DINO, example("cat")]).fails(&["--examples", "--bank"]);
    run(&mut ocelli!["classify", "-m", *DINO, example("cat"), "--labels", "a,b"]).fails(&["--examples"]);
}

#[test]
fn pictures_and_words_make_one_bank() {
    let examples = folder(&[("cat", &["cat", "frog"]), ("mine", &["ship", "automobile"])]);
    let out = tempfile::tempdir().unwrap();
    for model in [&*FULL, &*SIGLIP] {
        let bank = out.path().join("mixed.bank");
        let dir = examples.path();
        let labels = "cat,dog";
        run(&mut ocelli!["labels", "-m", model, "--labels", labels, "--examples", dir, "-o", bank]).ok();
        let shown = run(&mut ocelli!["labels", "--bank", bank]).ok();
        assert_eq!(shown.out, "cat\ndog\nmine\n");
        shown.says(&["\"a photo of a {}\""]);
        let result =
            run(&mut ocelli!["classify", "-m", model, "--bank", bank, example("ship"), "--json"]).ok();
        assert_eq!(result.json()[0]["labels"][0]["label"], "mine");
    }
    // The bank serves the model without its text tower.
    let bank = out.path().join("vision.bank");
    run(&mut ocelli!["labels", "-m", *FULL, "--labels", "dog", "--examples", examples.path(), "-o", bank])
        .ok();
    run(&mut ocelli!["classify", "-m", *VISION, "--bank", bank, example("cat")]).ok();
    run(&mut ocelli!["classify", "-m", *DINO, "--bank", bank, example("cat")])
        .fails(&["made with another model"]);
}

#[test]
fn unreadable_pictures_are_named_and_left_out() {
    let examples = pets();
    let broken = examples.path().join("animal/broken.jpg");
    fs::write(&broken, "no picture").unwrap();
    // Neither hidden files and folders, nor what is no picture, nor a picture outside of all folders.
    fs::write(examples.path().join("animal/.hidden.jpg"), "no picture").unwrap();
    fs::write(examples.path().join("animal/notes.txt"), "no picture").unwrap();
    fs::create_dir(examples.path().join(".cache")).unwrap();
    fs::copy(example("cat"), examples.path().join("stray.jpg")).unwrap();
    // Further down they count for the label.
    fs::create_dir_all(examples.path().join("vehicle/2024/may")).unwrap();
    fs::copy(example("horse"), examples.path().join("vehicle/2024/may/coach.jpg")).unwrap();
    let result = run(&mut ocelli!["labels", "-m", *DINO, "--examples", examples.path(), "--json"]);
    assert_eq!(result.code, Some(1));
    result.says(&["broken.jpg", "stray.jpg: not used"]);
    let objects = result.json();
    assert_eq!((objects.len(), &objects[1]["label"]), (3, &"vehicle".into()));
    assert_eq!(objects[2]["leave_one_out"]["judged"], 6);
    assert!(!result.err.contains("hidden") && !result.err.contains("notes"));
}

#[test]
fn folders_that_teach_nothing_are_refused() {
    let examples = pets();
    let empty = examples.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let out = examples.path().join("x.bank");
    let labels = |dir: &Path| run(&mut ocelli!["labels", "-m", *DINO, "--examples", dir, "-o", out]);
    labels(examples.path()).fails(&[empty.to_str().unwrap(), "no picture"]);
    fs::write(empty.join("broken.jpg"), "no picture").unwrap();
    labels(examples.path()).fails(&["broken.jpg", empty.to_str().unwrap(), "can be used"]);
    labels(&empty).fails(&[empty.to_str().unwrap(), "no folder", "each label"]);
    labels(&examples.path().join("missing")).fails(&["missing", "cannot read the folder"]);
    assert!(!out.exists());
    for (mut command, said) in [
        (ocelli!["labels", "-m", *DINO, "--prototypes", "2"], "--examples"),
        (ocelli!["labels", "--examples", examples.path(), "--bank", out], "--bank"),
    ] {
        let result = run(&mut command);
        assert_eq!(result.code, Some(2), "{}", result.err);
        result.says(&[said]);
    }
    // One picture of each label next to words: nothing says how they compare.
    let single = folder(&[("a", &["cat"]), ("b", &["ship"])]);
    let dir = single.path();
    run(&mut ocelli!["labels", "-m", *FULL, "--labels", "dog", "--examples", dir]).fails(&["single picture"]);
    let alone = run(&mut ocelli!["labels", "-m", *DINO, "--examples", dir]).ok();
    alone.says(&["not judged", "single picture"]);
}
