//! Photos of an index, found as `ocelli search` finds them.

use crate::http::{Answer, form, request};
use crate::{CLIP, SIGLIP, Server, command, example, photo, until};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

pub(crate) const ALL: [&str; 5] = ["automobile", "cat", "frog", "horse", "ship"];

/// A folder with photos, last changed a while ago, and an index beside it.
pub(crate) struct World(pub(crate) TempDir);

impl World {
    pub(crate) fn new(photos: &[&str]) -> World {
        let world = World(tempfile::tempdir().unwrap());
        fs::create_dir(world.photos()).unwrap();
        photos.iter().for_each(|name| world.put(&format!("{name}.jpg"), &photo(name), 1000));
        world
    }

    pub(crate) fn indexed(photos: &[&str]) -> World {
        let world = World::new(photos);
        world.index(&[]);
        world
    }

    pub(crate) fn photos(&self) -> PathBuf {
        fs::canonicalize(self.0.path()).unwrap().join("photos")
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.photos().join(name).display().to_string()
    }

    pub(crate) fn folder(&self) -> String {
        self.0.path().join("index").display().to_string()
    }

    /// Writes a photo that is `days` old.
    pub(crate) fn put(&self, name: &str, bytes: &[u8], days: u64) {
        let path = self.photos().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        let then = SystemTime::now() - Duration::from_secs(days * 86_400);
        File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
    }

