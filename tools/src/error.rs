//! Everything that can go wrong in the tools. Messages name the file, the tensor or field, and what would be right.

use ocelli::excerpt;
use std::fmt;
use std::path::{Path, PathBuf};

/// What `Result`s of this crate carry.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused something.
    Io {
        /// What was being done, as in "cannot {action}".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file that should be JSON of a certain shape and is not.
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A field of a configuration file that is missing, unknown or not supported.
    Field {
        /// The file.
        path: PathBuf,
        /// The field, as in `vision_config.hidden_act`.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A tensor of the checkpoint that is missing, unknown, of a wrong shape or type, or holds impossible values.
    Tensor {
        /// Its name in the checkpoint.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Something else about a file.
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// Options of a conversion that do not fit the checkpoint.
    Options {
        /// What does not fit.
        problem: String,
    },
    /// Something about a model hub or a repository there.
    Hub {
        /// The address, repository or setting.
        subject: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// An error of the runtime: the packed format, or an atomic write.
    Ocelli(ocelli::Error),
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        move |source| Error::Io { action, path: path.into(), source }
    }

    pub(crate) fn json(path: &Path) -> impl FnOnce(serde_json::Error) -> Error {
        move |source| Error::Json { path: path.into(), source }
    }

    pub(crate) fn field(path: &Path, field: impl Into<String>, problem: impl Into<String>) -> Error {
        Error::Field { path: path.into(), field: name(field), problem: brief(problem) }
    }

    pub(crate) fn tensor(tensor: impl Into<String>, problem: impl Into<String>) -> Error {
        Error::Tensor { name: name(tensor), problem: brief(problem) }
    }

    #[cfg(feature = "hub")]
    pub(crate) fn hub(subject: impl Into<String>, problem: impl Into<String>) -> Error {
        Error::Hub { subject: subject.into(), problem: problem.into() }
    }

    pub(crate) fn file(path: &Path, problem: impl Into<String>) -> Error {
        Error::File { path: path.into(), problem: brief(problem) }
    }

    pub(crate) fn options(problem: impl Into<String>) -> Error {
        Error::Options { problem: brief(problem) }
    }
}

/// Longest explanation, in characters: it may quote a file, where a name can have megabytes.
const MAX_PROBLEM: usize = 600;

/// The name of a tensor or a field as it stands in messages.
fn name(text: impl Into<String>) -> String {
    excerpt(&text.into()).into_owned()
}

fn brief(problem: impl Into<String>) -> String {
    let mut problem = problem.into();
    if let Some((end, _)) = problem.char_indices().nth(MAX_PROBLEM) {
        problem.truncate(end);
        problem.push('…');
    }
    problem
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { action, path, source } => write!(f, "{}: cannot {action}: {source}", path.display()),
            Error::Json { path, source } => write!(f, "{}: {}", path.display(), brief(source.to_string())),
            Error::Field { path, field, problem } => write!(f, "{}: {field} {problem}", path.display()),
            Error::Tensor { name, problem } => write!(f, "tensor {name} {problem}"),
            Error::File { path, problem } => write!(f, "{}: {problem}", path.display()),
            Error::Options { problem } => f.write_str(problem),
            Error::Hub { subject, problem } => write!(f, "{subject}: {problem}"),
            Error::Ocelli(source) => source.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            Error::Json { source, .. } => Some(source),
            // Shown as it is, so what follows in the chain is what it has behind it.
            Error::Ocelli(source) => source.source(),
            _ => None,
        }
    }
}

impl From<ocelli::Error> for Error {
    fn from(source: ocelli::Error) -> Error {
        Error::Ocelli(source)
    }
}
