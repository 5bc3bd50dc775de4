//! `ocelli index`, `search`, `dupes`, `export`.

#[cfg(target_os = "linux")]
mod system;
#[cfg(feature = "parquet")]
mod table;
mod thumbnails;

use super::{FULL, Run, VISION, example, ocelli, run};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// A folder with photos, last changed a while ago, and an index beside it.
struct World(TempDir);

impl World {
    fn new(photos: &[&str]) -> World {
        let world = World(tempfile::tempdir().unwrap());
        fs::create_dir(world.photos()).unwrap();
        photos.iter().for_each(|name| world.put(&format!("{name}.jpg"), &fs::read(example(name)).unwrap()));
        world
    }

    fn photos(&self) -> PathBuf {
        fs::canonicalize(self.0.path()).unwrap().join("photos")
    }

    fn path(&self, name: &str) -> String {
        self.photos().join(name).display().to_string()
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.photos().join(name);
        fs::write(&path, bytes).unwrap();
        let then = SystemTime::now() - Duration::from_secs(1000);
        File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
    }

    /// A command with this index.
    fn with(&self, command: &str) -> Command {
        let mut command = ocelli![command];
        command.arg("--index").arg(self.0.path().join("index"));
        command
    }

    fn index(&self) -> Run {
        run(self.with("index").args(["--json", "--priority", "normal"]).arg(self.photos()))
    }

    fn indexed(photos: &[&str]) -> World {
        let world = World::new(photos);
        world.index().ok();
        world
    }

    fn search(&self, arguments: &[&str]) -> Run {
        run(self.with("search").args(arguments))
    }
}

fn events(run: &Run, event: &str) -> Vec<Value> {
    run.json().into_iter().filter(|line| line["event"] == event).collect()
}

const ALL: [&str; 5] = ["automobile", "cat", "frog", "horse", "ship"];

#[test]
fn photos_are_indexed_once_and_found_by_words() {
    let world = World::new(&ALL);
    world.put("broken.jpg", b"no picture");
    let first = world.index();
    assert_eq!(first.code, Some(1));
    assert!(first.err.contains("broken.jpg: "), "{}", first.err);
    assert_eq!(events(&first, "found")[0], json!({"event": "found", "known": 0, "to_read": 6}));
    let mut paths: Vec<_> = events(&first, "indexed").iter().map(|line| line["path"].clone()).collect();
    paths.sort_by_key(|path| path.to_string());
    assert_eq!(paths, ALL.map(|name| json!(world.path(&format!("{name}.jpg")))));
    assert_eq!(events(&first, "unreadable")[0]["path"], json!(world.path("broken.jpg")));
    let done = &events(&first, "done")[0];
    assert_eq!((&done["indexed"], &done["unreadable"]), (&json!(5), &json!(1)));
    // Without folders, those of the index.
    let again = run(world.with("index").arg("--json")).ok();
    assert_eq!(events(&again, "found")[0], json!({"event": "found", "known": 6, "to_read": 0}));

    let hits = world.search(&["--json", "a photo of a ship"]).ok().json();
    assert_eq!(hits.len(), 5);
    assert_eq!(hits[0]["path"], json!(world.path("ship.jpg")));
    assert_eq!(
        (&hits[0]["width"], &hits[0]["height"], &hits[0]["taken"]),
        (&json!(32), &json!(32), &Value::Null)
    );
    let number = |key: &str| hits[0][key].as_f64().unwrap();
    assert!((number("score") - number("similarity")).abs() < 1e-6);
    let text = world.search(&["a photo of a ship", "-k", "1"]).ok();
    let expected = format!("{:.3}  {}\n", hits[0]["similarity"].as_f64().unwrap(), world.path("ship.jpg"));
    assert_eq!((text.out, text.err.as_str()), (expected, ""));
    let names = world.search(&["-0", "-k2", "a photo of a cat"]).ok().out;
    assert!(names.starts_with(&format!("{}\0", world.path("cat.jpg"))) && names.matches('\0').count() == 2);
    // A word that looks like an option, and a picture that is taken away.
    let ship = world.path("ship.jpg");
    let hits = world.search(&[&ship, "-2:automobile", "--json"]).ok().json();
    assert_eq!(hits[0]["path"], json!(ship));
    let hits = world.search(&["--json", "-3:ship.jpg and water", "-k", "5"]).ok().json();
    assert_ne!(hits[0]["path"], json!(ship));
    let hits = world.search(&["--image", &ship, "--threshold", "0.99", "--json"]).ok().json();
    assert_eq!(hits.len(), 1);
    assert!((hits[0]["similarity"].as_f64().unwrap() - 1.0).abs() < 1e-3);

    let page = world.0.path().join("page.html");
    world.search(&["a cat", "--html", page.to_str().unwrap(), "-k", "3"]).ok();
    let html = fs::read_to_string(page).unwrap();
    assert_eq!(html.matches("<img ").count(), 3);
}