    pub(crate) fn index(&self, arguments: &[&str]) {
        let mut index = command();
        index
            .args(["index", "--quiet", "--priority", "normal", "--index", &self.folder()])
            .arg(self.photos());
        let output = index.args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// What `ocelli search` finds.
    fn search(&self, arguments: &[&str]) -> Vec<Value> {
        let mut search = command();
        search.args(["search", "--json", "--index", &self.folder()]).args(arguments);
        let output = search.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    pub(crate) fn serve(&self, more: &[&str]) -> Server {
        Server::new(&[&["--index", &self.folder()], more].concat())
    }

    /// The id of the photo called `name`.
    pub(crate) fn id(&self, server: &Server, name: &str) -> String {
        let hits = server.json("/search", &json!({ "query": "a photo", "k": 1000 })).ok();
        let path = json!(self.path(name));
        let hit = hits["hits"].as_array().unwrap().iter().find(|hit| hit["path"] == path);
        hit.unwrap_or_else(|| panic!("no {name} in {hits}"))["id"].as_str().unwrap().to_owned()
    }
}

/// The hits without what the command does not print.
#[track_caller]
fn hits(answer: &Answer) -> Vec<Value> {
    let mut hits = answer.ok()["hits"].as_array().unwrap().clone();
    for hit in &mut hits {
        let id = hit.as_object_mut().unwrap().remove("id").unwrap();
        let id = id.as_str().unwrap();
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    }
    hits
}

#[test]
fn photos_are_found_as_the_command_finds_them() {
    let world = World::new(&ALL);
    world.put("sub/dated.jpg", &ocelli_tests::with_exif(&photo("coffee"), 1, "2011:04:17 09:00:00"), 0);
    world.put("sub/copy of a cat.jpg", &photo("cat"), 0);
    world.index(&[]);
    // Without --model, the one that made the index.
    let server = world.serve(&[]);
    let (photos, sub) = (world.path(""), world.path("sub"));
    let cases: &[(Value, &[&str])] = &[
        (json!({"query": "a photo of a ship"}), &["a photo of a ship"]),
        (json!({"query": "a cat - a ship", "k": 3}), &["a cat", "-", "a ship", "-k", "3"]),
        (json!({"query": "2:a cat -0.5:a ship +frog"}), &["2:a cat", "-", "0.5:a ship", "+frog"]),
        (json!({"query": ["horse", "-", "a + b", "+a-c"]}), &["horse", "-", "a + b", "+a-c"]),
        (json!({"query": "cat", "folder": sub}), &["cat", "--folder", &sub]),
        (json!({"query": "cat", "folder": [sub, photos]}), &["cat", "--folder", &sub, "--folder", &photos]),
        (json!({"query": "cat", "folder": "/nowhere"}), &["cat", "--folder", "/nowhere"]),
        (
            json!({"query": "cat", "since": "2011-04", "until": "2011"}),
            &["cat", "--since", "2011-04", "--until", "2011"],
        ),
        (json!({"query": "a ship", "threshold": 0.5}), &["a ship", "--threshold", "0.5"]),
        (json!({"query": "a ship", "threshold": null, "since": null}), &["a ship"]),
    ];
    for (asked, arguments) in cases {
        assert_eq!(hits(&server.json("/search", asked)), world.search(arguments), "{asked}");
    }
    let answer = server.json("/search", &json!({"query": "a photo of a ship"})).ok();
    assert_eq!(answer["hits"].as_array().unwrap().len(), 6);
    assert_eq!(
        (&answer["hits"][0]["path"], &answer["model"]),
        (&json!(world.path("ship.jpg")), &json!("cifar10"))
    );
    let dated = hits(&server.json("/search", &json!({"query": "cat", "until": "2011-04-17"})));
    assert_eq!((dated.len(), &dated[0]["taken"]), (1, &json!("2011-04-17 09:00:00")));
    let copies = hits(&server.json("/search", &json!({"query": "a photo of a cat", "k": 1})));
    assert_eq!(copies[0]["copies"], json!([world.path("sub/copy of a cat.jpg")]));

    // Pictures are sent.
    let (ship, frog) = (example("ship"), example("frog"));
    let (ship, frog) = (ship.to_str().unwrap(), frog.to_str().unwrap());
    let sent = server.post("/search?k=2", "image/jpeg", &photo("ship"));
    assert_eq!(hits(&sent), world.search(&["--image", ship, "-k", "2"]));
    assert_eq!(hits(&sent)[0]["path"], json!(world.path("ship.jpg")));
    let parts: [(&str, Option<&str>, &[u8]); 5] = [
        ("query", None, b"2:water - a horse"),
        ("image", Some("x"), &photo("ship")),
        ("image", Some("y"), &photo("frog")),
        ("threshold", None, b"-0.25"),
        ("k", None, b"4"),
    ];
    let expected =
        ["2:water", "-", "a horse", "--image", ship, "--image", frog, "--threshold", "-0.25", "-k", "4"];
    assert_eq!(hits(&server.form("/search", &parts)), world.search(&expected));
    // With weights, which the command takes before a path.
    let parts: [(&str, Option<&str>, &[u8]); 5] = [
        ("image", Some("x"), &photo("ship")),
        ("weight", None, b"2"),
        ("query", None, b"water"),
        ("image", Some("y"), &photo("frog")),
        ("weight", None, b"-0.5"),
    ];
    let expected = ["water", &format!("2:{ship}"), "-", &format!("0.5:{frog}")];
    let weighed = hits(&server.form("/search", &parts));
    assert_eq!(weighed, world.search(&expected));
    assert_ne!(weighed, world.search(&["water", ship, "-", frog]));
    let sent = server.post("/search?weight=-1", "image/jpeg", &photo("ship"));
    assert_eq!(hits(&sent), world.search(&["-", ship]));
    // As the page does it, whose field for words may be empty.
    let parts: [(&str, Option<&str>, &[u8]); 2] =
        [("query", None, b""), ("image", Some("x"), &photo("frog"))];
    assert_eq!(hits(&server.form("/search", &parts)), world.search(&["--image", frog]));

    assert!(server.metric("ocelli_texts_cached_total") > 0.0);
    let count = server.metric("ocelli_requests_total{method=\"POST\",route=\"/search\",status=\"200\"}");
    assert_eq!(count, cases.len() as f64 + 8.0);
    let told = server.get("/healthz").ok();
    assert_eq!(told["search"], json!(true));
}

#[test]
fn a_query_is_never_the_name_of_a_file() {
    let world = World::indexed(&["cat", "ship"]);
    let mut serve = command();
    // Where names without a folder would lead to the photos.
    serve.current_dir(world.photos());
    serve.args(["serve", "--quiet", "--listen", "127.0.0.1:0", "--index", &world.folder()]);
    let server = Server::started(&mut serve);
    let there = world.path("cat.jpg");
    let mut told = Vec::new();
    for query in [
        "./cat.jpg",
        "./none.jpg",
        "a +./cat.jpg",
        "- 2:./cat.jpg",
        "../photos/cat.jpg",
        &there,
        "+/etc/passwd",
    ] {
        let answer = server.json("/search", &json!({ "query": query }));
        answer.fails(400, &["names no files"]);
        told.push(answer.value()["detail"].as_str().unwrap().replace("none", "cat"));
        server
            .json("/search", &json!({ "query": ["a", query.trim_start_matches(['a', '-', ' '])] }))
            .fails(400, &["names no files"]);
        let part = [("query", None, query.as_bytes())];
        server.form("/search", &part).fails(400, &["names no files"]);
    }
    // A file that is there and one that is not get the same answer.
    assert_eq!(told[0], told[1]);
    // These are words like others.
    for words in ["cat.jpg", "photos/cat.jpg", "file:///etc/passwd"] {
        assert_eq!(hits(&server.json("/search", &json!({ "query": words }))).len(), 2, "{words}");
    }
    server.json("/search", &json!({ "query": "a", "image": there })).fails(400, &["image"]);
    // A part that is called like a picture but sent as a text is the picture's bytes, not its name.
    server.form("/search", &[("image", None, there.as_bytes())]).fails(400, &["picture"]);
    assert_eq!(server.metric("ocelli_images_total"), 0.0);
}

#[test]
fn what_is_committed_meanwhile_is_found() {
    let world = World::indexed(&["cat", "ship"]);
    let server = world.serve(&[]);
    let first = |words: &str| {
        let found = hits(&server.json("/search", &json!({ "query": words })));
        (found.len(), found[0]["path"].as_str().unwrap().to_owned())
    };
    assert_eq!(first("a photo of a frog").0, 2);
    world.put("new.jpg", &photo("frog"), 1);
    world.index(&[]);
    assert_eq!(first("a photo of a frog"), (3, world.path("new.jpg")));
    assert_eq!(server.get(&format!("/thumbnail/{}", world.id(&server, "new.jpg"))).status, 200);
    // Another generation of files.
    fs::remove_file(world.photos().join("new.jpg")).unwrap();
    world.index(&["--compact"]);
    assert_eq!(first("a photo of a frog").0, 2);
    // Another index in its place.
    fs::remove_dir_all(world.folder()).unwrap();
    server.json("/search", &json!({ "query": "a" })).fails(500, &["there is no index"]);
    world.put("horse.jpg", &photo("horse"), 1);
    world.index(&[]);
    assert_eq!(first("a photo of a horse"), (3, world.path("horse.jpg")));
    fs::remove_dir_all(world.folder()).unwrap();
    world.index(&["--model", CLIP.to_str().unwrap()]);
    server.json("/search", &json!({ "query": "a" })).fails(500, &["another model"]);
}

#[test]
fn wrong_searches_say_why() {
    let world = World::indexed(&["cat", "ship"]);
    let server = world.serve(&["--max-body", "1"]);
    for (asked, says) in [
        (json!({}), "nothing to look for"),
        (json!({"query": " "}), "nothing to look for"),
        (json!({"query": []}), "nothing to look for"),
        (json!({"query": "a -"}), "ends with a + or -"),
        (json!({"query": "0:a"}), "weight"),
        (json!({"query": "a - a"}), "cancel"),
        (json!({"query": [""]}), "no words"),
        (json!({"query": 5}), "JSON"),
        (json!({"query": "a", "k": 0}), "k is 0"),
        (json!({"query": "a", "k": 1001}), "1 to 1000"),
        (json!({"query": "a", "k": -1}), "JSON"),
        (json!({"query": "a", "top_k": 1}), "top_k"),
        (json!({"query": "a", "threshold": "high"}), "JSON"),
        (json!({"query": "a", "since": "tomorrow"}), "2024-05-01"),
        (json!({"query": "a", "until": "2024' OR 1=1"}), "2024-05-01"),
        (json!({"query": "a", "folder": "photos"}), "from / on"),
        (json!({"query": "a", "folder": vec!["/a"; 65]}), "at most 64"),
        (json!({"query": "x".repeat(20_000)}), "16384"),
    ] {
        server.json("/search", &asked).fails(400, &[says]);
    }
    server.post("/search", "application/json", b"{").fails(400, &["JSON"]);
    server.post("/search", "text/plain", b"a").fails(415, &["text/plain"]);
    server.post("/search", "image/jpeg", b"no picture").fails(400, &["picture"]);
    server.post("/search", "image/jpeg", b"").fails(400, &["empty"]);
    server.post("/search?k=many", "image/jpeg", &photo("cat")).fails(400, &["k is \"many\""]);
    server.post("/search?weight=0", "image/jpeg", &photo("cat")).fails(400, &["weight is \"0\""]);
    server.post("/search?weight=inf", "image/jpeg", &photo("cat")).fails(400, &["weight is \"inf\""]);
    server
        .post("/search?weight=1&weight=2", "image/jpeg", &photo("cat"))
        .fails(400, &["2 weights for 1 pictures"]);
    server.form("/search", &[("query", None, b"a"), ("weight", None, b"2")]).fails(400, &["for 0 pictures"]);
    server.json("/search", &json!({"query": "a", "weight": 2})).fails(400, &["weight"]);
    server.post("/search?k=1&k=2", "image/jpeg", &photo("cat")).fails(400, &["twice"]);
    server.post("/search?threshold=NaN", "image/jpeg", &photo("cat")).fails(400, &["threshold is NaN"]);
    server.post("/search?colour=red", "image/jpeg", &photo("cat")).fails(400, &["colour"]);
    server.post("/search", "image/jpeg", &vec![0; 1_000_001]).fails(413, &["1000000"]);
    server.get("/search").fails(405, &[]);
    server.json("/search", &json!({"query": "a"})).ok();
}

#[test]
fn keys_are_asked_for_and_servers_without_an_index_say_so() {
    let world = World::indexed(&["cat"]);
    let keys = world.0.path().join("keys");
    fs::write(&keys, "0123456789abcdef0123456789abcdef\n").unwrap();
    let server = world.serve(&["--api-key-file", keys.to_str().unwrap()]);
    server.json("/search", &json!({"query": "a"})).fails(401, &["key"]);
    server.get("/thumbnail/00000000000000000000000000000000").fails(401, &["key"]);
    assert_eq!(server.get("/healthz").ok()["search"], json!(true));
    let key = [("x-api-key", "0123456789abcdef0123456789abcdef"), ("Content-Type", "application/json")];
    let found = request(&server.address, "POST", "/search", &key, b"{\"query\": \"a\"}").ok();
    let path = format!("/thumbnail/{}", found["hits"][0]["id"].as_str().unwrap());
    server.get(&path).fails(401, &["key"]);
    assert_eq!(request(&server.address, "GET", &path, &key[..1], b"").status, 200);
    // Pages of other sites.
    let origin = [("Origin", "https://elsewhere.example"), key[0]];
    request(&server.address, "GET", &path, &origin, b"").fails(403, &["--cors"]);

    let server = Server::new(&[]);
    server.json("/search", &json!({"query": "a"})).fails(404, &["without --index"]);
    server.get(&path).fails(404, &["without --index"]);
    assert_eq!(server.get("/healthz").ok()["search"], json!(false));
}

#[test]
fn searches_and_thumbnails_take_places_in_the_queue() {
    let world = World::indexed(&["cat"]);
    let server = world.serve(&["--queue", "1"]);
    let thumbnail = format!("/thumbnail/{}", world.id(&server, "cat.jpg"));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (server, done) = (&server, &done);
        scope.spawn(move || {
            let mut salt = 0;
            until("the end", || {
                salt += 1;
                let terms: Vec<String> =
                    (0..256).map(|i| format!("{salt} {i} and a few more words")).collect();
                let answer = server.json("/search", &json!({ "query": terms }));
                assert!(matches!(answer.status, 200 | 503), "{}", answer.text());
                done.load(Ordering::Relaxed)
            });
        });
        let refused = |answer: Answer| {
            if answer.status == 503 {
                answer.fails(503, &["waiting"]);
            }
            answer.status == 503
        };
        until("a search refused", || refused(server.json("/search", &json!({ "query": "a" }))));
        until("a thumbnail refused", || refused(server.get(&thumbnail)));
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(server.get(&thumbnail).status, 200);
}

/// Asserts that the server does not start, and says why.
#[track_caller]
fn refuses(arguments: &[&str], parts: &[&str]) {
    let output = command().args(["serve", "--listen", "127.0.0.1:0"]).args(arguments).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]), "{message}");
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

