//! Many requests of every kind, good and bad, from several clients at once: each good one is answered rightly, and the
//! server's memory, threads and descriptors stay what they were.
//!
//! `OCELLI_SOAK_REQUESTS` sets how many (`scripts/serve-soak.sh` takes 100,000).

#![cfg(target_os = "linux")]

use crate::http::{Answer, connect, form, head};
use crate::{CLIP, NAME, Server, embed, example, floats, photo, same, until};
use serde_json::json;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

const CLIENTS: usize = 4;
/// Resident memory may vary by so many KiB: decoders' buffers come and go. An emulator's own memory comes on top.
const SLACK_KIB: usize = if cfg!(target_arch = "x86_64") { 12 << 10 } else { 48 << 10 };

/// What the clients send, and what must come back.
struct Mix {
    ship: Vec<u8>,
    image: Vec<f32>,
    text: Vec<f32>,
    predict: (String, Vec<u8>),
    foreign: (String, Vec<u8>),
}

impl Mix {
    fn new() -> Mix {
        let ship = photo("ship");
        let expected =
            embed(&[example("ship").to_str().unwrap(), "--text", "a cat", "--model", CLIP.to_str().unwrap()]);
        let entries = json!({ "clip": { "visual": { "modelName": NAME } } }).to_string();
        let faces =
            json!({ "facial-recognition": { "detection": { "modelName": "buffalo_l" } } }).to_string();
        let of =
            |entries: &str| form(&[("entries", None, entries.as_bytes()), ("image", Some("blob"), &ship)]);
        let (predict, foreign) = (of(&entries), of(&faces));
        let [image, text] = [0, 1].map(|i| expected[i].clone());
        Mix { ship, image, text, predict, foreign }
    }

    /// One request of kind `kind` with damage by `salt`.
    fn ask(&self, server: &Server, kind: usize, salt: usize) {
        match kind {
            0 | 1 => {
                let answer = server.post("/embed", "image/jpeg", &self.ship).ok();
                assert!(same(&floats(&answer["embeddings"][0]), &self.image));
            }
            2 => {
                let answer = server.json("/v1/embeddings", &json!({ "input": "a cat" })).ok();
                assert!(same(&floats(&answer["data"][0]["embedding"]), &self.text));
            }
            3 => {
                let answer = server.post("/predict", &self.predict.0, &self.predict.1).ok();
                let clip = serde_json::from_str(answer["clip"].as_str().unwrap()).unwrap();
                assert!(same(&floats(&clip), &self.image));
            }
            4 => {
                let labels = format!("/classify?labels=label%20{salt},cat");
                server.post(&labels, "image/jpeg", &self.ship).ok();
            }
            5 => {
                let mut damaged = self.ship.clone();
                let at = salt % damaged.len();
                damaged[at] ^= 0x55;
                damaged.truncate(damaged.len() - salt % 500);
                let answer = server.post("/embed", "image/jpeg", &damaged);
                assert!(matches!(answer.status, 200 | 400), "{}", answer.text());
            }
            6 => {
                let (kind, body) = &self.predict;
                // The line break at the very end is not missed.
                let answer = server.post("/predict", kind, &body[..salt % (body.len() - 2)]);
                assert!(matches!(answer.status, 400 | 422), "{}", answer.text());
            }
            7 => server.post("/embed", "image/jpeg", &vec![0; 1_000_001]).fails(413, &[]),
            8 => server.post("/predict", &self.foreign.0, &self.foreign.1).fails(502, &[]),
            9 => server.json("/v1/embeddings", &json!({ "input": [salt] })).fails(400, &[]),
            10 => server
                .json("/v1/embeddings", &json!({ "input": "x", "model": format!("m{salt}") }))
                .fails(404, &[]),
            11 => assert!(server.get("/metrics").status == 200 && server.get("/ping").status == 200),
            // Clients that go away: before, in the middle of, and after what they send.
            12 | 13 => {
                let mut stream = connect(&server.address);
                let head = head(&server.address, "POST", "/embed", &[], self.ship.len());
                let _ = stream.write_all(&head[..head.len().min(salt)]);
                let _ = stream.write_all(&self.ship[..salt % self.ship.len()]);
            }
            14 => {
                let body = json!({ "input": (0..20).map(|i| format!("{salt} {i}")).collect::<Vec<_>>() })
                    .to_string();
                let mut stream = connect(&server.address);
                let _ = stream.write_all(&head(&server.address, "POST", "/v1/embeddings", &[], body.len()));
                let _ = stream.write_all(body.as_bytes());
            }
            _ => {
                let mut stream = connect(&server.address);
                let _ = stream.write_all(&salt.to_le_bytes().repeat(8));
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest);
                assert!(rest.is_empty() || Answer::parse(&rest).status == 400);
            }
        }
    }
}

#[test]
fn nothing_grows_whatever_is_asked() {
    let short = if cfg!(target_arch = "x86_64") { 2_000 } else { 120 };
    let requests =
        std::env::var("OCELLI_SOAK_REQUESTS").map_or(short, |text| text.parse().expect("a number"));
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let upstream = format!("http://{nobody}");
    let server =
        Server::clip(&["--max-body", "1", "--upstream", &upstream, "--text-cache", "64", "--threads", "2"]);
    let mix = Mix::new();
    let done = AtomicUsize::new(0);
    let run = |until: usize| {
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    loop {
                        let i = done.fetch_add(1, Ordering::Relaxed);
                        if i >= until {
                            return;
                        }
                        // A spread of kinds and damage, the same in every run (Knuth's multiplicative hash).
                        let hash = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                        mix.ask(&server, (hash >> 32) % 16, (hash >> 40) % 100_000);
                    }
                });
            }
        });
        done.store(until, Ordering::Relaxed);
    };
    // Until every buffer has the size that it will have.
    run(requests / 4);
    let before = ocelli_tests::usage(server.child.id());
    run(requests);
    until("the end of what was left behind", || server.get("/healthz").ok()["queue"]["length"] == 0);
    until("closed connections", || ocelli_tests::usage(server.child.id()).2 <= before.2 + CLIENTS);
    let after = ocelli_tests::usage(server.child.id());
    println!("{requests} requests: KiB, threads, descriptors before {before:?}, after {after:?}");
    assert!(after.0 <= before.0 + SLACK_KIB, "memory grew: {before:?} {after:?}");
    // Threads for blocking work come and go.
    assert!(after.1 <= before.1 + 6, "threads: {before:?} {after:?}");
    assert!(server.stop().success());
}
