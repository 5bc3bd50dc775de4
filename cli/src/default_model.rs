//! The model that is used where none is named.

use crate::files::data_folder;
use ocelli::{Error, Result, knobs};
use std::path::{Path, PathBuf};

/// What it is called, in each of the [`folders`].
const FILE: &str = "demo.ocelli";

/// Its path: what `OCELLI_MODEL` says, or else `demo.ocelli` in the first of [`folders`] that has one.
///
/// # Errors
/// None has one.
pub(crate) fn path() -> Result<PathBuf> {
    if let Some(path) = knobs::MODEL.get()? {
        return Ok(path.into());
    }
    let folders = folders();
    let found = folders.iter().map(|folder| folder.join(FILE)).find(|path| path.is_file());
    found.ok_or_else(|| {
        let places: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
        Error::Message(format!(
            "no model is named, with --model FILE or {}, and there is no {FILE} in {}. It is part of ocelli's \
             repository, in models/; `ocelli-pack pull ViT-B-16__openai -o clip.ocelli` makes a larger one",
            knobs::MODEL.name,
            places.join(", ")
        ))
    })
}

/// Beside the program, `models` here, and the data folders of the user and of the system (XDG Base Directory
/// Specification), beginning with the one that the program was installed with.
fn folders() -> Vec<PathBuf> {
    let program = std::env::current_exe().ok();
    let beside = program.as_deref().and_then(Path::parent);
    let system = std::env::var_os("XDG_DATA_DIRS").filter(|value| !value.is_empty());
    let system = system.unwrap_or_else(|| "/usr/local/share:/usr/share".into());
    let data = beside.and_then(Path::parent).map(|prefix| prefix.join("share")).into_iter();
    let data =
        data.chain(data_folder()).chain(std::env::split_paths(&system)).map(|folder| folder.join("ocelli"));
    let mut folders: Vec<PathBuf> =
        beside.map(Path::to_path_buf).into_iter().chain(["models".into()]).chain(data).collect();
    let mut seen = std::collections::HashSet::new();
    folders.retain(|folder| seen.insert(folder.clone()));
    folders
}
