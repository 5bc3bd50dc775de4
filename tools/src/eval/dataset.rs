//! What a model is evaluated on: pictures with labels, or pictures with texts.

use crate::{Error, Result, images};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Pictures, and what is known about them.
pub struct Dataset {
    /// Every picture once.
    pub pictures: Vec<PathBuf>,
    /// What is known.
    pub truth: Truth,
}

/// What is known about pictures.
pub enum Truth {
    /// Labels, and the right one of every picture.
    Labels(Vec<String>, Vec<usize>),
    /// Texts, each with the picture that it describes.
    Texts(Vec<(usize, String)>),
}

/// Reads a folder with one folder of pictures per class, or a CSV file with the columns `image` (a path relative to the
/// file) and `label` or `text`.
///
/// # Errors
/// There are no pictures, or the file is not such a CSV; the message names file and line.
pub fn read(path: &Path) -> Result<Dataset> {
    if path.is_dir() { folders(path) } else { table(path) }
}

fn folders(path: &Path) -> Result<Dataset> {
    let (mut labels, mut pictures, mut right) = (Vec::new(), Vec::new(), Vec::new());
    for folder in images::list(path)?.0 {
        let found = images::list(&folder)?.1;
        if !found.is_empty() {
            right.extend(found.iter().map(|_| labels.len()));
            labels.push(folder.file_name().unwrap_or_default().to_string_lossy().into_owned());
            pictures.extend(found);
        }
    }
    if labels.is_empty() {
        let problem =
            "has no folders with pictures in it: one folder per class is expected, named as the class";
        return Err(Error::file(path, problem));
    }
    Ok(Dataset { pictures, truth: Truth::Labels(labels, right) })
}

fn table(path: &Path) -> Result<Dataset> {
    let wrong = |error: csv::Error| Error::file(path, format!("is no CSV table: {error}"));
    let mut reader = csv::Reader::from_path(path).map_err(wrong)?;
    let header = reader.headers().map_err(wrong)?.clone();
    let column = |name: &str| header.iter().position(|found| found.trim() == name);
    let (Some(image), label, text) = (column("image"), column("label"), column("text")) else {
        return Err(Error::file(path, "has no column \"image\" in its first line"));
    };
    let Some(about) = label.or(text) else {
        return Err(Error::file(
            path,
            "has neither a column \"label\" nor a column \"text\" in its first line",
        ));
    };
    let (mut pictures, mut places, mut rows) = (Vec::new(), BTreeMap::new(), Vec::new());
    for record in reader.records() {
        let record = record.map_err(wrong)?;
        let name = path.parent().unwrap_or(Path::new("")).join(&record[image]);
        let place = *places.entry(name.clone()).or_insert_with(|| {
            pictures.push(name);
            pictures.len() - 1
        });
        rows.push((place, record[about].to_owned()));
    }
    if rows.is_empty() {
        return Err(Error::file(path, "has no rows under its header"));
    }
    if label.is_none() {
        return Ok(Dataset { pictures, truth: Truth::Texts(rows) });
    }
    if rows.len() != pictures.len() {
        return Err(Error::file(path, "names a picture twice: each has one label"));
    }
    let mut labels: Vec<String> = rows.iter().map(|(_, label)| label.clone()).collect();
    labels.sort();
    labels.dedup();
    let right = rows.iter().map(|(_, label)| labels.binary_search(label).unwrap_or_default()).collect();
    Ok(Dataset { pictures, truth: Truth::Labels(labels, right) })
}
