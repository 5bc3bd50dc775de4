//! A label bank in memory.

use crate::error::{Error, Result};
use crate::format::Bank;
use std::path::Path;
use std::vec::Vec;

/// The bytes of a label bank, aligned for reading as a [`Bank`].
#[derive(Clone, Debug)]
pub struct OwnedBank {
    words: Vec<u64>,
    len: usize,
}

impl OwnedBank {
    /// Validates and keeps a copy of `bytes`.
    ///
    /// # Errors
    /// Not a valid label bank.
    pub fn new(bytes: &[u8]) -> Result<OwnedBank> {
        let mut words = std::vec![0u64; bytes.len().div_ceil(8)];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
        let bank = OwnedBank { words, len: bytes.len() };
        Bank::parse(bank.bytes())?;
        Ok(bank)
    }

    /// Reads a label bank written by `ocelli labels`.
    ///
    /// # Errors
    /// The file can't be read or is no valid label bank; the error names it.
    pub fn open(path: impl AsRef<Path>) -> Result<OwnedBank> {
        let path = path.as_ref();
        std::fs::read(path)
            .map_err(|source| Error::Io { action: "read the label bank", source })
            .and_then(|bytes| OwnedBank::new(&bytes))
            .map_err(|error| error.in_file(path))
    }

    fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.len]
    }

    /// The bank.
    pub fn bank(&self) -> Bank<'_> {
        Bank::parse(self.bytes()).expect("validated when it was made")
    }
}
