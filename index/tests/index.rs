//! Whole indexes, with the demo model: what an update finds, what survives, what a search gives.

use image::{ImageFormat, RgbImage};
use ocelli::{Model, Runtime, RuntimeOptions};
use ocelli_index::vectors::Element;
use ocelli_index::{
    DuplicateOptions, Entry, Error, Event, Filter, Hit, Identity, Query, SearchOptions, Store, Summary, Term,
    UpdateOptions, Walk, duplicates, search, update,
};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A folder of photos and an index beside it.
struct World {
    folder: TempDir,
    model: Arc<Model>,
    runtime: Runtime,
}

impl World {
    fn new() -> World {
        let model = Model::open(repository().join("tests/fixtures/cifar10/cifar10.ocelli")).unwrap();
        let runtime = Runtime::new(&RuntimeOptions::default().threads(2)).unwrap();
        let world = World { folder: tempfile::tempdir().unwrap(), model, runtime };
        fs::create_dir(world.folder.path().join("photos")).unwrap();
        world
    }

    /// A world with the five photos of things that the demo model knows.
    fn of_examples() -> World {
        let world = World::new();
        for name in ["automobile", "cat", "frog", "horse", "ship"] {
            world.put(
                &format!("{name}.jpg"),
                &fs::read(repository().join(format!("examples/{name}.jpg"))).unwrap(),
            );
        }
        world
    }

    fn photo(&self, name: &str) -> PathBuf {
        fs::canonicalize(self.folder.path().join("photos")).unwrap().join(name)
    }

    fn index(&self) -> PathBuf {
        self.folder.path().join("index")
    }

    /// Writes a photo that was last changed a while ago.
    fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.photo(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        age(&path, 1000);
    }

    fn identity(&self) -> Identity {
        Identity::of(&self.model, None)
    }

    fn update_with(&self, options: &UpdateOptions) -> (Summary, Vec<String>) {
        let (mut store, _) = Store::write(&self.index(), &self.identity()).unwrap();
        let walk = Walk::new(&[self.photo("")], &[], false).unwrap();
        let mut events = Vec::new();
        let name = |path: &Path| path.strip_prefix(self.photo("")).unwrap().to_str().unwrap().to_owned();
        let mut note = |event: Event<'_>| {
            match event {
                Event::Indexed { path } => events.push(format!("indexed {}", name(path))),
                Event::Copy { path } => events.push(format!("copy {}", name(path))),
                Event::Moved { from, path } => events.push(format!("moved {} {}", name(from), name(path))),
                Event::Removed { path } => events.push(format!("removed {}", name(path))),
                Event::Unreadable { path, problem } => {
                    events.push(format!("unreadable {}: {problem}", name(path)))
                }
                _ => {}
            }
            ControlFlow::Continue(())
        };
        let summary =
            update::update(&mut store, &self.model, &self.runtime, &walk, options, &mut note).unwrap();
        events.sort();
        (summary, events)
    }

    fn update(&self) -> (Summary, Vec<String>) {
        let mut options = UpdateOptions::default();
        options.readers = 2;
        self.update_with(&options)
    }

    fn search(&self, terms: &[&str], options: &SearchOptions) -> Vec<Hit> {
        let terms: Vec<String> = terms.iter().map(|&term| term.to_owned()).collect();
        let terms = Term::parse_all(&terms).unwrap();
        let query = Query::embed(
            &terms,
            &self.model,
            &self.runtime,
            &Default::default(),
            Default::default(),
            &mut |warning| panic!("{warning}"),
        )
        .unwrap();
        search::search(&Store::open(&self.index()).unwrap(), self.runtime.kernels(), &query, options).unwrap()
    }

    /// Every file with its picture and both of its rows, whatever their numbers are.
    fn contents(&self) -> BTreeMap<PathBuf, (Entry, Vec<i8>, Vec<u32>)> {
        let store = Store::open(&self.index()).unwrap();
        let (rows, halves) = (store.map(Element::I8).unwrap(), store.map(Element::F16).unwrap());
        let mut contents = BTreeMap::new();
        for entry in store.entries().unwrap() {
            let mut vector = vec![0.0; store.identity().dim];
            halves.halves(entry.row as usize, &mut vector).unwrap();
            let codes = rows.codes(entry.row as usize).unwrap().to_vec();
            let bits: Vec<u32> = vector.iter().map(|x| x.to_bits()).collect();
            for path in entry.paths.clone() {
                contents.insert(path, (Entry { row: 0, ..entry.clone() }, codes.clone(), bits.clone()));
            }
        }
        contents
    }
}

fn age(path: &Path, seconds: u64) {
    let then = SystemTime::now() - Duration::from_secs(seconds);
    File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
}

fn count(indexed: usize) -> Summary {
    Summary { indexed, ..Summary::default() }
}

