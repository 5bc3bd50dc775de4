//! The catalog and the files of vectors together.
//!
//! ```text
//! FOLDER/catalog.sqlite       files and pictures; -wal and -shm beside it while it is open
//! FOLDER/vectors-N.i8, .f16   their embeddings; N counts the times that they were compacted
//! FOLDER/lock                 held by the one process that writes
//! ```
//!
//! A commit appends rows to both files, waits until they lie on the disk, and then commits one transaction to the catalog,
//! which alone says what counts. So whatever moment the process or the machine dies at, the store is as it was after one of
//! its commits.

use crate::catalog::{Catalog, bytes_path, path_bytes};
use crate::error::{Error, Result};
use crate::vectors::{Element, MAX_DIM, Rows, Writer};
use rusqlite::params;
use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

/// Which model an index is made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The checkpoint's id, which all of its packed files share whatever their precision.
    pub checkpoint: [u8; 16],
    /// Elements of an embedding.
    pub dim: usize,
    /// The packed file; `None` for a model inside the program.
    pub model: Option<PathBuf>,
}

impl Identity {
    /// The identity of a model that was opened from `path`.
    pub fn of(model: &ocelli::Model, path: Option<&Path>) -> Identity {
        let config = model.config();
        let path = path.map(|path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()));
        Identity { checkpoint: config.checkpoint_id, dim: config.score.embed_dim as usize, model: path }
    }

    fn model_name(&self) -> String {
        self.model.as_ref().map_or_else(|| "one without a file".into(), |path| path.display().to_string())
    }
}

/// What is known of a picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Width and height, upright, in pixels.
    pub size: (u32, u32),
    /// When it was taken as EXIF has it: local time, `2024-05-01 12:33:00`.
    pub taken: Option<String>,
    /// Its perceptual hash.
    pub phash: u64,
}

/// What a file is like now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) size: u64,
    /// Nanoseconds since 1970.
    pub(crate) mtime: i64,
    /// Whether its last change was long enough ago that another one would show in `mtime`.
    pub(crate) settled: bool,
}

/// What was found in a file.
#[derive(Debug)]
pub(crate) enum Content {
    /// A picture that the catalog has.
    Known(i64),
    New {
        hash: [u8; 16],
        facts: Facts,
        vector: Vec<f32>,
    },
    /// Bytes that are no picture.
    Undecodable {
        hash: [u8; 16],
        problem: String,
    },
    /// Bytes that the system would not give.
    Unreadable {
        problem: String,
    },
}

/// A file to write into the catalog.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) path: PathBuf,
    pub(crate) stat: Stat,
    pub(crate) content: Content,
    /// The file that is gone and whose picture this is.
    pub(crate) moved: Option<i64>,
}

/// An index.
pub struct Store {
    pub(crate) folder: PathBuf,
    pub(crate) catalog: Catalog,
    identity: Identity,
    pub(crate) generation: u64,
    /// Which file the catalog was when it was opened.
    file: Option<FileId>,
    /// Of the process that writes.
    writing: Option<Writing>,
}

pub(crate) struct Writing {
    /// Held until the store is closed.
    _lock: File,
    pub(crate) files: [Writer; 2],
    pub(crate) rows: u64,
}

pub(crate) const ELEMENTS: [Element; 2] = [Element::I8, Element::F16];

/// What a file is known by while it is there, where the system says so: its device and number.
type FileId = (u64, u64);

#[cfg(unix)]
fn file_id(path: &Path) -> Option<FileId> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn file_id(_: &Path) -> Option<FileId> {
    None
}

pub(crate) fn catalog_file(folder: &Path) -> PathBuf {
    folder.join("catalog.sqlite")
}

impl Store {
    /// Opens the index in `folder` for questions.
    ///
    /// # Errors
    /// There is none, it is of another version or program, or the system refuses.
    pub fn open(folder: &Path) -> Result<Store> {
        let file = catalog_file(folder);
        if !file.exists() {
            return Err(Error::Absent { path: folder.to_owned() });
        }
        let id = file_id(&file);
        let catalog = Catalog::open(folder, &file)?;
        let Some(checkpoint) = catalog.meta::<[u8; 16]>("checkpoint")? else {
            return Err(Error::Absent { path: folder.to_owned() });
        };
        let dim = catalog.meta::<i64>("dim")?.and_then(|dim| usize::try_from(dim).ok());
        let dim = dim.filter(|dim| (1..=MAX_DIM).contains(dim)).ok_or_else(|| Error::Damaged {
            path: file,
            problem: format!("its embeddings should have 1 to {MAX_DIM} elements"),
        })?;
        let model = catalog.meta::<Vec<u8>>("model")?.map(bytes_path);
        let identity = Identity { checkpoint, dim, model };
        let generation = catalog.meta::<i64>("generation")?.unwrap_or(0) as u64;
        Ok(Store { folder: folder.to_owned(), catalog, identity, generation, file: id, writing: None })
    }

