//! Photos of an index, shown small, and nothing else of the disk.

use crate::http::request;
use crate::photo;
use crate::search::World;
use ocelli::preprocess::decode;
use ocelli_tests::with_exif;
use serde_json::json;
use std::fs;
use std::process::Command;

/// Width, height and RGB.
fn pixels(file: &[u8]) -> (usize, usize, Vec<[u8; 3]>) {
    let decoded = decode::decode(file, &decode::Options::default()).unwrap();
    let (_, width, height, data) = decoded.packed();
    (width as usize, height as usize, data.as_chunks().0.to_vec())
}

#[test]
fn thumbnails_are_small_and_upright() {
    let world = World::new(&["cat", "coffee"]);
    world.put("turned.jpg", &with_exif(&photo("coffee"), 6, "2011:04:17 09:00:00"), 1);
    let png = fs::read(ocelli_tests::fixtures().join("decode/rgb.png")).unwrap();
    world.put("rgb.png", &png, 1);
    world.index(&[]);
    let server = world.serve(&[]);
    let get = |name: &str| {
        let answer = server.get(&format!("/thumbnail/{}", world.id(&server, name)));
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/jpeg")), "{name}");
        assert!(answer.body.starts_with(&[0xff, 0xd8, 0xff]), "{name}");
        answer
    };
    // No larger than the photo, and nearly the same pixels.
    let (width, height, small) = pixels(&get("cat.jpg").body);
    let (_, _, cat) = pixels(&photo("cat"));
    assert_eq!((width, height), (32, 32));
    let apart = |a: &[[u8; 3]], b: &[[u8; 3]]| {
        assert_eq!(a.len(), b.len());
        let sum: u64 =
            a.as_flattened().iter().zip(b.as_flattened()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        sum as f64 / (3 * a.len()) as f64
    };
    assert!(apart(&small, &cat) < 12.0, "{}", apart(&small, &cat));

    let (width, height, plain) = pixels(&get("coffee.jpg").body);
    assert_eq!((width, height), (320, 213));
    let mean = |pixels: &[[u8; 3]]| {
        pixels.iter().map(|pixel| f64::from(pixel[0])).sum::<f64>() / pixels.len() as f64
    };
    let (_, _, full) = pixels(&photo("coffee"));
    assert!((mean(&plain) - mean(&full)).abs() < 1.0);
    // A quarter turn to the right.
    let (width, height, turned) = pixels(&get("turned.jpg").body);
    assert_eq!((width, height), (213, 320));
    let back: Vec<[u8; 3]> = (0..213)
        .flat_map(|y| (0..320).map(move |x| (x, y)))
        .map(|(x, y)| turned[x * 213 + 212 - y])
        .collect();
    assert!(apart(&back, &plain) < 6.0, "{}", apart(&back, &plain));
    assert!(apart(&plain, &plain.iter().rev().copied().collect::<Vec<_>>()) > 20.0);
    let (width, height, _) = pixels(&get("rgb.png").body);
    let (wide, high, _) = pixels(&png);
    assert_eq!((width, height), (wide.min(320), high.min(320)));

    // The browser keeps it, and is told if it still has the right one.
    let answer = get("coffee.jpg");
    let tag = answer.header("etag").unwrap();
    assert!(answer.header("cache-control").unwrap().starts_with("private"));
    let path = format!("/thumbnail/{}", world.id(&server, "coffee.jpg"));
    let again = request(&server.address, "GET", &path, &[("If-None-Match", tag)], b"");
    assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, Some(tag)));
    let other = request(&server.address, "GET", &path, &[("If-None-Match", "\"x\"")], b"");
    assert_eq!((other.status, &other.body), (200, &answer.body));
    assert!(
        server.metric("ocelli_requests_total{method=\"GET\",route=\"/thumbnail/{id}\",status=\"200\"}") > 4.0
    );
}

#[test]
fn thumbnails_show_indexed_photos_and_nothing_else() {
    let world = World::indexed(&["cat", "ship", "frog", "horse", "automobile"]);
    let secret = world.0.path().join("secret.jpg");
    fs::write(&secret, photo("coffee")).unwrap();
    let server = world.serve(&[]);
    let at = |name: &str| format!("/thumbnail/{}", world.id(&server, name));
    for path in [
        "/thumbnail/../../etc/passwd",
        "/thumbnail/..%2f..%2fetc%2fpasswd",
        "/thumbnail/%2fetc%2fpasswd",
        &format!("/thumbnail/{}", world.path("cat.jpg").replace('/', "%2F")),
        "/thumbnail/cat.jpg",
        "/thumbnail/%ff%fe",
        "/thumbnail/",
        "/thumbnail/1",
        "/thumbnail/00000000000000000000000000000000",
        &at("cat.jpg").to_uppercase().replace("/THUMBNAIL", "/thumbnail"),
        &format!("{}/x", at("cat.jpg")),
    ] {
        server.get(path).fails(404, &[]);
    }
    server.get("/thumbnail/00000000000000000000000000000000").fails(404, &["no photo of this id"]);
    server.get("/thumbnail/cat.jpg").fails(404, &["no id"]);
    server.json(&at("cat.jpg"), &json!({})).fails(405, &[]);

    let paths = ["cat", "ship", "frog", "horse", "automobile"].map(|name| at(&format!("{name}.jpg")));
    // One that was shown, and is gone.
    assert_eq!(server.get(&paths[0]).status, 200);
    fs::remove_file(world.photos().join("cat.jpg")).unwrap();
    server.get(&paths[0]).fails(404, &["the photo is gone"]);
    // A link to something else, and other bytes of the same number.
    let ship = world.photos().join("ship.jpg");
    fs::remove_file(&ship).unwrap();
    std::os::unix::fs::symlink(&secret, &ship).unwrap();
    server.get(&paths[1]).fails(404, &["the photo is gone"]);
    let frog = world.photos().join("frog.jpg");
    let length = fs::metadata(&frog).unwrap().len();
    let mut other = photo("coffee");
    other.truncate(length as usize);
    other.resize(length as usize, 0);
    fs::write(&frog, other).unwrap();
    server.get(&paths[2]).fails(404, &["another one than when it was indexed"]);
    // A pipe, which nobody writes to.
    let horse = world.photos().join("horse.jpg");
    fs::remove_file(&horse).unwrap();
    assert!(Command::new("mkfifo").arg(&horse).status().unwrap().success());
    server.get(&paths[3]).fails(404, &["the photo is gone"]);
    assert_eq!(server.get(&paths[4]).status, 200);
    // What the index no longer names is not shown, kept in memory or not.
    [ship, frog, horse].iter().for_each(|path| fs::remove_file(path).unwrap());
    world.index(&[]);
    server.get(&paths[0]).fails(404, &["no photo of this id"]);
}
