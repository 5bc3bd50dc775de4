//! The demo model that ships in `models/`: it must see what is in the example photos.

use super::{command, example, ocelli, run};
use serde_json::Value;
use std::path::PathBuf;

fn demo() -> PathBuf {
    ocelli_tests::repository().join("models/demo.ocelli")
}

/// Each example photo, and the labels that are right.
const PHOTOS: [(&str, &[&str]); 9] = [
    ("astronaut", &["astronaut", "person"]),
    ("automobile", &["car", "sports car", "convertible"]),
    ("cat", &["cat", "tabby cat", "Egyptian cat"]),
    ("coffee", &["cup of coffee"]),
    ("frog", &["frog", "bullfrog"]),
    ("horse", &["horse"]),
    ("rocket", &["rocket"]),
    ("ship", &["ship"]),
    ("tabby", &["cat", "tabby cat", "Egyptian cat"]),
];

fn best(object: &Value) -> (&str, f64) {
    let label = &object["labels"][0];
    (label["label"].as_str().unwrap(), label["score"].as_f64().unwrap())
}

#[test]
fn it_sees_what_is_in_every_example_photo() {
    // An emulator takes seconds for each.
    let step = if cfg!(target_arch = "x86_64") { 1 } else { 4 };
    let photos: Vec<_> = PHOTOS.into_iter().step_by(step).collect();
    let files = photos.iter().map(|(name, _)| example(name));
    let found = run(ocelli!["classify", "--json", "-k", "1", "-m", demo()].args(files)).ok().json();
    assert_eq!(found.len(), photos.len());
    for (object, (name, right)) in found.iter().zip(photos) {
        assert!(right.contains(&best(object).0), "{name}: {object}");
    }
}

#[test]
fn it_takes_the_readers_own_words() {
    let words = "a rocket,a cup of coffee,a cat,an astronaut";
    for (photo, right) in [
        ("rocket", "a rocket"),
        ("coffee", "a cup of coffee"),
        ("tabby", "a cat"),
        ("astronaut", "an astronaut"),
    ] {
        let mut command = command();
        command.args(["classify", "--json", "--template", "{}", "--labels", words, "-m"]).arg(demo());
        let found = run(command.arg(example(photo))).ok().json();
        assert_eq!(best(&found[0]).0, right, "{photo}: {}", found[0]);
    }
}
