//! What an update finds, and where it goes on.

use crate::{World, age, count, repository};
use ocelli_index::{Error, Event, SearchOptions, Store, Summary, UpdateOptions, Walk, update};
use std::fs;
use std::ops::ControlFlow;

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