#[test]
fn questions_that_cannot_be_answered_say_why() {
    let world = World::new(&ALL);
    world.search(&["a cat"]).fails(&["there is no index", "ocelli index DIR"]);
    let nothing = run(&mut world.with("index"));
    assert_eq!(nothing.code, Some(2));
    assert!(nothing.err.contains("name the folders"), "{}", nothing.err);
    world.index().ok();
    world.search(&["./none.jpg"]).fails(&["./none.jpg", "no such file"]);
    world.search(&["a cat", "-"]).fails(&["ends with a + or -"]);
    world.search(&["0:a cat"]).fails(&["weight"]);
    world.search(&["a cat", "--since", "tomorrow"]).fails(&["\"tomorrow\"", "2024-05-01"]);
    world.search(&["a cat", "-m", FULL.to_str().unwrap()]).fails(&["another model (", "--model"]);
    run(world.with("index").arg("-m").arg(&*FULL).arg(world.photos())).fails(&["another model"]);
    assert_eq!(world.search(&["a cat", "--until", "1999"]).ok().out, "");
    for (command, wrong) in [("search", "--bogus"), ("export", "--json"), ("dupes", "-k")] {
        assert_eq!(run(world.with(command).arg(wrong)).code, Some(2), "{command}");
    }
}

/// An index made with a file without a text tower, asked through one of the same checkpoint in another precision.
#[test]
fn a_model_pair_belongs_together_by_its_checkpoint() {
    let world = World::new(&["astronaut", "coffee"]);
    run(world.with("index").arg("-m").arg(&*VISION).arg(world.photos())).ok();
    world.search(&["a cat"]).fails(&["vision", "no text tower", "the full model of the same checkpoint"]);
    let coffee = world.path("coffee.jpg");
    let hits = world.search(&[&coffee, "--json"]).ok().json();
    assert_eq!(hits[0]["path"], json!(coffee));
    assert_eq!(hits[0]["width"], json!(600));
    let hits = world.search(&["a cup of coffee", "--json", "-m", FULL.to_str().unwrap()]).ok().json();
    assert_eq!(hits.len(), 2);
}

#[test]
fn changes_are_followed_and_damage_is_repaired() {
    let world = World::indexed(&ALL);
    fs::rename(world.photos().join("cat.jpg"), world.photos().join("tom.jpg")).unwrap();
    fs::remove_file(world.photos().join("frog.jpg")).unwrap();
    let run_with = |arguments: &[&str]| run(world.with("index").args(arguments));
    let changed = run_with(&["--json", "--compact"]).ok();
    let moved = &events(&changed, "moved")[0];
    assert_eq!(
        (&moved["from"], &moved["path"]),
        (&json!(world.path("cat.jpg")), &json!(world.path("tom.jpg")))
    );
    assert_eq!(events(&changed, "removed")[0]["path"], json!(world.path("frog.jpg")));
    assert!(changed.err.contains("1 pictures let go"), "{}", changed.err);
    let file = world.0.path().join("index/vectors-1.i8");
    let mut bytes = fs::read(&file).unwrap();
    bytes[100] ^= 1;
    fs::write(&file, bytes).unwrap();
    let repaired = run_with(&["--verify", "--json"]).ok();
    assert!(repaired.err.contains("4 rows read, 1 damaged"), "{}", repaired.err);
    assert_eq!(events(&repaired, "indexed").len(), 1);
    // Not mounted.
    for name in ["tom", "automobile", "horse", "ship"] {
        fs::remove_file(world.photos().join(format!("{name}.jpg"))).unwrap();
    }
    let empty = run_with(&[]);
    assert_eq!(empty.code, Some(1));
    assert!(empty.err.contains("is it mounted?"), "{}", empty.err);
    assert_eq!(world.search(&["a cat", "--json"]).ok().json().len(), 4);
    run_with(&["--forget"]).ok();
    assert_eq!(world.search(&["a cat"]).ok().out, "");
}

