//! How much a client may ask for, and how slowly; who may ask at all.

use crate::http::{Answer, connect, finish, form, head, request};
use crate::{CLIP, NAME, Server, example, photo, until};
use serde_json::json;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// So many texts keep the encoder busy for a while.
fn many(salt: &str) -> String {
    let count = if cfg!(target_arch = "x86_64") { 2048 } else { 256 };
    let texts: Vec<String> =
        (0..count).map(|i| format!("{salt} {i}, and a few more words to read")).collect();
    json!({ "input": texts }).to_string()
}

#[test]
fn bodies_have_a_largest_size() {
    let server = Server::clip(&["--max-body", "1"]);
    let large = vec![0; 1_000_001];
    server.post("/embed", "image/jpeg", &large).fails(413, &["1000000"]);
    let (kind, body) = form(&[("image", None, &large)]);
    server.post("/classify", &kind, &body).fails(413, &["1000000"]);
    server.post("/predict", &kind, &body).fails(413, &["1000000"]);
    server.post("/v1/embeddings", "application/json", &large).fails(413, &["1000000"]);
    // In chunks, whose sum nobody announces.
    let mut stream = connect(&server.address);
    let chunked = [("Content-Type", "image/jpeg"), ("Transfer-Encoding", "chunked")];
    stream.write_all(&head(&server.address, "POST", "/embed", &chunked, 0)).unwrap();
    for _ in 0..11 {
        let _ = write!(stream, "{:x}\r\n", 100_000).and_then(|()| stream.write_all(&[7; 100_000]));
        let _ = stream.write_all(b"\r\n");
    }
    let _ = stream.write_all(b"0\r\n\r\n");
    finish(stream).fails(413, &["1000000"]);
    server.post("/embed", "image/jpeg", &photo("ship")).ok();
}

#[test]
fn large_bodies_share_their_room() {
    // Room for four of the largest.
    let server = Server::clip(&["--max-body", "1"]);
    let held: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = connect(&server.address);
            stream.write_all(&head(&server.address, "POST", "/embed", &[], 1_000_000)).unwrap();
            stream.write_all(&vec![0; 990_000]).unwrap();
            stream
        })
        .collect();
    until("a full room", || server.metric("ocelli_body_bytes") > 3.9e6);
    let answer = server.post("/embed", "image/jpeg", &vec![0; 500_000]);
    answer.fails(503, &["large requests"]);
    assert_eq!(answer.header("retry-after"), Some("1"));
    drop(held);
    until("room again", || server.post("/embed", "image/jpeg", &vec![0; 500_000]).status == 400);
}

#[test]
fn pictures_have_a_largest_size() {
    let model = CLIP.to_str().unwrap();
    let server = Server::with(&["--model", model], &[("OCELLI_MAX_PIXELS", "2000")]);
    server.post("/embed", "image/jpeg", &photo("ship")).ok();
    let astronaut = std::fs::read(example("astronaut")).unwrap();
    server.post("/embed", "image/jpeg", &astronaut).fails(413, &["2000 pixels"]);
}

#[test]
fn headers_have_a_largest_size() {
    let server = Server::clip(&[]);
    let long = "x".repeat(20_000);
    let answer = request(&server.address, "GET", "/ping", &[("X-Long", &long)], b"");
    assert_eq!(answer.status, 431);
    let many: Vec<(String, String)> = (0..200).map(|i| (format!("x-{i}"), "y".into())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(request(&server.address, "GET", "/ping", &many, b"").status, 431);
    let long = format!("/ping?{}", "x".repeat(20_000));
    assert!(matches!(server.get(&long).status, 414 | 431));
}

#[test]
fn an_answer_has_its_time() {
    // Portable code keeps the encoder busy for seconds with so many texts.
    let model = CLIP.to_str().unwrap();
    let server = Server::with(
        &["--model", model, "--timeout", "1"],
        &[("OCELLI_ISA", "scalar"), ("OCELLI_THREADS", "1")],
    );
    let start = Instant::now();
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let ask = |i| {
            scope.spawn({
                let server = &server;
                move || {
                    server.post("/v1/embeddings", "application/json", many(&format!("late {i}")).as_bytes())
                }
            })
        };
        let asked: Vec<_> = (0..12).map(ask).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    let late: Vec<_> = answers.iter().filter(|answer| answer.status != 200).collect();
    assert!(!late.is_empty(), "all within {:?}", start.elapsed());
    for answer in late {
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("10")), "{}", answer.text());
        assert!(answer.text().contains("longer than 1 s"), "{}", answer.text());
    }
    // What nobody waits for any more is not worked on.
    until("an answer in time", || server.post("/embed", "image/jpeg", &photo("ship")).status == 200);
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

