//! OpenAI's embeddings, and Infinity's.

use crate::{CLIP, NAME, Server, VIT, embed, example, floats, photo, same};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The embeddings in an answer.
#[track_caller]
fn data(answer: &Value) -> Vec<Vec<f32>> {
    let data = answer["data"].as_array().unwrap();
    for (i, one) in data.iter().enumerate() {
        assert_eq!((&one["index"], &one["object"]), (&json!(i), &json!("embedding")));
    }
    data.iter()
        .map(|one| match one["embedding"].as_str() {
            Some(text) => {
                let bytes = STANDARD.decode(text).unwrap();
                bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
            }
            None => floats(&one["embedding"]),
        })
        .collect()
}

#[test]
fn texts_and_pictures_have_the_embeddings_of_the_command() {
    let server = Server::clip(&[]);
    let ship = example("ship");
    let (ship, model) = (ship.to_str().unwrap(), CLIP.to_str().unwrap());
    let expected = embed(&[ship, "--text", "a cat", "--text", "a dog", "--model", model]);
    for encoding in ["float", "base64"] {
        let request = json!({ "model": NAME, "input": ["a cat", "a dog"], "encoding_format": encoding });
        let answer = server.json("/v1/embeddings", &request).ok();
        let found = data(&answer);
        assert!(same(&found[0], &expected[1]) && same(&found[1], &expected[2]) && found.len() == 2);
        assert_eq!((&answer["object"], &answer["model"]), (&json!("list"), &json!(NAME)));
        assert!(answer["usage"]["total_tokens"].as_u64().unwrap() >= 6, "{}", answer["usage"]);
    }
    let one = server.json("/v1/embeddings", &json!({ "input": "a cat", "user": "me" })).ok();
    assert!(same(&data(&one)[0], &expected[1]));
    let picture = format!("data:image/jpeg;base64,{}", STANDARD.encode(photo("ship")));
    // Infinity has the shorter address.
    for path in ["/v1/embeddings", "/embeddings"] {
        let request = json!({ "input": [picture, picture], "model": NAME, "modality": "image" });
        let found = data(&server.json(path, &request).ok());
        assert!(found.len() == 2 && found.iter().all(|found| same(found, &expected[0])), "{path}");
    }
}

#[test]
fn what_cannot_be_done_is_refused() {
    let server = Server::clip(&["--model", VIT.to_str().unwrap()]);
    let refuse = |request: Value, status, parts: &[&str]| {
        server.json("/v1/embeddings", &request).fails(status, parts);
    };
    let dim = embed(&["--text", "x", "--model", CLIP.to_str().unwrap()])[0].len();
    server.json("/v1/embeddings", &json!({ "input": "x", "dimensions": dim })).ok();
    refuse(json!({ "input": "x", "dimensions": dim - 1 }), 400, &["dimensions"]);
    refuse(json!({ "input": [1, 2, 3] }), 400, &["token ids"]);
    refuse(json!({ "input": [[1, 2, 3]] }), 400, &["token ids"]);
    refuse(json!({ "input": [] }), 400, &["no input"]);
    refuse(json!({ "input": 7 }), 400, &["input"]);
    refuse(json!({}), 400, &["input"]);
    refuse(
        json!({ "input": "x", "model": "text-embedding-3-small" }),
        404,
        &["text-embedding-3-small", NAME],
    );
    refuse(json!({ "input": "x", "encoding_format": "int8" }), 400, &["int8"]);
    refuse(json!({ "input": "x", "modality": "audio" }), 400, &["audio"]);
    refuse(json!({ "input": "x", "model": "vit-hf-Fp32" }), 400, &["no text tower"]);
    for address in ["http://127.0.0.1/x.jpg", "https://example.org/x.jpg", "file:///etc/passwd"] {
        refuse(json!({ "input": address, "modality": "image" }), 400, &["not fetched"]);
    }
    refuse(json!({ "input": ["aGk=", "///"], "modality": "image" }), 400, &["base64"]);
    refuse(json!({ "input": ["aGk=", "aGk="], "modality": "image" }), 400, &["input 0"]);
    server.post("/v1/embeddings", "application/json", b"{\"input\":").fails(400, &["JSON"]);
    let deep = "[".repeat(100_000);
    server.post("/v1/embeddings", "application/json", deep.as_bytes()).fails(400, &["JSON"]);
}

#[test]
fn models_are_listed() {
    let server = Server::clip(&["--model", VIT.to_str().unwrap()]);
    for (path, owner) in [("/v1/models", "ocelli"), ("/models", "infinity")] {
        let models = server.get(path).ok();
        let all = models["data"].as_array().unwrap();
        assert_eq!(all.iter().map(|model| &model["id"]).collect::<Vec<_>>(), [NAME, "vit-hf-Fp32"]);
        assert!(all.iter().all(|model| model["object"] == "model" && model["owned_by"] == owner));
        assert_eq!(all[0]["architecture"]["input_modalities"], json!(["text", "image"]));
        assert_eq!(all[1]["architecture"]["input_modalities"], json!(["image"]));
    }
}