#[test]
fn copies_are_found() {
    let world = World::indexed(&ALL);
    world.put("ship again.jpg", &fs::read(example("ship")).unwrap());
    let copy = world.index().ok();
    assert_eq!(events(&copy, "copy").len(), 1);
    let hit = &world.search(&["a photo of a ship", "--json", "-k", "1"]).ok().json()[0];
    assert_eq!(
        (&hit["path"], &hit["copies"]),
        (&json!(world.path("ship again.jpg")), &json!([world.path("ship.jpg")]))
    );
    let groups = run(world.with("dupes").arg("--json")).ok().json();
    let paths = json!([world.path("ship again.jpg"), world.path("ship.jpg")]);
    assert_eq!((groups.len(), &groups[0]["paths"], &groups[0]["similarity"]), (1, &paths, &json!(1.0)));
    assert_eq!(groups[0]["pictures"][1]["width"], json!(32));
    let text = run(&mut world.with("dupes")).ok();
    assert_eq!(text.out, format!("{}\n{}\n", world.path("ship again.jpg"), world.path("ship.jpg")));
    assert!(text.err.contains("1 groups of 2 files"), "{}", text.err);
    let rest = run(world.with("dupes").args(["--rest", "-0"])).ok().out;
    assert_eq!(rest, format!("{}\0", world.path("ship.jpg")));
}

#[cfg(target_os = "linux")]
#[test]
fn names_are_shown_not_obeyed_and_can_be_told_apart() {
    use std::os::unix::ffi::OsStrExt;

    let world = World::new(&[]);
    let name = std::ffi::OsStr::from_bytes(b"\x1b[2J \xe9 \"<b>.jpg");
    fs::copy(example("cat"), world.photos().join(name)).unwrap();
    let indexed = world.index().ok();
    let found = world.search(&["a cat"]).ok();
    let json = world.search(&["a cat", "--json"]).ok();
    let dupes = run(&mut world.with("dupes")).ok();
    for run in [&indexed, &found, &json, &dupes] {
        assert!(!run.out.contains('\x1b') && !run.err.contains('\x1b'), "{:?}", run.out);
    }
    let bytes = json.json()[0]["path_bytes"].as_str().unwrap().to_owned();
    assert!(bytes.ends_with("/photos/%1B%5B2J%20%E9%20%22%3Cb%3E.jpg"), "{bytes}");
}

