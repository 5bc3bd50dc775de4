//! Everything that can go wrong with an index, in one enum.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What `Result`s of this crate carry.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The model, a picture or a text.
    Ocelli(ocelli::Error),
    /// The system refused something.
    Io {
        /// What was being done, as in "cannot {action}".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// SQLite refused something.
    Catalog {
        /// The index.
        path: PathBuf,
        /// Its reason.
        source: rusqlite::Error,
    },
    /// There is no index.
    Absent {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Something that is not an index of this version.
    NotAnIndex {
        /// Where it is.
        path: PathBuf,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// An index whose files do not fit together or whose bytes have changed.
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The index was made with another checkpoint: its embeddings mean nothing to this model.
    OtherModel {
        /// The index.
        path: PathBuf,
        /// The model it was made with, as it was named then.
        model: String,
        /// The index's checkpoint id, first eight bytes.
        expected: u64,
        /// The model's.
        found: u64,
    },
    /// A picture of which no file has the bytes any more that were indexed.
    Gone {
        /// The first of its files.
        path: PathBuf,
    },
    /// Another process writes to the index.
    Busy {
        /// The index.
        path: PathBuf,
    },
    /// A question that cannot be asked.
    Query {
        /// What is wrong with it.
        problem: String,
    },
    /// Folders that cannot be walked.
    Walk {
        /// What is wrong with them.
        problem: String,
    },
    /// Whoever watched [`update`](crate::update::update) asked it to stop. What was committed stays.
    Stopped,
}

impl Error {
    /// For `map_err`: the system refused `action` on `path`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { action, path: path.to_owned(), source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Ocelli(error) => error.fmt(f),
            Error::Io { action, path, source } => write!(f, "{}: cannot {action}: {source}", path.display()),
            Error::Catalog { path, source } => {
                write!(f, "{}: the index's database: {source}", path.display())
            }
            Error::Absent { path } => {
                write!(f, "{}: there is no index; make one with ocelli index DIR", path.display())
            }
            Error::NotAnIndex { path, problem } => write!(f, "{}: {problem}", path.display()),
            Error::Damaged { path, problem } => write!(
                f,
                "{}: {problem}; ocelli index --verify finds and repairs what is damaged",
                path.display()
            ),
            Error::OtherModel { path, model, expected, found } => write!(
                f,
                "{}: the index was made with another model ({model}): expected checkpoint {expected:016x}, found \
                 {found:016x}; give that model with --model, or make another index with --index",
                path.display()
            ),
            Error::Gone { path } => {
                write!(f, "{}: the photo is gone, or another one than when it was indexed", path.display())
            }
            Error::Busy { path } => write!(
                f,
                "{}: another ocelli index is at work on this index; wait for it, or end it",
                path.display()
            ),
            Error::Query { problem } | Error::Walk { problem } => f.write_str(problem),
            Error::Stopped => f.write_str("stopped"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Ocelli(error) => Some(error),
            Error::Io { source, .. } => Some(source),
            Error::Catalog { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<ocelli::Error> for Error {
    fn from(error: ocelli::Error) -> Error {
        Error::Ocelli(error)
    }
}
