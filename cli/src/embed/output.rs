//! Where `ocelli embed` puts its embeddings: lines of JSON on stdout or in a file, or the rows of a NumPy matrix.

use crate::console::{Console, Failure, json_line};
use crate::npy::Matrix;
use ocelli::atomic::{Writer, write_atomically};
use ocelli::{Error, Result};
use serde::Serialize;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// One embedding, or the patches of one image.
#[derive(Serialize)]
pub(super) struct Line {
    pub(super) kind: &'static str,
    pub(super) input: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) input_bytes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) layer: Option<&'static str>,
    /// Rows and columns of `patches`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) grid: Option<[usize; 2]>,
    pub(super) dim: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) embedding: Option<Vec<f32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) patches: Option<Vec<Vec<f32>>>,
    /// Left, top, width and height of a tile.
    #[serde(rename = "box", skip_serializing_if = "Option::is_none")]
    pub(super) part: Option<[u32; 4]>,
}

impl Default for Line {
    fn default() -> Line {
        Line {
            kind: "image",
            input: String::new(),
            input_bytes: None,
            layer: None,
            grid: None,
            dim: 0,
            embedding: None,
            patches: None,
            part: None,
        }
    }
}

/// What a file of embeddings is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// A matrix of little-endian float32, NumPy's format 1.0.
    Npy,
    /// One JSON object per line.
    Lines,
}

/// A file to write, and what it is by its ending.
pub(super) fn path(name: OsString) -> Result<(PathBuf, Format), &'static str> {
    let path = PathBuf::from(name);
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("npy") => Ok((path, Format::Npy)),
        Some("jsonl") => Ok((path, Format::Lines)),
        _ => Err("expected a name that ends with .npy or .jsonl"),
    }
}

/// Takes embeddings.
pub(super) enum Sink<'c, 'f> {
    Stdout(&'c Console),
    Lines { file: &'c mut Writer<'f>, rows: usize },
    Npy(Matrix<'c, 'f>),
}

impl Sink<'_, '_> {
    pub(super) fn put(&mut self, line: &Line) -> Result<(), Failure> {
        match self {
            Sink::Stdout(console) => console.print_json(line),
            Sink::Lines { file, rows } => {
                *rows += 1;
                json_line(line).and_then(|line| file.write_all(&line)).map_err(cannot_write)?;
                Ok(())
            }
            Sink::Npy(matrix) => {
                let row = line.embedding.as_deref().unwrap_or_default();
                Ok(matrix.put(row).map_err(cannot_write)?)
            }
        }
    }
}

fn cannot_write(source: io::Error) -> Error {
    Error::Io { action: "write the embeddings", source }
}

/// Lets `work` write to `output`, or to stdout without one. A file appears whole or not at all, and only if there is at
/// least one embedding.
pub(super) fn with_sink(
    output: Option<&(PathBuf, Format)>,
    console: &Console,
    work: impl FnOnce(&mut Sink<'_, '_>) -> Result<ExitCode, Failure>,
) -> Result<ExitCode, Failure> {
    let Some((path, format)) = output else { return work(&mut Sink::Stdout(console)) };
    write_atomically(path, |file| {
        let mut sink = match format {
            Format::Lines => Sink::Lines { file, rows: 0 },
            Format::Npy => Sink::Npy(Matrix::new(file).map_err(cannot_write)?),
        };
        let code = work(&mut sink)?;
        let rows = match sink {
            Sink::Stdout(_) => 0,
            Sink::Lines { rows, .. } => rows,
            Sink::Npy(matrix) => matrix.finish().map_err(cannot_write)?,
        };
        if rows == 0 {
            return Err(nothing(path).into());
        }
        console.tell(format_args!("{}: {rows} embeddings", path.display()));
        Ok(code)
    })
    .map_err(|failure| match failure {
        Failure::Error(error @ Error::Io { action: "write the embeddings", .. }) => {
            Failure::Error(error.in_file(path))
        }
        other => other,
    })
}

fn nothing(path: &Path) -> Error {
    Error::NotAFile { problem: "there is no embedding to write; the file is left as it was" }.in_file(path)
}
