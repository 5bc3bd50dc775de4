//! SQLite: which file shows which picture, and what is known of it.
//!
//! It runs in WAL mode with `synchronous = NORMAL`: a transaction may be lost with the power of the last seconds, but never
//! half of it, and never one before another that is kept. The vectors that a transaction counts are on the disk before it
//! begins.

use crate::error::{Error, Result};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Params, params};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// "ocel": what `file` and SQLite know the database by.
const APPLICATION: i32 = 0x6f63_656c;
const VERSION: i32 = 1;
/// How long a reader or writer waits for another one's transaction.
const PATIENCE: Duration = Duration::from_secs(10);

const SCHEMA: &str = "
CREATE TABLE meta (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
-- Folders that are indexed.
CREATE TABLE roots (path BLOB PRIMARY KEY) WITHOUT ROWID;
-- What a file's bytes show. Without a row: what could not be decoded, and why.
CREATE TABLE pictures (
  id INTEGER PRIMARY KEY,
  hash BLOB NOT NULL UNIQUE,          -- XXH3-128 of the file
  row INTEGER UNIQUE,                 -- in the files of vectors
  width INTEGER, height INTEGER,      -- upright, in pixels
  taken TEXT,                         -- as EXIF has it: local time, 2024-05-01 12:33:00
  phash INTEGER,
  problem TEXT
);
-- Places. Without a picture: what could not be read, and why.
CREATE TABLE files (
  id INTEGER PRIMARY KEY,
  path BLOB NOT NULL UNIQUE,
  size INTEGER NOT NULL,
  mtime INTEGER NOT NULL,             -- nanoseconds since 1970
  settled INTEGER NOT NULL,           -- 0: it had just been written when it was read, and is read again
  picture INTEGER REFERENCES pictures(id),
  problem TEXT
);
CREATE INDEX files_picture ON files(picture);
";

/// A row of `files`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileRow {
    pub(crate) id: i64,
    pub(crate) size: u64,
    pub(crate) mtime: i64,
    pub(crate) settled: bool,
    pub(crate) picture: Option<i64>,
}

/// A connection.
pub(crate) struct Catalog {
    connection: Connection,
    /// The index, which errors name.
    folder: PathBuf,
}

impl Catalog {
    /// Opens the database in `folder` for writing, and makes its tables if there are none.
    pub(crate) fn create(folder: &Path, file: &Path) -> Result<Catalog> {
        let connection = Connection::open(file);
        let catalog = Catalog::new(connection, folder)?;
        catalog.sql(catalog.connection.pragma_update(None, "journal_mode", "wal"))?;
        catalog.sql(catalog.connection.pragma_update(None, "synchronous", "normal"))?;
        if catalog.number("PRAGMA user_version")? == 0
            && catalog.number("SELECT count(*) FROM sqlite_schema")? == 0
        {
            let setup = format!(
                "BEGIN; {SCHEMA} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; COMMIT;"
            );
            catalog.sql(catalog.connection.execute_batch(&setup))?;
        }
        catalog.check()
    }

