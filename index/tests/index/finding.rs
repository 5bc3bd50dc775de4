//! What questions find.

use crate::{World, age, repository};
use image::{ImageFormat, RgbImage};
use ocelli_index::{DuplicateOptions, Filter, SearchOptions, Store, duplicates};
use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

#[test]
fn words_find_what_they_name() {
    let world = World::of_examples();
    world.update();
    let first = |terms: &[&str]| {
        let hits = world.search(terms, &SearchOptions::default());
        assert_eq!(hits.len(), 5);
        assert!(hits.is_sorted_by(|a, b| a.similarity >= b.similarity));
        hits[0].picture.paths[0].file_stem().unwrap().to_str().unwrap().to_owned()
    };
    for (words, name) in
        [("cat", "cat"), ("frog", "frog"), ("horse", "horse"), ("ship", "ship"), ("automobile", "automobile")]
    {
        assert_eq!(first(&[&format!("a photo of a {words}")]), name);
    }
    // A picture finds itself, and its like is taken away by a minus.
    let ship = world.photo("ship.jpg").display().to_string();
    assert_eq!(first(&[&ship]), "ship");
    assert_eq!(first(&["a photo of a frog", "-", &ship]), "frog");
    let hits = world.search(&[&ship], &SearchOptions::default());
    assert!((hits[0].similarity - 1.0).abs() < 1e-3 && (hits[0].score - 1.0).abs() < 1e-3);
    let last = world.search(&[&format!("-2:{ship}")], &SearchOptions::default());
    assert!((last[4].similarity + 1.0).abs() < 1e-3 && (last[4].score + 2.0).abs() < 2e-3);
}

#[test]
fn filters_hold() {
    let world = World::of_examples();
    fs::create_dir(world.photo("sub")).unwrap();
    fs::create_dir(world.photo("sub2")).unwrap();
    fs::rename(world.photo("cat.jpg"), world.photo("sub/cat.jpg")).unwrap();
    fs::rename(world.photo("ship.jpg"), world.photo("sub2/ship.jpg")).unwrap();
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(951_782_400 + 43_200); // 29 February 2000, noon
    File::options().write(true).open(world.photo("frog.jpg")).unwrap().set_modified(old).unwrap();
    world.put("dated.jpg", &dated());
    world.update();
    let names = |options: SearchOptions| {
        let mut names: Vec<String> = world
            .search(&["a photo of an animal"], &options)
            .iter()
            .map(|hit| hit.picture.paths[0].file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    let with = |filter: Filter| {
        let mut options = SearchOptions::default();
        options.filter = filter;
        names(options)
    };
    let none = Filter::default;
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(with(Filter { folders: vec![world.photo("sub")], ..none() }), ["cat"]);
    assert_eq!(
        with(Filter { folders: vec![world.photo("sub"), world.photo("sub2")], ..none() }),
        ["cat", "ship"]
    );
    assert_eq!(with(Filter { since: text("2000-02"), until: text("2000-02-29"), ..none() }), ["frog"]);
    assert_eq!(with(Filter { until: text("1999"), ..none() }), [""; 0]);
    assert_eq!(
        with(Filter { since: text("2011-04-17"), until: text("2011-04-17 09:00"), ..none() }),
        ["dated"]
    );
    assert_eq!(with(Filter { since: text("2011-04-17 09:01"), until: text("2011"), ..none() }), [""; 0]);
    let mut options = SearchOptions::default();
    options.top_k = 2;
    assert_eq!(names(options).len(), 2);
    let mut options = SearchOptions::default();
    options.threshold = Some(0.999);
    let cat = world.photo("sub/cat.jpg").display().to_string();
    let hits = world.search(&[&cat], &options);
    assert_eq!(hits.len(), 1);
    assert_eq!(
        world.contents()[&world.photo("dated.jpg")].0.facts.taken.as_deref(),
        Some("2011-04-17 08:30:12")
    );
}

/// A JPEG with an EXIF block: DateTimeOriginal 2011:04:17 08:30:12.
fn dated() -> Vec<u8> {
    let mut tiff = b"II\x2a\0\x08\0\0\0".to_vec();
    // IFD0 with the pointer to the EXIF IFD at 26; its one field; the text at 44.
    tiff.extend(*b"\x01\0\x69\x87\x04\0\x01\0\0\0\x1a\0\0\0\0\0\0\0");
    tiff.extend(*b"\x01\0\x03\x90\x02\0\x14\0\0\0\x2c\0\0\0\0\0\0\0");
    tiff.extend(*b"2011:04:17 08:30:12\0");
    let mut segment = vec![0xff, 0xe1];
    segment.extend((2 + 6 + tiff.len() as u16).to_be_bytes());
    segment.extend(*b"Exif\0\0");
    segment.extend(tiff);
    let mut jpeg = fs::read(repository().join("examples/rocket.jpg")).unwrap();
    jpeg.splice(2..2, segment);
    jpeg
}

/// `picture` in another format or quality.
fn saved(picture: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

#[test]
fn versions_of_a_photo_are_grouped_the_best_first() {
    let world = World::of_examples();
    let coffee = image::open(repository().join("examples/coffee.jpg")).unwrap().to_rgb8();
    let (width, height) = coffee.dimensions();
    let small = image::imageops::thumbnail(&coffee, width / 2, height / 2);
    let cut = image::imageops::crop_imm(&coffee, width / 40, height / 40, width * 19 / 20, height * 19 / 20)
        .to_image();
    world.put("coffee.png", &saved(&coffee, ImageFormat::Png));
    world.put("coffee small.jpg", &saved(&small, ImageFormat::Jpeg));
    world.put("coffee cut.jpg", &saved(&cut, ImageFormat::Jpeg));
    world.put("rocket.jpg", &fs::read(repository().join("examples/rocket.jpg")).unwrap());
    world.put("sub/rocket.jpg", &fs::read(repository().join("examples/rocket.jpg")).unwrap());
    age(&world.photo("sub/rocket.jpg"), 5000);
    world.update();
    let store = Store::open(&world.index()).unwrap();
    let mut options = DuplicateOptions::default();
    options.threads = 2;
    let groups = duplicates::duplicates(&store, world.runtime.kernels(), &options).unwrap();
    let found: Vec<Vec<PathBuf>> =
        groups.iter().map(|group| group.files.iter().map(|(path, _)| path.clone()).collect()).collect();
    let photos = |names: &[&str]| names.iter().map(|name| world.photo(name)).collect::<Vec<_>>();
    assert_eq!(
        found,
        [
            photos(&["coffee.png", "coffee cut.jpg", "coffee small.jpg"]),
            photos(&["rocket.jpg", "sub/rocket.jpg"]),
        ]
    );
    assert_eq!(groups[1].similarity, 1.0);
    assert!(groups[0].similarity >= 0.9 && groups[0].similarity < 1.0);
    options.distance = 0;
    options.similarity = 1.1;
    assert_eq!(duplicates::duplicates(&store, world.runtime.kernels(), &options).unwrap().len(), 1);
}