#[test]
fn what_is_new_changed_moved_and_gone_is_found() {
    let world = World::of_examples();
    world.put("sub/broken.jpg", b"\xff\xd8\xff\xe0 no picture");
    let (summary, events) = world.update();
    assert_eq!(summary, Summary { unreadable: 1, ..count(5) });
    assert_eq!(events[..2], ["indexed automobile.jpg", "indexed cat.jpg"]);
    assert!(events[5].starts_with("unreadable sub/broken.jpg: "), "{events:?}");
    // Nothing is read again, not even what could not be decoded.
    assert_eq!(world.update(), (Summary { known: 6, ..Summary::default() }, vec![]));

    let before = world.contents();
    fs::rename(world.photo("cat.jpg"), world.photo("sub/moved.jpg")).unwrap();
    fs::remove_file(world.photo("frog.jpg")).unwrap();
    fs::copy(world.photo("ship.jpg"), world.photo("ship copy.jpg")).unwrap();
    age(&world.photo("ship copy.jpg"), 900);
    age(&world.photo("ship.jpg"), 500);
    let horse = fs::read(world.photo("horse.jpg")).unwrap();
    world.put("automobile.jpg", &horse[..]);
    age(&world.photo("automobile.jpg"), 400);
    let (summary, events) = world.update();
    let expected =
        ["copy automobile.jpg", "copy ship copy.jpg", "moved cat.jpg sub/moved.jpg", "removed frog.jpg"];
    assert_eq!(events, expected);
    let expected = Summary { known: 3, copies: 2, moved: 1, removed: 1, ..Summary::default() };
    assert_eq!(summary, expected);
    let after = world.contents();
    assert_eq!(after[&world.photo("sub/moved.jpg")].1, before[&world.photo("cat.jpg")].1);
    assert_eq!(after[&world.photo("automobile.jpg")].2, before[&world.photo("horse.jpg")].2);
    assert_eq!(after.len(), 5);

    // A picture that comes back is known.
    world.put("frog again.jpg", &fs::read(repository().join("examples/frog.jpg")).unwrap());
    assert_eq!(world.update().1, ["copy frog again.jpg"]);
}

#[test]
fn a_file_that_was_just_written_is_looked_at_again() {
    let world = World::of_examples();
    age(&world.photo("cat.jpg"), 0);
    assert_eq!(world.update().0, count(5));
    // Read again, and the same.
    assert_eq!(world.update(), (Summary { known: 5, ..Summary::default() }, vec![]));
}

#[test]
fn what_could_not_be_read_is_tried_again_when_it_changes_or_on_request() {
    let world = World::of_examples();
    world.put("broken.jpg", b"no picture");
    assert_eq!(world.update().0.unreadable, 1);
    assert_eq!(world.update().0, Summary { known: 6, ..Summary::default() });
    let mut options = UpdateOptions::default();
    options.retry = true;
    assert_eq!(world.update_with(&options).0, Summary { known: 5, unreadable: 1, ..Summary::default() });
    world.put("broken.jpg", &fs::read(repository().join("examples/coffee.jpg")).unwrap());
    assert_eq!(world.update().1, ["indexed broken.jpg"]);
    // The system refuses: tried every time.
    #[cfg(unix)]
    {
        fs::create_dir(world.photo("folder.jpg")).unwrap();
        std::os::unix::net::UnixListener::bind(world.photo("socket.jpg")).unwrap();
        assert_eq!(world.update().0, Summary { known: 6, ..Summary::default() });
    }
}

#[test]
fn an_empty_folder_forgets_nothing_unless_asked() {
    let world = World::of_examples();
    world.update();
    for name in ["automobile", "cat", "frog", "horse", "ship"] {
        fs::remove_file(world.photo(&format!("{name}.jpg"))).unwrap();
    }
    let (summary, events) = world.update();
    assert_eq!((summary.removed, summary.unreadable), (0, 1));
    assert!(events[0].contains("is it mounted?"), "{events:?}");
    assert_eq!(world.contents().len(), 5);
    let mut options = UpdateOptions::default();
    options.forget = true;
    assert_eq!(world.update_with(&options).0.removed, 5);
    assert_eq!(world.contents().len(), 0);
    assert_eq!(world.search(&["a cat"], &SearchOptions::default()), []);
}

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