    /// Whether another index has taken the place of this one in its folder, or none, so that it has to be opened anew.
    /// What another process commits to this index shows without that.
    pub fn is_replaced(&self) -> bool {
        file_id(&catalog_file(&self.folder)) != self.file
    }

    /// Opens the index in `folder` for writing, or begins one for `identity`. Gives also how many pictures have to be read
    /// again because the files of vectors have lost theirs.
    ///
    /// # Errors
    /// As [`open`](Self::open); it was made with another checkpoint; another process writes to it.
    pub fn write(folder: &Path, identity: &Identity) -> Result<(Store, usize)> {
        fs::create_dir_all(folder).map_err(Error::io("make the folder", folder))?;
        let lock_file = folder.join("lock");
        let lock = File::options().write(true).create(true).truncate(false).open(&lock_file);
        let lock = lock.map_err(Error::io("open", &lock_file))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Busy { path: folder.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(Error::io("lock", &lock_file)(source)),
        }
        let catalog = Catalog::create(folder, &catalog_file(folder))?;
        let model = identity.model.as_deref().and_then(path_bytes);
        catalog.transaction(|| {
            if catalog.meta::<[u8; 16]>("checkpoint")?.is_none() {
                catalog.set_meta("checkpoint", identity.checkpoint)?;
                catalog.set_meta("dim", identity.dim as i64)?;
                if let Some(model) = model {
                    catalog.set_meta("model", model)?;
                }
            }
            Ok(())
        })?;
        drop(catalog);
        let mut store = Store::open(folder)?;
        store.check(identity)?;
        store.catalog = Catalog::create(folder, &catalog_file(folder))?;
        store.sweep()?;
        let (files, held) = store.open_files(store.generation)?;
        let lost = store.catalog.transaction(|| store.forget_rows("row >= ?", held))?;
        let rows = store.catalog.rows()?;
        store.writing = Some(Writing { _lock: lock, files, rows });
        Ok((store, lost))
    }

    /// Refuses another checkpoint's embeddings.
    ///
    /// # Errors
    /// [`Error::OtherModel`].
    pub fn check(&self, identity: &Identity) -> Result<()> {
        let short = |id: [u8; 16]| u64::from_be_bytes(id[..8].try_into().expect("eight bytes"));
        let Identity { checkpoint, dim, .. } = self.identity;
        if (checkpoint, dim) == (identity.checkpoint, identity.dim) {
            return Ok(());
        }
        let (path, model) = (self.folder.clone(), self.identity.model_name());
        Err(Error::OtherModel { path, model, expected: short(checkpoint), found: short(identity.checkpoint) })
    }

    /// Which model it was made with.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Another connection for questions about files and pictures, for another thread.
    pub(crate) fn reader(&self) -> Result<Catalog> {
        Catalog::open(&self.folder, &catalog_file(&self.folder))
    }

    fn vectors(&self, generation: u64, element: Element) -> PathBuf {
        self.folder.join(format!("vectors-{generation}.{}", element.ending()))
    }

    /// Opens both files of vectors for writing; how many rows both hold.
    pub(crate) fn open_files(&self, generation: u64) -> Result<([Writer; 2], u64)> {
        let Identity { checkpoint, dim, .. } = self.identity;
        let open = |element| Writer::open(&self.vectors(generation, element), element, dim, checkpoint);
        let [(i8, held), (f16, also)] = [open(ELEMENTS[0])?, open(ELEMENTS[1])?];
        // A folder is no file that Windows would open.
        if cfg!(unix) {
            let folder = File::open(&self.folder).and_then(|folder| folder.sync_all());
            folder.map_err(Error::io("sync", &self.folder))?;
        }
        Ok(([i8, f16], held.min(also)))
    }