#[test]
fn a_matrix_has_a_row_for_each_picture() {
    let world = World::indexed(&ALL);
    let to = world.0.path().join("npy");
    run(world.with("export").arg("--npy").arg(&to)).ok();
    let lines = fs::read_to_string(to.join("pictures.jsonl")).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let matrix = fs::read(to.join("vectors.npy")).unwrap();
    let dim = (matrix.len() - 128) / 4 / 5;
    assert!(String::from_utf8_lossy(&matrix[..128]).contains(&format!("'shape': (5, {dim})")));
    for (line, row) in lines.iter().zip(matrix[128..].chunks(4 * dim)) {
        let row: Vec<f32> = row.chunks(4).map(|x| f32::from_le_bytes(x.try_into().unwrap())).collect();
        let path = line["path"].as_str().unwrap();
        let embedded = &run(&mut ocelli!["embed", path]).ok().json()[0]["embedding"];
        let cosine: f64 = embedded
            .as_array()
            .unwrap()
            .iter()
            .zip(&row)
            .map(|(a, b)| a.as_f64().unwrap() * f64::from(*b))
            .sum();
        assert!(cosine > 0.999_99, "{path}: {cosine}");
        assert_eq!((line["hash"].as_str().unwrap().len(), &line["width"]), (32, &json!(32)));
    }
    let file = world.0.path().join("rows");
    let told = run(world.with("export").arg("--pgvector").arg(&file)).ok().err;
    assert!(told.contains(&format!("embedding vector({dim})")), "{told}");
    let rows = fs::read(&file).unwrap();
    assert!(rows.starts_with(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x07") && rows.ends_with(&[255, 255]));
    // 7 fields: path, width, height, no date, bytes, hash, vector.
    let paths: usize = lines.iter().map(|line| line["path"].as_str().unwrap().len()).sum();
    let row = 2 + 4 + 8 + 8 + 4 + 12 + 20 + 4 + 4 + 4 * dim;
    assert_eq!(rows.len(), 19 + 5 * row + paths + 2);
}

/// What the server is asked, and what it answers.
#[cfg(feature = "qdrant")]
#[test]
fn points_are_put_into_a_collection() {
    let world = World::indexed(&ALL);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/collections/photos", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let answers = ["404 Not Found", "200 OK", "200 OK", "500 Oops"];
        answers.map(|answer| {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut request, mut piece) = (Vec::new(), [0; 4096]);
            let body = loop {
                let read = stream.read(&mut piece).unwrap();
                request.extend_from_slice(&piece[..read]);
                let text = String::from_utf8_lossy(&request).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head
                    .lines()
                    .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                if body.len() >= length.unwrap_or(0) {
                    break (head.lines().next().unwrap().to_owned(), body.to_owned());
                }
            };
            let text = "{\"status\":{\"error\":\"no \\u001b room\"}}";
            write!(
                stream,
                "HTTP/1.1 {answer}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
                text.len()
            )
            .unwrap();
            body
        })
    });
    run(world.with("export").args(["--qdrant", &url])).ok();
    run(world.with("export").args(["--qdrant", &url])).fails(&["the server answers 500: no \\u{1b} room"]);
    let [get, make, put, _] = server.join().unwrap();
    assert_eq!(get.0, "GET /collections/photos HTTP/1.1");
    let made: Value = serde_json::from_str(&make.1).unwrap();
    assert_eq!(
        (make.0.as_str(), &made["vectors"]["distance"]),
        ("PUT /collections/photos HTTP/1.1", &json!("Cosine"))
    );
    let points: Value = serde_json::from_str(&put.1).unwrap();
    let points = points["points"].as_array().unwrap();
    assert_eq!((put.0.as_str(), points.len()), ("PUT /collections/photos/points?wait=true HTTP/1.1", 5));
    let dim = made["vectors"]["size"].as_u64().unwrap() as usize;
    for point in points {
        assert_eq!(
            (point["id"].as_str().unwrap().len(), point["vector"].as_array().unwrap().len()),
            (36, dim)
        );
        assert!(Path::new(point["payload"]["path"].as_str().unwrap()).exists());
    }
    let wrong = run(world.with("export").args(["--qdrant", "https://example.org"]));
    assert_eq!(wrong.code, Some(2));
}

#[test]
fn what_changes_is_indexed_while_watching() {
    let world = World::new(&["cat"]);
    let mut watching = world.with("index").args(["--watch", "--quiet"]).arg(world.photos()).spawn().unwrap();
    let wait = |hits: usize| {
        for _ in 0..120 {
            std::thread::sleep(Duration::from_millis(500));
            let found = world.search(&["a photo", "--json"]);
            if found.code == Some(0) && found.json().len() == hits {
                return true;
            }
        }
        false
    };
    let first = wait(1);
    world.put("ship.jpg", &fs::read(example("ship")).unwrap());
    let second = first && wait(2);
    fs::remove_file(world.photos().join("cat.jpg")).unwrap();
    let third = second && wait(1);
    watching.kill().unwrap();
    watching.wait().unwrap();
    assert_eq!((first, second, third), (true, true, true));
}