#[test]
fn slow_clients_are_cut() {
    let server = Server::clip(&["--timeout", "4"]);
    // A body that does not come.
    let mut stream = connect(&server.address);
    stream.write_all(&head(&server.address, "POST", "/embed", &[], 1000)).unwrap();
    stream.write_all(b"x").unwrap();
    finish(stream).fails(408, &["slowly"]);
    // A body that comes in drops.
    let mut stream = connect(&server.address);
    stream.write_all(&head(&server.address, "POST", "/embed", &[], 1000)).unwrap();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(8) && stream.write_all(b"x").is_ok() {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(start.elapsed() < Duration::from_secs(8));
    // Headers that do not end; a connection on which nothing is said.
    for start in [&b"GET /ping HTTP/1.1\r\nHost: x\r\nX-"[..], b""] {
        let mut stream = connect(&server.address);
        stream.write_all(start).unwrap();
        let (began, mut rest) = (Instant::now(), Vec::new());
        let _ = stream.read_to_end(&mut rest);
        assert!(began.elapsed() < Duration::from_secs(20), "still open");
        assert!(rest.is_empty() || Answer::parse(&rest).status == 408);
    }
}

#[test]
fn connections_are_counted() {
    let server = Server::clip(&["--connections", "2"]);
    let held = [connect(&server.address), connect(&server.address)];
    until("a refusal", || {
        let answer = server.get("/ping");
        assert!(answer.status == 200 || answer.header("retry-after") == Some("1"));
        answer.status == 503
    });
    drop(held);
    until("a place", || server.get("/ping").status == 200);
}

#[test]
fn a_full_queue_says_when_to_come_again() {
    let server = Server::clip(&["--queue", "1"]);
    let refused = AtomicBool::new(false);
    // Both may be the one that is refused.
    let ask = |body: &str| {
        let answer = server.post("/v1/embeddings", "application/json", body.as_bytes());
        if answer.status == 503 {
            answer.fails(503, &["waiting"]);
            assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
            refused.store(true, Ordering::Relaxed);
        } else {
            answer.ok();
        }
        refused.load(Ordering::Relaxed)
    };
    std::thread::scope(|scope| {
        let (mut texts, ask) = (0.., &ask);
        scope.spawn(move || until("a refusal", || ask(&many(&format!("{:?}", texts.next())))));
        until("a refusal", || ask(r#"{"input":"x"}"#));
    });
    until("an empty queue", || server.get("/healthz").ok()["queue"]["length"] == 0);
    assert_eq!(server.get("/healthz").ok()["queue"], json!({ "length": 0, "limit": 1 }));
    server.json("/embed", &json!({ "text": "x" })).ok();
}

#[test]
fn the_work_of_clients_that_go_away_is_dropped() {
    let server = Server::clip(&[]);
    server.json("/embed", &json!({ "text": "opens the model" })).ok();
    for client in 0..8 {
        let body = many(&format!("client {client}"));
        let mut stream = connect(&server.address);
        stream.write_all(&head(&server.address, "POST", "/v1/embeddings", &[], body.len())).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let queue = || server.get("/healthz").ok()["queue"]["length"] != 0;
        until("work", queue);
        stream.shutdown(Shutdown::Both).unwrap();
        drop(stream);
        until("an empty queue", || !queue());
    }
    // Eight times all of them would take far longer than this.
    let start = Instant::now();
    server.json("/embed", &json!({ "text": "next" })).ok();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn a_key_opens_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    std::fs::write(&file, "# clients\n0123456789abcdef\n\nfedcba9876543210\n").unwrap();
    let server = Server::clip(&["--api-key-file", file.to_str().unwrap()]);
    let ask = |headers: &[(&str, &str)], path: &str| request(&server.address, "GET", path, headers, b"");
    for path in ["/ping", "/", "/healthz", "/openapi.json"] {
        assert_eq!(ask(&[], path).status, 200, "{path}");
    }
    for (name, value) in [
        ("Authorization", "Bearer 0123456789abcdef"),
        ("authorization", "bearer fedcba9876543210"),
        ("x-api-key", "fedcba9876543210"),
    ] {
        ask(&[(name, value)], "/v1/models").ok();
    }
    ask(&[], "/v1/models?api_key=0123456789abcdef").ok();
    for headers in [
        &[][..],
        &[("Authorization", "Bearer 0123456789abcdeF")],
        &[("Authorization", "Basic 0123456789abcdef")],
        &[("Authorization", "Bearer ")],
        &[("x-api-key", "0123456789abcde")],
        &[("x-api-key", "# clients")],
    ] {
        let answer = ask(headers, "/v1/models");
        answer.fails(401, &["key"]);
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        ask(headers, "/metrics").fails(401, &[]);
    }
    request(&server.address, "POST", "/predict", &[], b"").fails(401, &[]);
}

#[test]
fn pages_of_other_sites_may_ask_only_if_they_are_named() {
    let server = Server::clip(&["--cors", "https://photos.example"]);
    let ask = |method, origin: &str, more: &[(&str, &str)]| {
        request(&server.address, method, "/v1/models", &[&[("Origin", origin)], more].concat(), b"")
    };
    let here = format!("http://{}", server.address);
    ask("GET", &here, &[]).ok();
    let allowed = ask("GET", "https://photos.example", &[]);
    allowed.ok();
    assert_eq!(allowed.header("access-control-allow-origin"), Some("https://photos.example"));
    let preflight =
        [("Access-Control-Request-Method", "POST"), ("Access-Control-Request-Headers", "content-type")];
    let answer = ask("OPTIONS", "https://photos.example", &preflight);
    assert_eq!((answer.status, answer.header("access-control-allow-methods")), (200, Some("GET,POST")));
    for origin in ["https://evil.example", "null", "http://127.0.0.1:1", "https://photos.example.evil"] {
        ask("GET", origin, &[]).fails(403, &["--cors"]);
    }
    let closed = Server::clip(&[]);
    let answer = request(&closed.address, "GET", "/v1/models", &[], b"");
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

/// Requests with damage everywhere: each gets an answer or an end, none a fault of the server's.
#[test]
fn damaged_requests_do_no_harm() {
    let server = Server::clip(&[]);
    let entries = json!({ "clip": { "visual": { "modelName": NAME } } }).to_string();
    let (kind, body) =
        form(&[("entries", None, entries.as_bytes()), ("image", Some("blob"), &photo("ship"))]);
    let picture = json!({ "input": ["data:image/png;base64,aGk="], "modality": "image" }).to_string();
    let good = [
        ("/predict", kind.as_str(), body),
        ("/v1/embeddings", "application/json", picture.into_bytes()),
        ("/embeddings", "application/json", br#"{"content":[{"prompt_string":"x"}]}"#.to_vec()),
        ("/classify?labels=a,b", "image/jpeg", photo("cat")),
        (
            "/clip/compare",
            "application/json",
            br#"{"subject":"a","subject_type":"text","prompt":["b"]}"#.to_vec(),
        ),
    ];
    // xorshift (Marsaglia 2003): the same damage in every run.
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    let rounds = if cfg!(target_arch = "x86_64") { 60 } else { 6 };
    for (path, kind, body) in good {
        for _ in 0..rounds {
            let mut body = body.clone();
            match random(4) {
                0 => body.truncate(random(body.len())),
                1 => drop(body.drain(..random(body.len()))),
                2 => body.extend_from_within(random(body.len())..),
                _ => {}
            }
            for _ in 0..=random(4) {
                let at = random(body.len().max(1));
                if let Some(byte) = body.get_mut(at) {
                    *byte = random(256) as u8;
                }
            }
            let answer = server.post(path, kind, &body);
            assert!(answer.status < 500, "{path}: {} {}", answer.status, answer.text());
        }
    }
    for bytes in [
        &b"\0\0\0"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9\r\n\r\n",
        b"POST /embed HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    ] {
        let mut stream = connect(&server.address);
        stream.write_all(bytes).unwrap();
        let _ = stream.shutdown(Shutdown::Write);
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty() || Answer::parse(&rest).status == 400);
    }
    server.post("/embed", "image/jpeg", &photo("ship")).ok();
}
