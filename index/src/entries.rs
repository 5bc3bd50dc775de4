//! What is in a store, picture by picture.

use crate::catalog::bytes_path;
use crate::error::Result;
use crate::store::{Facts, Store};
use std::path::PathBuf;

/// A picture with a row, as [`Store::entries`] gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its row in the files of vectors.
    pub row: u64,
    /// Where it lies: at least one path, sorted.
    pub paths: Vec<PathBuf>,
    /// XXH3-128 of the file.
    pub hash: [u8; 16],
    /// Bytes of the file.
    pub bytes: u64,
    /// When it was changed last, in nanoseconds since 1970; of several files the earliest.
    pub modified: i64,
    /// What is known of it.
    pub facts: Facts,
}

impl Store {
    /// The folders that are indexed, sorted.
    ///
    /// # Errors
    /// SQLite refuses.
    pub fn roots(&self) -> Result<Vec<PathBuf>> {
        self.catalog.all("SELECT path FROM roots ORDER BY path", [], |row| Ok(bytes_path(row.get(0)?)))
    }

    /// Every picture that has a row and a file, by its row.
    ///
    /// # Errors
    /// SQLite refuses.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let query = format!(
            "SELECT {COLUMNS} FROM pictures p JOIN files f ON f.picture = p.id WHERE p.row NOT NULL ORDER BY p.row, f.path"
        );
        let mut entries: Vec<Entry> = Vec::new();
        for entry in self.catalog.all(&query, [], read_entry)? {
            match entries.last_mut().filter(|last| last.row == entry.row) {
                Some(last) => last.join(entry),
                None => entries.push(entry),
            }
        }
        Ok(entries)
    }

    /// The picture whose file has this XXH3-128, if it has a row and a file.
    ///
    /// # Errors
    /// SQLite refuses.
    pub fn entry(&self, hash: &[u8; 16]) -> Result<Option<Entry>> {
        let query = format!(
            "SELECT {COLUMNS} FROM pictures p JOIN files f ON f.picture = p.id
             WHERE p.hash = ? AND p.row NOT NULL ORDER BY f.path"
        );
        Ok(joined(self.catalog.all(&query, [hash], read_entry)?))
    }
}

impl Entry {
    /// Takes the file of `other`, which has the same picture.
    fn join(&mut self, other: Entry) {
        self.modified = self.modified.min(other.modified);
        self.paths.extend(other.paths);
    }
}

/// One entry of those that [`read_entry`] gave for one picture's files.
pub(crate) fn joined(files: Vec<Entry>) -> Option<Entry> {
    files.into_iter().reduce(|mut all, one| {
        all.join(one);
        all
    })
}

/// What [`read_entry`] reads, of pictures `p` and files `f`.
pub(crate) const COLUMNS: &str =
    "p.row, f.path, p.hash, f.size, f.mtime, p.width, p.height, p.taken, p.phash";

/// Reads [`COLUMNS`].
pub(crate) fn read_entry(row: &rusqlite::Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        row: row.get::<_, i64>(0)? as u64,
        paths: vec![bytes_path(row.get(1)?)],
        hash: row.get(2)?,
        bytes: row.get::<_, i64>(3)? as u64,
        modified: row.get(4)?,
        facts: Facts {
            size: (row.get(5)?, row.get(6)?),
            taken: row.get(7)?,
            phash: row.get::<_, i64>(8)? as u64,
        },
    })
}
