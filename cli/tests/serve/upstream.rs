//! What another server does: faces, models that are not here; and what happens when it is down, slow, or lies.

use crate::{CLIP, NAME, Server, http, photo};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// A server that answers every request with the same bytes after a while, and tells what it was asked.
fn upstream(answer: Vec<u8>, after: Duration) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (asked, requests) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut request, mut some) = (Vec::new(), [0; 65_536]);
            // Our forms end with their boundary, and so does the body that is sent in chunks.
            while !request.ends_with(b"--\r\n") && !request.ends_with(b"\r\n0\r\n\r\n") {
                match stream.read(&mut some) {
                    Ok(0) | Err(_) => break,
                    Ok(count) => request.extend_from_slice(&some[..count]),
                }
            }
            std::thread::sleep(after);
            let _ = stream.write_all(&answer);
            let _ = asked.send(String::from_utf8_lossy(&request).into_owned());
        }
    });
    (address, requests)
}

fn http(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").into_bytes()
}

const NOW: Duration = Duration::ZERO;
const FACES: &str = r#"{"facial-recognition":[{"score":0.9}],"imageHeight":1,"imageWidth":2}"#;

fn faces() -> Value {
    json!({ "detection": { "modelName": "buffalo_l", "options": { "minScore": 0.7 } }, "recognition": { "modelName": "buffalo_l" } })
}

fn ask(server: &Server, entries: &Value, image: &[u8]) -> http::Answer {
    let entries = entries.to_string();
    server.form("/predict", &[("entries", None, entries.as_bytes()), ("image", Some("blob"), image)])
}

#[test]
fn tasks_that_are_not_done_here_are_passed_on_and_answers_merged() {
    let (address, requests) = upstream(http("200 OK", FACES), NOW);
    let server = Server::clip(&["--upstream", &address]);
    let ship = photo("ship");
    // Theirs alone, whatever the part's size.
    let large = [&ship[..], &vec![7; 300_000]].concat();
    let answer = ask(&server, &json!({ "facial-recognition": faces() }), &large).ok();
    assert_eq!(answer, serde_json::from_str::<Value>(FACES).unwrap());
    let request = requests.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(request.starts_with("POST /predict HTTP/1.1\r\n"), "{}", &request[..200]);
    for part in ["name=\"entries\"", "buffalo_l", "minScore", "name=\"image\"; filename=\"blob\""] {
        assert!(request.contains(part), "{part}");
    }
    // A model that is not here.
    ask(&server, &json!({ "clip": { "visual": { "modelName": "nllb" } } }), &ship).ok();
    assert!(requests.recv_timeout(Duration::from_secs(10)).unwrap().contains("nllb"));
    // Both: each server gets its own.
    let both = json!({ "clip": { "visual": { "modelName": NAME } }, "facial-recognition": faces() });
    let answer = ask(&server, &both, &ship).ok();
    let alone = ask(&server, &json!({ "clip": { "visual": { "modelName": NAME } } }), &ship).ok();
    assert_eq!(answer["clip"], alone["clip"]);
    assert_eq!(
        (&answer["imageHeight"], &answer["facial-recognition"][0]["score"]),
        (&json!(32), &json!(0.9))
    );
    let request = requests.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(request.contains("buffalo_l") && !request.contains(NAME));
    assert_eq!(
        (server.metric("ocelli_upstream_total"), server.metric("ocelli_upstream_failed_total")),
        (3.0, 0.0)
    );
}

#[test]
fn a_server_that_is_down_or_lies_has_a_clear_status() {
    let task = json!({ "facial-recognition": faces() });
    let both = json!({ "clip": { "visual": { "modelName": NAME } }, "facial-recognition": faces() });
    let ship = photo("ship");
    let cut = http("200 OK", FACES);
    for (answer, status, says) in [
        (http("200 OK", "[1]"), 502, "no JSON object"),
        (http("200 OK", "<html>"), 502, "no JSON"),
        (cut[..cut.len() - 10].to_vec(), 502, "broke off"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n".to_vec(), 502, "upstream"),
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), 502, "upstream"),
        (Vec::new(), 502, "upstream"),
        (http("500 Internal Server Error", "oh"), 502, "500"),
        (http("302 Found", ""), 502, "302"),
        (http("422 Unprocessable Entity", "{\"detail\":\"no\"}"), 422, "no"),
    ] {
        let (address, _requests) = upstream(answer, NOW);
        let server = Server::clip(&["--upstream", &address]);
        ask(&server, &task, &ship).fails(status, &[says]);
        ask(&server, &both, &ship).fails(status, &[says]);
        assert_eq!(server.metric("ocelli_upstream_failed_total"), 2.0);
    }
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::clip(&["--upstream", &format!("http://{nobody}")]);
    ask(&server, &task, &ship).fails(502, &["cannot be reached"]);
    // Ours does not need it.
    ask(&server, &json!({ "clip": { "visual": { "modelName": NAME } } }), &ship).ok();
}

#[test]
fn a_slow_server_is_not_waited_for_for_ever() {
    let (address, _requests) = upstream(http("200 OK", FACES), Duration::from_secs(20));
    let server = Server::clip(&["--upstream", &address, "--timeout", "4"]);
    ask(&server, &json!({ "facial-recognition": faces() }), &photo("ship")).fails(504, &["within 3 s"]);
}

#[test]
fn two_servers_that_name_each_other_do_not_talk_for_ever() {
    // The first passes on to a port that the second then has.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let first = Server::clip(&["--upstream", &format!("http://{free}")]);
    let model = format!("{NAME}={}", CLIP.display());
    let second = ["--model", &model, "--listen", &free, "--upstream", &format!("http://{}", first.address)];
    let _second = Server::at(&second);
    ask(&first, &json!({ "facial-recognition": faces() }), &photo("ship")).fails(502, &["508"]);
}
