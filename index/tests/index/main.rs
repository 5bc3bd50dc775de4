//! Whole indexes, with the demo model: what an update finds, what survives, what a search gives.

mod damage;
mod finding;
mod updating;

use ocelli::{Model, Runtime, RuntimeOptions};
use ocelli_index::vectors::Element;
use ocelli_index::{
    Entry, Event, Hit, Identity, Query, SearchOptions, Store, Summary, Term, UpdateOptions, Walk, search,
    update,
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