    /// Opens the database in `folder` for reading.
    pub(crate) fn open(folder: &Path, file: &Path) -> Result<Catalog> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let catalog = Catalog::new(Connection::open_with_flags(file, flags), folder)?;
        catalog.check()
    }

    fn new(connection: rusqlite::Result<Connection>, folder: &Path) -> Result<Catalog> {
        let failed = |source| Error::Catalog { path: folder.to_owned(), source };
        let connection = connection.map_err(failed)?;
        connection.busy_timeout(PATIENCE).map_err(failed)?;
        Ok(Catalog { connection, folder: folder.to_owned() })
    }

    fn check(self) -> Result<Catalog> {
        let found = (self.number("PRAGMA application_id")?, self.number("PRAGMA user_version")?);
        if found == (APPLICATION.into(), VERSION.into()) {
            return Ok(self);
        }
        let problem = match found {
            (id, version) if id == i64::from(APPLICATION) => {
                format!(
                    "the index is of version {version}, and this program reads version {VERSION}: make it again"
                )
            }
            _ => "its catalog is a database of another program".into(),
        };
        Err(Error::NotAnIndex { path: self.folder, problem })
    }

    /// The same result with this crate's error.
    pub(crate) fn sql<T>(&self, result: rusqlite::Result<T>) -> Result<T> {
        result.map_err(|source| Error::Catalog { path: self.folder.clone(), source })
    }

    /// SQLite's connection.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Runs a statement.
    pub(crate) fn run(&self, statement: &str, values: impl Params) -> Result<usize> {
        self.sql(self.connection.prepare_cached(statement).and_then(|mut run| run.execute(values)))
    }

    /// Every row of an answer, as `read` reads it.
    pub(crate) fn all<T>(
        &self,
        statement: &str,
        values: impl Params,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let collect = |mut query: rusqlite::CachedStatement<'_>| query.query_map(values, read)?.collect();
        self.sql(self.connection.prepare_cached(statement).and_then(collect))
    }

    /// The number that a statement gives.
    pub(crate) fn number(&self, statement: &str) -> Result<i64> {
        self.sql(self.connection.query_row(statement, [], |row| row.get(0)))
    }

    /// Does `work` in one transaction: all of it, or nothing.
    pub(crate) fn transaction<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let transaction = self.sql(self.connection.unchecked_transaction())?;
        let value = work()?;
        self.sql(transaction.commit())?;
        Ok(value)
    }

    pub(crate) fn meta<T: rusqlite::types::FromSql>(&self, name: &str) -> Result<Option<T>> {
        let query =
            self.connection.query_row("SELECT value FROM meta WHERE name = ?", [name], |row| row.get(0));
        self.sql(query.optional())
    }

    pub(crate) fn set_meta(&self, name: &str, value: impl rusqlite::ToSql) -> Result<()> {
        self.run("INSERT OR REPLACE INTO meta VALUES (?, ?)", params![name, value]).map(|_| ())
    }

    /// Rows of the files of vectors that count.
    pub(crate) fn rows(&self) -> Result<u64> {
        Ok(self.number("SELECT coalesce(max(row) + 1, 0) FROM pictures")? as u64)
    }

    pub(crate) fn file(&self, path: &Path) -> Result<Option<FileRow>> {
        let Some(bytes) = path_bytes(path) else { return Ok(None) };
        let query = "SELECT id, size, mtime, settled, picture FROM files WHERE path = ?";
        let read = |row: &rusqlite::Row<'_>| {
            let (id, size, mtime) = (row.get(0)?, row.get::<_, i64>(1)? as u64, row.get(2)?);
            Ok(FileRow { id, size, mtime, settled: row.get(3)?, picture: row.get(4)? })
        };
        let found =
            self.connection.prepare_cached(query).and_then(|mut run| run.query_row([bytes], read).optional());
        self.sql(found)
    }

    /// The picture of these bytes, and why it could not be decoded if so.
    pub(crate) fn picture(&self, hash: &[u8; 16]) -> Result<Option<(i64, Option<String>)>> {
        let query = "SELECT id, problem FROM pictures WHERE hash = ?";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let found =
            self.connection.prepare_cached(query).and_then(|mut run| run.query_row([hash], read).optional());
        self.sql(found)
    }
}

/// The least and the first greater path of all that lie below `folder`.
pub(crate) fn below(folder: &Path) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut from = path_bytes(folder)?.to_vec();
    while from.last() == Some(&b'/') {
        from.pop();
    }
    let mut to = from.clone();
    from.push(b'/');
    to.push(b'/' + 1);
    Some((from, to))
}

/// A path's bytes; `None` where a system has paths that are not bytes and this one is not UTF-8.
#[cfg(unix)]
pub(crate) fn path_bytes(path: &Path) -> Option<&[u8]> {
    Some(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()))
}

#[cfg(not(unix))]
pub(crate) fn path_bytes(path: &Path) -> Option<&[u8]> {
    path.to_str().map(str::as_bytes)
}

/// The path of these bytes.
#[cfg(unix)]
pub(crate) fn bytes_path(bytes: Vec<u8>) -> PathBuf {
    <std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes).into()
}

#[cfg(not(unix))]
pub(crate) fn bytes_path(bytes: Vec<u8>) -> PathBuf {
    String::from_utf8_lossy(&bytes).into_owned().into()
}
