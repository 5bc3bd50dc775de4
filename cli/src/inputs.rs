//! Which pictures a command is to read: files, folders, lists of names, stdin.

use crate::console::{Console, Failure};
use ocelli::preprocess::decode::{DecodedImage, Options, decode, decode_file};
use ocelli::{Error, Result};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use walkdir::{DirEntry, WalkDir};

/// Most bytes of a picture on stdin, and of a list of names.
const MAX_BYTES: u64 = 1 << 30;

/// Endings of names that are taken for pictures in a folder. What cannot be decoded is then reported, not passed over.
const PICTURES: [&str; 13] =
    ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff", "heic", "heif", "avif"];

/// Options that name many pictures at once.
#[derive(clap::Args)]
pub(crate) struct ListArgs {
    /// Read the names of more pictures or folders from this file (- for stdin), one per line
    #[arg(long, value_name = "FILE")]
    files_from: Option<PathBuf>,
    /// The names of --files-from end with NUL instead of a line break, as `find -print0` writes them
    #[arg(long, short = '0', requires = "files_from")]
    null: bool,
}

/// A picture to read.
#[derive(Debug, PartialEq)]
pub(crate) enum Input {
    File(PathBuf),
    Stdin,
}

impl Input {
    /// What it is called in results.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Input::File(path) => path,
            Input::Stdin => Path::new("-"),
        }
    }

    /// Reads and decodes it; errors name it.
    pub(crate) fn decode(&self, options: &Options) -> Result<DecodedImage> {
        match self {
            Input::File(path) => decode_file(path, options),
            Input::Stdin => {
                decode(&read_stdin("read the picture")?, options).map_err(|error| error.in_file("stdin"))
            }
        }
    }
}

impl ListArgs {
    /// The pictures that `arguments` and the list name, in their order; each may be an error instead, which is due when
    /// its turn comes.
    pub(crate) fn inputs<'a>(
        &self,
        arguments: impl IntoIterator<Item = &'a PathBuf>,
    ) -> Result<Vec<Result<Input>>, Failure> {
        let stdin = |path: &Path| path == Path::new("-");
        let mut reads_stdin = self.files_from.as_deref().is_some_and(stdin);
        let mut inputs = Vec::new();
        for path in arguments {
            if !stdin(path) {
                expand(path, &mut inputs);
            } else if !std::mem::replace(&mut reads_stdin, true) {
                inputs.push(Ok(Input::Stdin));
            } else {
                return Err(Failure::Usage("stdin (-) can be read only once".into()));
            }
        }
        if let Some(list) = &self.files_from {
            let bytes = match stdin(list) {
                true => read_stdin("read the list of names")?,
                false => read_list(list)?,
            };
            for name in names(&bytes, self.null) {
                match path_from(name) {
                    Some(path) => expand(&path, &mut inputs),
                    None => {
                        let problem = "the name is not UTF-8";
                        let name = String::from_utf8_lossy(name).into_owned();
                        inputs.push(Err(Error::NotAFile { problem }.in_file(name)));
                    }
                }
            }
            if inputs.is_empty() {
                let problem = "there are no names of pictures in it";
                return Err(Error::NotAFile { problem }.in_file(list).into());
            }
        }
        Ok(inputs)
    }
}

/// What is between the ends of lines, or the NULs, in `bytes`; empty names are passed over.
fn names(bytes: &[u8], null: bool) -> impl Iterator<Item = &[u8]> {
    let end = if null { 0 } else { b'\n' };
    bytes
        .split(move |&byte| byte == end)
        .map(move |name| if null { name } else { name.strip_suffix(b"\r").unwrap_or(name) })
        .filter(|name| !name.is_empty())
}

#[cfg(unix)]
fn path_from(bytes: &[u8]) -> Option<PathBuf> {
    Some(<OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes).into())
}

#[cfg(not(unix))]
fn path_from(bytes: &[u8]) -> Option<PathBuf> {
    std::str::from_utf8(bytes).ok().map(PathBuf::from)
}

fn read_list(path: &Path) -> Result<Vec<u8>> {
    let read = fs::File::open(path).and_then(read_all);
    read.map_err(|source| Error::Io { action: "read the list of names", source }.in_file(path))
}

fn read_stdin(action: &'static str) -> Result<Vec<u8>> {
    if io::stdin().is_terminal() {
        let problem = "stdin is a terminal; pipe something into it, or name files instead of -";
        return Err(Error::NotAFile { problem });
    }
    read_all(io::stdin().lock()).map_err(|source| Error::Io { action, source }.in_file("stdin"))
}

fn read_all(source: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MAX_BYTES {
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, "more than 1 GiB")),
        false => Ok(bytes),
    }
}

/// The picture `path`, or all pictures in the folder `path`; each may be an error instead.
pub(crate) fn pictures(path: &Path) -> Vec<Result<Input>> {
    let mut inputs = Vec::new();
    expand(path, &mut inputs);
    inputs
}

