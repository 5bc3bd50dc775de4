//! What a file must be, by the tag that the hub gives it.

use crate::source::hex;
use crate::{Error, Result};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A hash that grows with a file. A hub's tag is the SHA-256 of a large file (Git LFS) or Git's own SHA-1 of a small
/// one; other tags say nothing about what is in a file.
#[derive(Clone)]
pub(super) enum Digest {
    Sha256(Sha256),
    Git(Sha1),
    Unknown,
}

impl Digest {
    /// For a file of `size` bytes with this tag.
    pub(super) fn new(tag: &str, size: u64) -> Digest {
        let is_hex = tag.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match tag.len() {
            64 if is_hex => Digest::Sha256(Sha256::new()),
            40 if is_hex => Digest::Git(Sha1::new().chain_update(format!("blob {size}\0"))),
            _ => Digest::Unknown,
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Digest::Sha256(hash) => hash.update(bytes),
            Digest::Git(hash) => hash.update(bytes),
            Digest::Unknown => {}
        }
    }

    /// Adds all that is left of an open file.
    pub(super) fn update_from(&mut self, file: &mut File, path: &Path) -> Result<()> {
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer).map_err(Error::io("read", path))? {
                0 => return Ok(()),
                n => self.update(&buffer[..n]),
            }
        }
    }

    /// The tag of what was added; `None` if that can't be known.
    pub(super) fn finish(self) -> Option<String> {
        match self {
            Digest::Sha256(hash) => Some(hex(&hash.finalize())),
            Digest::Git(hash) => Some(hex(&hash.finalize())),
            Digest::Unknown => None,
        }
    }
}

/// The tag that the file at `path` should have if it should have `tag`; `None` if that can't be known.
pub(super) fn tag_of(path: &Path, tag: &str) -> Result<Option<String>> {
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    let size = file.metadata().map_err(Error::io("read", path))?.len();
    let mut digest = Digest::new(tag, size);
    if !matches!(digest, Digest::Unknown) {
        digest.update_from(&mut file, path)?;
    }
    Ok(digest.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `git hash-object` and `sha256sum` of the same text.
    #[test]
    fn tags_are_those_of_git_and_lfs() {
        let of = |tag: &str| {
            let mut digest = Digest::new(tag, 6);
            digest.update(b"hel");
            digest.update(b"lo\n");
            digest.finish()
        };
        let git = "ce013625030ba8dba906f756967f9e9ca394464a";
        let lfs = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        assert_eq!(of(git).as_deref(), Some(git));
        assert_eq!(of(lfs).as_deref(), Some(lfs));
        assert_eq!(of("0x8DC-1"), None);
        assert_eq!(of(&git.to_uppercase()), None);
    }
}