#[test]
fn the_index_needs_its_model() {
    let world = World::indexed(&["cat", "ship"]);
    let (folder, siglip, clip) = (world.folder(), SIGLIP.to_str().unwrap(), CLIP.to_str().unwrap());
    refuses(
        &["--index", world.0.path().join("none").to_str().unwrap()],
        &["there is no index", "ocelli index DIR"],
    );
    refuses(&["--index", &folder, "--model", siglip], &["another model (", "cifar10.ocelli", "--model"]);
    refuses(&["--index", &folder, "--model", siglip, "--model", clip], &["another model ("]);
    // It need not be the first.
    let own = format!("mine={}", ocelli_tests::cifar10().display());
    let server = world.serve(&["--model", siglip, "--model", &own]);
    let answer = server.json("/search", &json!({"query": "a photo of a cat"})).ok();
    assert_eq!(
        (&answer["model"], &answer["hits"][0]["path"]),
        (&json!("mine"), &json!(world.path("cat.jpg")))
    );
    drop(server);
    // A model's file that is replaced by another checkpoint's while the server runs.
    let file = world.0.path().join("swapped.ocelli");
    fs::copy(ocelli_tests::cifar10(), &file).unwrap();
    let server = world.serve(&["--model", file.to_str().unwrap()]);
    let ask = || server.json("/search", &json!({"query": "a photo of a cat"}));
    ask().ok();
    let other = world.0.path().join("other");
    fs::copy(&*SIGLIP, &other).unwrap();
    fs::rename(&other, &file).unwrap();
    server.signal("HUP");
    until("a refusal", || ask().status != 200);
    ask().fails(500, &["no longer the one of the index"]);
}

#[test]
fn the_usual_index_needs_no_name() {
    let world = World::new(&["cat"]);
    let data = fs::canonicalize(world.0.path()).unwrap();
    let indexed =
        command().args(["index", "--quiet"]).arg(world.photos()).env("XDG_DATA_HOME", &data).status();
    assert!(indexed.unwrap().success() && data.join("ocelli/index").is_dir());
    let server = Server::with(&["--index"], &[("XDG_DATA_HOME", data.to_str().unwrap())]);
    let (kind, body) = form(&[("query", None, b"a cat")]);
    assert_eq!(hits(&server.post("/search", &kind, &body)).len(), 1);
}