    /// Removes files of vectors of other generations, which an interrupted [`compact`](Self::compact) left.
    pub(crate) fn sweep(&self) -> Result<()> {
        let current = ELEMENTS.map(|element| self.vectors(self.generation, element));
        for entry in fs::read_dir(&self.folder).map_err(Error::io("read", &self.folder))?.flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if name.to_string_lossy().starts_with("vectors-") && !current.contains(&path) {
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Does `work` on one state of the store, whatever another process commits meanwhile.
    ///
    /// # Errors
    /// Those of `work`, and SQLite's.
    pub fn reading<T>(&self, work: impl Fn() -> Result<T>) -> Result<T> {
        let mut tries = 3;
        loop {
            match self.catalog.transaction(&work) {
                // A compaction has removed the files of that state. The next one has others.
                Err(Error::Io { source, .. })
                    if source.kind() == std::io::ErrorKind::NotFound && tries > 0 =>
                {
                    tries -= 1;
                }
                done => return done,
            }
        }
    }

    /// Maps the rows of `element`. With both elements in one [`reading`](Self::reading) their rows belong together.
    ///
    /// # Errors
    /// They are not there, damaged, or of another model.
    pub fn map(&self, element: Element) -> Result<Rows> {
        let Identity { checkpoint, dim, .. } = self.identity;
        let rows = self.catalog.rows()?;
        let generation = self.catalog.meta::<i64>("generation")?.unwrap_or(0) as u64;
        Rows::map(&self.vectors(generation, element), element, dim, checkpoint, rows)
    }

    pub(crate) fn writing(&mut self) -> &mut Writing {
        self.writing.as_mut().expect("opened for writing")
    }

    /// Writes `changes`: all of them, or none.
    pub(crate) fn commit(&mut self, changes: &[Change]) -> Result<()> {
        let first = self.writing().rows;
        let mut rows: HashMap<[u8; 16], u64> = HashMap::new();
        for change in changes {
            let Content::New { hash, vector, .. } = &change.content else { continue };
            let row = first + rows.len() as u64;
            // Two files of one picture may have been read at once.
            if !rows.contains_key(hash) && self.catalog.picture(hash)?.is_none() {
                rows.insert(*hash, row);
                self.writing().files.iter_mut().for_each(|file| file.push(vector, row));
            }
        }
        self.writing().files.iter_mut().try_for_each(|file| file.write(first))?;
        self.catalog.transaction(|| changes.iter().try_for_each(|change| self.put(change, &rows)))?;
        self.writing().rows = self.catalog.rows()?;
        Ok(())
    }

    fn put(&self, change: &Change, rows: &HashMap<[u8; 16], u64>) -> Result<()> {
        let Change { path, stat, content, moved } = change;
        let catalog = &self.catalog;
        let (picture, problem) = match content {
            Content::Known(picture) => (Some(*picture), None),
            Content::New { hash, facts, .. } => {
                if let Some(row) = rows.get(hash) {
                    let (width, height) = facts.size;
                    catalog.run(
                        "INSERT INTO pictures (hash, row, width, height, taken, phash) VALUES (?, ?, ?, ?, ?, ?)
                         ON CONFLICT (hash) DO NOTHING",
                        params![hash, *row as i64, width, height, facts.taken, facts.phash as i64],
                    )?;
                }
                (catalog.picture(hash)?.map(|(id, _)| id), None)
            }
            Content::Undecodable { hash, problem } => {
                catalog.run(
                    "INSERT INTO pictures (hash, problem) VALUES (?, ?) ON CONFLICT (hash) DO NOTHING",
                    params![hash, problem],
                )?;
                (catalog.picture(hash)?.map(|(id, _)| id), None)
            }
            Content::Unreadable { problem } => (None, Some(problem)),
        };
        let bytes = path_bytes(path);
        catalog.run(
            "INSERT INTO files (path, size, mtime, settled, picture, problem) VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT (path) DO UPDATE SET size = excluded.size, mtime = excluded.mtime,
               settled = excluded.settled, picture = excluded.picture, problem = excluded.problem",
            params![bytes, stat.size as i64, stat.mtime, stat.settled, picture, problem],
        )?;
        if let Some(id) = moved {
            catalog.run("DELETE FROM files WHERE id = ?", [id])?;
        }
        Ok(())
    }

    /// Forgets the pictures whose rows meet `condition`, so that their files are read again.
    pub(crate) fn forget_rows(&self, condition: &str, value: u64) -> Result<usize> {
        let which = format!("SELECT id FROM pictures WHERE {condition}");
        let unsettle = format!("UPDATE files SET picture = NULL, settled = 0 WHERE picture IN ({which})");
        self.catalog.run(&unsettle, [value as i64])?;
        self.catalog.run(&format!("DELETE FROM pictures WHERE {condition}"), [value as i64])
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("folder", &self.folder)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}
