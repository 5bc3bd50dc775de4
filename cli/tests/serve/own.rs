//! Our own routes.

use crate::{CLIP, NAME, SIGLIP, Server, VIT, command, embed, example, floats, photo, same};
use serde_json::{Value, json};
use std::path::Path;

/// What `ocelli classify` prints for the ship.
fn classify(arguments: &[&str]) -> Value {
    let output =
        command().args(["classify", "--json", "--quiet"]).arg(example("ship")).args(arguments).output();
    serde_json::from_slice(&output.unwrap().stdout).unwrap()
}

#[test]
fn pictures_are_classified_as_the_command_does_it() {
    let [clip, siglip, vit] = [&CLIP, &SIGLIP, &VIT].map(|model| model.to_str().unwrap());
    let bank = Path::new(env!("CARGO_TARGET_TMPDIR")).join("serve/animals.bank");
    let bank = bank.to_str().unwrap();
    let made = command()
        .args(["labels", "--quiet", "--model", clip, "--labels", "cat,dog,ship", "-o", bank])
        .status();
    assert!(made.unwrap().success());
    let models = ["--model", clip, "--model", siglip, "--model", vit, "--bank", bank];
    let server = Server::new(&models);
    let ship = photo("ship");
    let cases: &[(&str, &[&str])] = &[
        (
            "model=clip-hf-Int8&labels=cat,dog&labels=%22a%20ship,%20at%20sea%22",
            &["--model", clip, "--labels", "cat,dog,\"a ship, at sea\""],
        ),
        (
            "labels=cat,dog,ship&template=a%20{}&template=the%20{}&top_k=2",
            &[
                "--model",
                clip,
                "--labels",
                "cat,dog,ship",
                "--template",
                "a {}",
                "--template",
                "the {}",
                "-k",
                "2",
            ],
        ),
        ("model=clip-hf-Int8&bank=animals", &["--model", clip, "--bank", bank]),
        ("model=siglip-hf-Fp32&labels=cat,dog", &["--model", siglip, "--labels", "cat,dog"]),
        ("model=vit-hf-Fp32&top_k=3", &["--model", vit, "-k", "3"]),
    ];
    for (query, arguments) in cases {
        let answer = server.post(&format!("/classify?{query}"), "image/jpeg", &ship).ok();
        assert_eq!(answer["labels"], classify(arguments)["labels"], "{query}");
        assert!(answer["ms"]["encode"].as_f64().unwrap() > 0.0, "{answer}");
    }
    let form = [("labels", None, &b"cat,dog"[..]), ("labels", None, b"ship"), ("image", Some("x"), &ship)];
    let answer = server.form("/classify", &form).ok();
    assert_eq!(answer["labels"], classify(&["--model", clip, "--labels", "cat,dog,ship"])["labels"]);
    assert_eq!(answer["model"], "clip-hf-Int8");

    for (query, status, says) in [
        ("", 400, "no labels"),
        ("labels=,", 400, "empty"),
        ("labels=%22cat", 400, "quote"),
        ("labels=cat&template=x", 400, "{}"),
        ("labels=cat&bank=animals", 400, "bank"),
        ("bank=../../etc/passwd", 404, "animals"),
        ("labels=cat&model=nothing", 404, "clip-hf-Int8"),
        ("model=siglip-hf-Fp32&bank=animals", 400, "another model"),
        ("model=vit-hf-Fp32&labels=cat", 400, "text tower"),
        ("labels=cat&top_k=0", 400, "top_k"),
        ("labels=cat&top_k=1&top_k=2", 400, "twice"),
        ("labels=cat&colour=red", 400, "colour"),
    ] {
        server.post(&format!("/classify?{query}"), "image/jpeg", &ship).fails(status, &[says]);
    }
    server.post("/classify?labels=cat", "application/json", b"{}").fails(415, &["image/"]);
    server.form("/classify", &[("labels", None, b"cat")]).fails(400, &["part image"]);
}

#[test]
fn the_default_model_is_served_without_any_other() {
    let server = Server::new(&[]);
    let answer = server.post("/classify", "image/jpeg", &photo("ship")).ok();
    assert_eq!(answer["labels"], classify(&[])["labels"]);
    assert_eq!((&answer["model"], &answer["labels"][0]["label"]), (&json!("cifar10"), &json!("ship")));
}

