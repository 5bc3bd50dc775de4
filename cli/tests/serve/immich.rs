//! Immich's machine learning service.

use crate::{CLIP, NAME, Server, embed, example, floats, photo, same};
use serde_json::{Value, json};

/// A form with entries and one input.
fn predict(server: &Server, entries: &Value, part: (&str, Option<&str>, &[u8])) -> crate::Answer {
    let entries = entries.to_string();
    server.form("/predict", &[("entries", None, entries.as_bytes()), part])
}

fn visual(model: &str) -> Value {
    json!({ "clip": { "visual": { "modelName": model } } })
}

fn textual(model: &str) -> Value {
    json!({ "clip": { "textual": { "modelName": model, "options": { "language": "de" } } } })
}

/// The embedding in an answer: an array inside a string.
#[track_caller]
fn clip(answer: &Value) -> Vec<f32> {
    floats(&serde_json::from_str(answer["clip"].as_str().unwrap()).unwrap())
}

#[test]
fn pictures_and_texts_have_the_embeddings_of_the_command() {
    let server = Server::clip(&[]);
    let model = CLIP.to_str().unwrap();
    let (ship, cat) = (example("ship"), example("cat"));
    let expected =
        embed(&[ship.to_str().unwrap(), cat.to_str().unwrap(), "--text", "a  Ship", "--model", model]);
    for (name, embedding) in [("ship", &expected[0]), ("cat", &expected[1])] {
        // Node's fetch gives a blob a name; other clients give none.
        for file in [Some("blob"), None] {
            let answer = predict(&server, &visual(NAME), ("image", file, &photo(name))).ok();
            assert!(same(&clip(&answer), embedding), "{name}");
            assert_eq!((&answer["imageHeight"], &answer["imageWidth"]), (&json!(32), &json!(32)), "{answer}");
            assert_eq!(answer.as_object().unwrap().len(), 3);
        }
    }
    for name in [NAME, "ViT-B-32::openai", "immich-app/ViT-B-32__openai"] {
        let answer = predict(&server, &textual(name), ("text", None, b"a  Ship")).ok();
        assert!(same(&clip(&answer), &expected[2]), "{name}");
        assert_eq!(answer.as_object().unwrap().len(), 1);
    }
    let length: f32 = expected[0].iter().map(|x| x * x).sum();
    assert!((length - 1.0).abs() < 1e-5);
}

#[test]
fn clients_find_out_whether_the_server_is_there() {
    let server = Server::clip(&[]);
    let answer = server.get("/ping");
    assert_eq!((answer.status, answer.text().as_str()), (200, "pong"));
    assert_eq!(server.get("/").ok()["message"], "ocelli");
    server.get("/nothing").fails(404, &[]);
    server.get("/predict").fails(405, &[]);
}

#[test]
fn what_is_wrong_has_the_status_of_immichs_service() {
    let server = Server::clip(&[]);
    let ship = photo("ship");
    let image = ("image", Some("blob"), ship.as_slice());
    let text = ("text", None, &b"a ship"[..]);
    server
        .form("/predict", &[("entries", None, visual(NAME).to_string().as_bytes())])
        .fails(400, &["image or text"]);
    for entries in ["", "{", "[]", "7", "{}", r#"{"clip":{}}"#, r#"{"clip":7}"#, r#"{"clip":{"visual":{}}}"#]
    {
        let answer = server.form("/predict", &[("entries", None, entries.as_bytes()), image]);
        // A task without types is none of ours.
        assert!(matches!(answer.status, 422 | 501), "{entries}: {}", answer.text());
    }
    server.form("/predict", &[image]).fails(422, &["entries"]);
    server.json("/predict", &visual(NAME)).fails(422, &["multipart"]);
    predict(&server, &visual("ViT-L-14__openai"), image).fails(404, &["ViT-L-14__openai", NAME]);
    let faces = json!({ "facial-recognition": { "detection": { "modelName": "buffalo_l" } } });
    predict(&server, &faces, image).fails(501, &["facial-recognition", "--upstream"]);
    predict(&server, &textual(NAME), image).fails(400, &["textual"]);
    predict(&server, &visual(NAME), text).fails(400, &["visual"]);
    predict(&server, &visual(NAME), ("image", None, b"")).fails(400, &["empty"]);
    predict(&server, &visual(NAME), ("image", None, b"no picture")).fails(400, &[]);
    predict(&server, &visual(NAME), ("image", None, &ship[..ship.len() / 3])).fails(400, &[]);
    let long = vec![b'a'; 20_000];
    predict(&server, &textual(NAME), ("text", None, &long)).fails(400, &["bytes"]);
    predict(&server, &textual(NAME), ("text", None, b"\xff")).fails(400, &["UTF-8"]);
    // The server is as good as before.
    predict(&server, &textual(NAME), text).ok();
}

#[test]
fn parts_may_come_in_any_order() {
    let server = Server::clip(&[]);
    let (ship, entries) = (photo("ship"), visual(NAME).to_string());
    let image = ("image", Some("blob"), ship.as_slice());
    let entries = ("entries", None, entries.as_bytes());
    let first = server.form("/predict", &[entries, image]).ok();
    let last = server.form("/predict", &[("other", None, b"?"), image, entries]).ok();
    assert_eq!(first, last);
}