/// Adds the picture `path`, or all pictures in the folder `path`.
fn expand(path: &Path, inputs: &mut Vec<Result<Input>>) {
    if !path.is_dir() {
        inputs.push(file(path));
        return;
    }
    let before = inputs.len();
    inputs.extend(walk(path));
    if inputs.len() == before {
        let problem =
            "there is no picture in this folder or those below it (known by their names: .jpg, .png, ...)";
        inputs.push(Err(Error::NotAFile { problem }.in_file(path)));
    }
}

/// The folders in `folder`, by name, with the pictures in each and those below it. Hidden ones are passed over; a picture
/// in no folder is warned of.
///
/// # Errors
/// There is no folder in it, one has no picture, or one's name is not UTF-8 and so no label.
pub(crate) fn folders(folder: &Path, console: &Console) -> Result<Vec<(String, Vec<Result<Input>>)>> {
    let read = |source| Error::Io { action: "read the folder", source }.in_file(folder);
    let mut paths = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>())
        .map_err(read)?;
    paths.sort();
    let mut labels = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap_or_default();
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if !path.is_dir() {
            if is_picture(&path) {
                console.warn(format_args!("{}: not used: it is in no label's folder", path.display()));
            }
            continue;
        }
        let Some(label) = name.to_str() else {
            let message = "the name of this folder is not UTF-8, so it can be no label: rename it";
            return Err(Error::Message(message.into()).in_file(&path));
        };
        let mut inputs = pictures(&path);
        // Without a picture, what `expand` found is the reason.
        if inputs.iter().all(Result::is_err) {
            return Err(inputs.swap_remove(0).expect_err("all of them are errors"));
        }
        labels.push((label.to_owned(), inputs));
    }
    if labels.is_empty() {
        let message =
            "there is no folder in it: a folder with pictures is expected for each label, named as the label";
        return Err(Error::Message(message.into()).in_file(folder));
    }
    Ok(labels)
}

/// The pictures in a folder and those below, sorted by name. Hidden ones are passed over. Links are followed, but each
/// folder is entered once, so that links in a circle or a thicket of links come to an end.
fn walk(folder: &Path) -> impl Iterator<Item = Result<Input>> {
    let mut entered: HashSet<PathBuf> = HashSet::new();
    let enter = move |entry: &DirEntry| {
        let hidden = entry.depth() > 0 && entry.file_name().as_encoded_bytes().starts_with(b".");
        let mut folder = || fs::canonicalize(entry.path()).is_ok_and(|path| entered.insert(path));
        !hidden && (!entry.file_type().is_dir() || folder())
    };
    let entries = WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter().filter_entry(enter);
    entries.filter_map(|entry| match entry {
        Ok(entry) => (!entry.file_type().is_dir() && is_picture(entry.path())).then(|| file(entry.path())),
        Err(error) if error.loop_ancestor().is_some() => None,
        Err(error) => {
            let path = error.path().map_or_else(PathBuf::new, Path::to_path_buf);
            // A link that leads nowhere is of interest if it is called like a picture.
            let missing = error.io_error().is_some_and(|error| error.kind() == io::ErrorKind::NotFound);
            (!missing || is_picture(&path)).then(|| {
                let source = error.into_io_error().unwrap_or_else(|| io::Error::other("unknown reason"));
                Err(Error::Io { action: "read", source }.in_file(path))
            })
        }
    })
}

/// Whether a file is called like a picture.
pub(crate) fn is_picture(path: &Path) -> bool {
    let ending = path.extension().and_then(OsStr::to_str);
    ending.is_some_and(|ending| PICTURES.iter().any(|known| known.eq_ignore_ascii_case(ending)))
}

/// The picture `path`, unless it is something that would make us wait or has no end.
fn file(path: &Path) -> Result<Input> {
    // What is not there is reported by whoever tries to read it.
    match fs::metadata(path).ok().and_then(|metadata| special(metadata.file_type())) {
        Some(problem) => Err(Error::NotAFile { problem }.in_file(path)),
        None => Ok(Input::File(path.to_owned())),
    }
}

#[cfg(unix)]
fn special(kind: fs::FileType) -> Option<&'static str> {
    use std::os::unix::fs::FileTypeExt;

    [
        (kind.is_fifo(), "this is a named pipe, not a picture file; a picture in a pipe can be given as -"),
        (kind.is_socket(), "this is a socket, not a picture file"),
        (kind.is_char_device() || kind.is_block_device(), "this is a device, not a picture file"),
    ]
    .into_iter()
    .find_map(|(is, problem)| is.then_some(problem))
}

#[cfg(not(unix))]
fn special(_kind: fs::FileType) -> Option<&'static str> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_with_lines_or_nul() {
        let list = |bytes: &'static [u8], null| names(bytes, null).collect::<Vec<_>>();
        assert_eq!(list(b"a b.jpg\r\n\nc\n", false), [&b"a b.jpg"[..], b"c"]);
        assert_eq!(list(b"a\nb\0\0c\r", true), [&b"a\nb"[..], b"c\r"]);
        assert!(list(b"", false).is_empty() && list(b"\n", false).is_empty());
    }
}