#[test]
fn pictures_and_texts_are_embedded() {
    let server = Server::clip(&[]);
    let ship = example("ship");
    let model = CLIP.to_str().unwrap();
    let expected = embed(&[ship.to_str().unwrap(), "--text", "a", "--text", "b", "--model", model]);
    let picture = server.post("/embed", "image/jpeg", &photo("ship")).ok();
    assert!(same(&floats(&picture["embeddings"][0]), &expected[0]));
    assert_eq!(
        (&picture["width"], &picture["height"], &picture["kind"]),
        (&json!(32), &json!(32), &json!("image"))
    );
    let form =
        server.form("/embed", &[("model", None, NAME.as_bytes()), ("image", None, &photo("ship"))]).ok();
    assert_eq!(form["embeddings"], picture["embeddings"]);
    let texts = server.json("/embed", &json!({ "text": ["a", "b"], "model": NAME })).ok();
    assert!(same(&floats(&texts["embeddings"][0]), &expected[1]));
    assert!(same(&floats(&texts["embeddings"][1]), &expected[2]));
    assert_eq!((&texts["dim"], &texts["kind"]), (&json!(expected[1].len()), &json!("text")));
    server.json("/embed", &json!({ "texts": ["a"] })).fails(400, &["texts"]);
    server.post("/embed", "text/plain", b"a").fails(415, &["text/plain"]);
}

#[test]
fn the_server_tells_how_it_is() {
    let server = Server::clip(&[]);
    assert_eq!(server.get("/healthz").ok()["status"], "ok");
    assert_eq!(server.metric("ocelli_models_open"), 0.0);
    server.post("/embed", "image/jpeg", &photo("ship")).ok();
    server.json("/embed", &json!({ "text": "a" })).ok();
    server.json("/embed", &json!({ "text": "a" })).ok();
    server.get("/nothing");
    assert_eq!(server.metric("ocelli_models_open"), 1.0);
    assert_eq!(server.metric("ocelli_images_total"), 1.0);
    assert_eq!(
        (server.metric("ocelli_texts_encoded_total"), server.metric("ocelli_texts_cached_total")),
        (1.0, 1.0)
    );
    assert_eq!(server.metric("ocelli_requests_total{method=\"POST\",route=\"/embed\",status=\"200\"}"), 3.0);
    assert_eq!(server.metric("ocelli_requests_total{method=\"GET\",route=\"other\",status=\"404\"}"), 1.0);
    assert!(server.metric("ocelli_stage_seconds{stage=\"encode\",quantile=\"0.95\"}") > 0.0);
    assert!(server.metric("ocelli_resident_memory_bytes") > 1e6);
    let described = server.get("/openapi.json").ok();
    assert!(described["openapi"].as_str().unwrap().starts_with("3.1"));
}

#[test]
fn clients_at_once_get_what_each_would_get_alone() {
    let server = Server::clip(&["--batch", "8", "--threads", "2"]);
    let names = ["ship", "cat", "frog", "horse", "automobile"];
    let model = CLIP.to_str().unwrap();
    let expected: Vec<Vec<f32>> = names
        .iter()
        .map(|name| embed(&[example(name).to_str().unwrap(), "--model", model]).remove(0))
        .collect();
    let rounds = if cfg!(target_arch = "x86_64") { 12 } else { 2 };
    std::thread::scope(|scope| {
        for client in 0..8 {
            let (server, expected) = (&server, &expected);
            scope.spawn(move || {
                for round in 0..rounds {
                    let i = (client + round) % names.len();
                    let answer = server.post("/embed", "image/jpeg", &photo(names[i])).ok();
                    assert!(same(&floats(&answer["embeddings"][0]), &expected[i]), "{}", names[i]);
                }
            });
        }
    });
    let (images, batches) = (server.metric("ocelli_images_total"), server.metric("ocelli_batches_total"));
    assert!(images == 8.0 * rounds as f64 && batches <= images, "{images} {batches}");
}
