//! The bytes of a picture that the index names, and of nothing else.

use crate::entries::Entry;
use crate::error::{Error, Result};
use std::fs::{File, Metadata};
use std::io::Read;
use std::path::Path;
use xxhash_rust::xxh3::xxh3_128;

impl Entry {
    /// Whether one of its files is there and as large as it was.
    pub fn is_there(&self) -> bool {
        self.paths.iter().any(|path| std::fs::metadata(path).is_ok_and(|metadata| self.fits(&metadata)))
    }

    /// The picture's bytes, from the first of its files that still has them: as many as [`bytes`](Self::bytes) says, with
    /// the hash that they were indexed by. Whatever else a path may lead to by now is not given.
    ///
    /// # Errors
    /// [`Error::Gone`].
    pub fn read(&self) -> Result<Vec<u8>> {
        let found = self.paths.iter().find_map(|path| self.read_from(path));
        found.ok_or_else(|| Error::Gone { path: self.paths[0].clone() })
    }

    fn fits(&self, metadata: &Metadata) -> bool {
        metadata.is_file() && metadata.len() == self.bytes
    }

    fn read_from(&self, path: &Path) -> Option<Vec<u8>> {
        // Looked at before it is opened, which does something to a device, and afterwards, when it can't be changed.
        std::fs::metadata(path).ok().filter(|metadata| self.fits(metadata))?;
        let file = open(path).ok()?;
        file.metadata().ok().filter(|metadata| self.fits(metadata))?;
        let mut bytes = Vec::new();
        file.take(self.bytes.saturating_add(1)).read_to_end(&mut bytes).ok()?;
        (xxh3_128(&bytes).to_be_bytes() == self.hash).then_some(bytes)
    }
}

/// Opens a file without waiting, as opening a pipe would until somebody writes to it.
fn open(path: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Facts;

    #[test]
    fn only_the_bytes_that_were_indexed_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = ["a.jpg", "b.jpg"].map(|name| folder.path().join(name));
        let hash = xxh3_128(b"picture").to_be_bytes();
        let paths = vec![first.clone(), second.clone()];
        let entry = Entry { row: 0, paths, hash, bytes: 7, modified: 0, facts: Facts::default() };
        let gone = || assert!(matches!(entry.read(), Err(Error::Gone { path }) if path == first));
        assert!(!entry.is_there());
        gone();
        // Other bytes, of the same number and of another.
        std::fs::write(&first, b"secrets").unwrap();
        assert!(entry.is_there());
        gone();
        std::fs::write(&first, b"more secrets").unwrap();
        assert!(!entry.is_there());
        gone();
        std::fs::write(&second, b"picture").unwrap();
        assert_eq!(entry.read().unwrap(), b"picture");
        std::fs::remove_file(&second).unwrap();
        std::fs::create_dir(&second).unwrap();
        gone();
    }
}
