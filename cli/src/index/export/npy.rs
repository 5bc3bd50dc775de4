//! A NumPy matrix, and what its rows are.

use super::{Line, Source};
use crate::console::{Failure, json_line};
use crate::npy::Matrix;
use ocelli::Error;
use ocelli::atomic::write_atomically;
use std::io::Write;
use std::path::Path;

pub(super) fn write(source: &Source, folder: &Path) -> Result<(), Failure> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |error| Failure::Error(Error::Io { action, source: error }.in_file(path))
    };
    std::fs::create_dir_all(folder).map_err(failed("make the folder", folder))?;
    let (matrix, lines) = (folder.join("vectors.npy"), folder.join("pictures.jsonl"));
    write_atomically(&matrix, |file| {
        let mut rows = Matrix::new(file).map_err(failed("write", &matrix))?;
        let mut vector = vec![0.0; source.dim];
        for entry in &source.entries {
            source.vector(entry, &mut vector)?;
            rows.put(&vector).map_err(failed("write", &matrix))?;
        }
        rows.finish().map_err(failed("write", &matrix)).map(|_| ())
    })?;
    write_atomically(&lines, |file| {
        source.entries.iter().try_for_each(|entry| {
            let line = json_line(&Line::new(entry)).and_then(|line| file.write_all(&line));
            line.map_err(failed("write", &lines))
        })
    })
}
