//! llama.cpp's server as Frigate uses it, and Roboflow's inference server.

use crate::{CLIP, NAME, Server, embed, example, floats, photo, same};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The embeddings of the ship, the cat and a text.
fn expected() -> Vec<Vec<f32>> {
    let (ship, cat) = (example("ship"), example("cat"));
    let model = CLIP.to_str().unwrap();
    embed(&[
        ship.to_str().unwrap(),
        cat.to_str().unwrap(),
        "--text",
        "a person at the door",
        "--model",
        model,
    ])
}

#[test]
fn frigates_requests_are_answered() {
    let server = Server::clip(&[]);
    let models = server.get("/v1/models").ok();
    assert_eq!(models["data"][0]["id"], NAME);
    let props = server.get(&format!("/props?model={NAME}")).ok();
    let marker = props["media_marker"].as_str().unwrap();
    assert_eq!(props["modalities"]["vision"], true);
    let image = |name| json!({ "prompt_string": format!("{marker}\n"), "multimodal_data": [STANDARD.encode(photo(name))] });
    let text = json!({ "prompt_string": "a person at the door" });
    let request = json!({ "model": NAME, "content": [text, image("ship"), image("cat")] });
    let answer = server.json("/embeddings", &request).ok();
    let expected = expected();
    for (i, of) in [2, 0, 1].into_iter().enumerate() {
        assert_eq!(answer[i]["index"], i);
        assert!(same(&floats(&answer[i]["embedding"][0]), &expected[of]), "{i}");
    }
    let one = server.json("/embedding", &json!({ "content": "a person at the door" })).ok();
    assert!(same(&floats(&one[0]["embedding"][0]), &expected[2]));
    for (content, says) in [
        (
            json!([{ "prompt_string": format!("{marker} a cat"), "multimodal_data": ["aGk="] }]),
            "send them as two",
        ),
        (json!([{ "prompt_string": marker, "multimodal_data": ["aGk=", "aGk="] }]), "several"),
        (json!([]), "no input"),
        (json!([{ "prompt": "x" }]), "prompt_string"),
    ] {
        server.json("/embeddings", &json!({ "content": content })).fails(400, &[says]);
    }
}

#[test]
fn roboflows_requests_are_answered() {
    let server = Server::clip(&[]);
    let expected = expected();
    let image = |name| json!({ "type": "base64", "value": STANDARD.encode(photo(name)) });
    let one = server.json("/clip/embed_image", &json!({ "image": image("ship"), "api_key": "x" })).ok();
    assert!(same(&floats(&one["embeddings"][0]), &expected[0]) && one["time"].is_number());
    let two = server.json("/clip/embed_image", &json!({ "image": [image("ship"), image("cat")] })).ok();
    assert!(same(&floats(&two["embeddings"][1]), &expected[1]));
    let text = server.json("/clip/embed_text", &json!({ "text": "a person at the door" })).ok();
    assert!(same(&floats(&text["embeddings"][0]), &expected[2]));

    // As they are written: in the shortest digits of an f32, 1 as 1.0.
    let cosine =
        |a: usize, b: usize| serde_json::to_string(&ocelli::score::dot(&expected[a], &expected[b])).unwrap();
    let compare = |request: Value| {
        let text = server.json("/clip/compare", &request);
        text.ok();
        text.text().strip_prefix("{\"similarity\":").unwrap().split(",\"time\"").next().unwrap().to_owned()
    };
    let text = "a person at the door";
    assert_eq!(compare(json!({ "subject": image("ship"), "prompt": [text] })), format!("[{}]", cosine(0, 2)));
    assert_eq!(compare(json!({ "subject": image("ship"), "prompt": text })), format!("[{}]", cosine(0, 2)));
    let named = json!({ "subject": image("cat"), "prompt": { "who": text, "again": text } });
    assert_eq!(compare(named), format!("{{\"who\":{0},\"again\":{0}}}", cosine(1, 2)));
    let pictures = json!({
        "subject": text, "subject_type": "text", "prompt": [image("ship"), image("cat")], "prompt_type": "image"
    });
    assert_eq!(compare(pictures), format!("[{},{}]", cosine(2, 0), cosine(2, 1)));
    let single = json!({ "subject": image("ship"), "prompt": image("ship"), "prompt_type": "image" });
    assert_eq!(compare(single), format!("[{}]", cosine(0, 0)));

    let url = json!({ "image": { "type": "url", "value": "http://127.0.0.1/" } });
    server.json("/clip/embed_image", &url).fails(400, &["url"]);
    let numpy = json!({ "image": { "type": "numpy", "value": "gASV" } });
    server.json("/clip/embed_image", &numpy).fails(400, &["numpy"]);
    server.json("/clip/compare", &json!({ "subject": 7, "prompt": ["x"] })).fails(400, &["base64"]);
    server.json("/clip/embed_text", &json!({ "text": "x", "clip_version_id": "RN50" })).fails(404, &["RN50"]);
}
