//! Folders and lists of pictures.

use crate::{Error, Result};
use ocelli::preprocess::decode::{self, DecodedImage, decode_file};
use std::fs;
use std::path::{Path, PathBuf};

/// File name endings of the formats that ocelli decodes.
pub const ENDINGS: [&str; 8] = ["jpg", "jpeg", "png", "webp", "gif", "tif", "tiff", "bmp"];

/// Whether a file's name says that it is a picture.
fn is_image(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| ENDINGS.iter().any(|known| known.eq_ignore_ascii_case(ending)))
}

/// Folders and files directly in `folder`, sorted by name. Names that start with a dot are left out.
///
/// # Errors
/// What the operating system says, naming the folder.
pub fn list(folder: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut folders, mut files) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).map_err(Error::io("read the folder", folder))? {
        let path = entry.map_err(Error::io("read the folder", folder))?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        if path.is_dir() {
            folders.push(path);
        } else if is_image(&path) {
            files.push(path);
        }
    }
    folders.sort();
    files.sort();
    Ok((folders, files))
}

/// Every picture in `folder` and the folders inside it, sorted by path.
///
/// # Errors
/// What the operating system says; or that there are none, naming the folder.
pub fn find(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut waiting, mut found) = (vec![folder.to_path_buf()], Vec::new());
    while let Some(folder) = waiting.pop() {
        let (folders, files) = list(&folder)?;
        waiting.extend(folders.into_iter().filter(|folder| !folder.is_symlink()));
        found.extend(files);
    }
    found.sort();
    if found.is_empty() {
        let endings = ENDINGS.join(", ");
        return Err(Error::file(folder, format!("has no pictures in it: no file ends in one of {endings}")));
    }
    Ok(found)
}

/// A picture's pixels.
///
/// # Errors
/// The file can't be read or decoded; the error names it and says what to do.
pub fn decode(path: &Path) -> Result<DecodedImage> {
    decode_file(path, &decode::Options::default()).map_err(|error| {
        let problem = match error {
            ocelli::Error::InFile { source, .. } => *source,
            other => other,
        };
        Error::file(path, format!("{problem}; repair this picture or take it out of the set"))
    })
}
