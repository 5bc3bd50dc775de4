//! What is refused, found damaged, repaired and let go.

use crate::{World, count, repository};
use ocelli_index::vectors::Element;
use ocelli_index::{Error, Identity, Query, SearchOptions, Store, Summary, search};
use std::fs;

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
