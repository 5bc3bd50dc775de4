//! The library's errors as exceptions, with the message that they have.

use pyo3::create_exception;
use pyo3::exceptions::{PyMemoryError, PyOSError, PyValueError};
use pyo3::prelude::*;
use std::path::Path;

create_exception!(
    ocelli,
    Error,
    PyValueError,
    "What ocelli refuses: a damaged model, an argument that does not fit, something that a model lacks."
);
create_exception!(ocelli, PictureError, Error, "A picture that cannot be decoded.");

/// `error` as an exception. What the system refuses is an OSError (FileNotFoundError, PermissionError, ...).
pub(crate) fn raised(error: ocelli::Error) -> PyErr {
    let text = error.to_string();
    let (innermost, path) = innermost(&error);
    match innermost {
        ocelli::Error::Io { action, source } => match (source.raw_os_error(), path) {
            (Some(code), Some(path)) => {
                // OSError chooses its subclass by the code, and shows the path itself.
                let reason = source.to_string();
                let reason = reason.split(" (os error").next().unwrap_or_default();
                PyOSError::new_err((code, format!("cannot {action}: {reason}"), path.as_os_str().to_owned()))
            }
            _ => PyOSError::new_err(text),
        },
        ocelli::Error::Picture { .. } => PictureError::new_err(text),
        ocelli::Error::OutOfMemory { .. } => PyMemoryError::new_err(text),
        _ => Error::new_err(text),
    }
}

fn innermost(error: &ocelli::Error) -> (&ocelli::Error, Option<&Path>) {
    match error {
        ocelli::Error::InFile { path, source } => {
            let (error, inner) = innermost(source);
            (error, inner.or(Some(path)))
        }
        _ => (error, None),
    }
}

/// The exception for an argument.
pub(crate) fn refuse(problem: impl Into<String>) -> PyErr {
    Error::new_err(problem.into())
}
