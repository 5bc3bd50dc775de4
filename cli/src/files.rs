//! Files that are written, the names of files in JSON, and where a user's data lies.

use ocelli::atomic::write_atomically;
use ocelli::{Error, Result};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The user's data folder (XDG Base Directory Specification, which ignores relative ones).
pub(crate) fn data_folder() -> Option<PathBuf> {
    let own = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    own.or_else(|| std::env::home_dir().map(|home| home.join(".local").join("share")))
}

/// Writes `bytes` to `path`, whole or not at all.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomically(path, |file| {
        file.write_all(bytes).map_err(|source| Error::Io { action: "write", source }.in_file(path))
    })
}

/// The bytes of a path that is not UTF-8, percent-encoded as in a URL (RFC 3986), so that it can be found again: what is
/// shown of it has U+FFFD where it cannot be shown. `None` for all other paths.
pub(crate) fn path_bytes(path: &Path) -> Option<String> {
    if path.to_str().is_some() {
        return None;
    }
    let mut encoded = String::new();
    for &byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                encoded.push(byte.into());
            }
            _ => write!(encoded, "%{byte:02X}").expect("strings take everything"),
        }
    }
    Some(encoded)
}