#[test]
fn another_model_and_a_second_writer_are_refused_by_name() {
    let world = World::of_examples();
    world.update();
    let other = Identity { checkpoint: [9; 16], ..world.identity() };
    let error = Store::write(&world.index(), &other).unwrap_err();
    assert!(matches!(error, Error::OtherModel { found: 0x0909_0909_0909_0909, .. }), "{error}");
    let (store, _) = Store::write(&world.index(), &world.identity()).unwrap();
    assert!(matches!(Store::write(&world.index(), &world.identity()), Err(Error::Busy { .. })));
    // Who asks need not wait.
    assert_eq!(world.search(&["a cat"], &SearchOptions::default()).len(), 5);
    drop(store);
    assert!(Store::write(&world.index(), &world.identity()).is_ok());
    let absent = Store::open(&world.folder.path().join("none")).unwrap_err();
    assert!(matches!(absent, Error::Absent { .. }), "{absent}");
}

#[test]
fn damage_is_found_named_and_repaired() {
    let world = World::of_examples();
    world.update();
    let before = world.contents();
    let file = world.index().join("vectors-0.f16");
    let mut bytes = fs::read(&file).unwrap();
    let last = bytes.len() - 20;
    bytes[last] ^= 4;
    fs::write(&file, &bytes).unwrap();
    let store = Store::open(&world.index()).unwrap();
    let query = Query::new(&[(1.0, vec![1.0; store.identity().dim])]).unwrap();
    let error =
        search::search(&store, world.runtime.kernels(), &query, &SearchOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }) && error.to_string().contains("row 4"), "{error}");
    drop(store);
    let (mut store, lost) = Store::write(&world.index(), &world.identity()).unwrap();
    assert_eq!((lost, store.verify().unwrap()), (0, (5, 1)));
    assert_eq!(store.verify().unwrap(), (4, 0));
    drop(store);
    assert_eq!(world.update().0, Summary { known: 4, ..count(1) });
    assert_eq!(world.contents(), before);
    // Cut off, or gone.
    fs::write(&file, &bytes[..64 + 3 * (bytes.len() - 64) / 5 + 7]).unwrap();
    assert!(matches!(Store::open(&world.index()).unwrap().map(Element::F16), Err(Error::Damaged { .. })));
    assert_eq!(Store::write(&world.index(), &world.identity()).unwrap().1, 2);
    assert_eq!(world.update().0, Summary { known: 3, ..count(2) });
    assert_eq!(world.contents(), before);
    fs::remove_file(world.index().join("vectors-0.i8")).unwrap();
    assert_eq!(world.update().0, count(5));
    assert_eq!(world.contents(), before);
}

#[test]
fn compaction_keeps_what_has_a_file_to_the_bit() {
    let world = World::of_examples();
    world.update();
    for name in ["automobile.jpg", "horse.jpg"] {
        fs::remove_file(world.photo(name)).unwrap();
    }
    world.update();
    let before = world.contents();
    let size = fs::metadata(world.index().join("vectors-0.i8")).unwrap().len();
    // Left by an interrupted compaction.
    fs::write(world.index().join("vectors-7.i8"), "x").unwrap();
    let (mut store, _) = Store::write(&world.index(), &world.identity()).unwrap();
    assert_eq!(store.compact().unwrap(), 2);
    assert_eq!(store.compact().unwrap(), 0);
    drop(store);
    assert_eq!(world.contents(), before);
    assert!(fs::metadata(world.index().join("vectors-2.i8")).unwrap().len() < size);
    for gone in ["vectors-0.i8", "vectors-0.f16", "vectors-1.i8", "vectors-7.i8"] {
        assert!(!world.index().join(gone).exists());
    }
    world.put("again.jpg", &fs::read(repository().join("examples/horse.jpg")).unwrap());
    assert_eq!(world.update().0, Summary { known: 3, ..count(1) });
    assert_eq!(
        world.search(&["a photo of a horse"], &SearchOptions::default())[0].picture.paths,
        [world.photo("again.jpg")]
    );
}

#[test]
fn an_update_that_is_stopped_goes_on_where_it_was() {
    let whole = World::of_examples();
    whole.update();
    let (stopped, mut times) = (World::of_examples(), 0);
    loop {
        let (mut store, _) = Store::write(&stopped.index(), &stopped.identity()).unwrap();
        let walk = Walk::new(&[stopped.photo("")], &[], false).unwrap();
        let mut options = UpdateOptions::default();
        options.encoder = options.encoder.batch(1);
        let mut read = 0;
        let mut stop = |event: Event<'_>| {
            read += usize::from(matches!(event, Event::Read));
            if read > times { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        match update::update(&mut store, &stopped.model, &stopped.runtime, &walk, &options, &mut stop) {
            Ok(_) => break,
            Err(Error::Stopped) => times += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(times >= 1);
    let strip = |world: &World| {
        let root = world.photo("");
        let contents = world.contents().into_iter();
        let strip = contents.map(|(path, (entry, codes, bits))| {
            (path.strip_prefix(&root).unwrap().to_owned(), (entry.hash, entry.facts, codes, bits))
        });
        strip.collect::<Vec<_>>()
    };
    assert_eq!(strip(&stopped), strip(&whole));
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
