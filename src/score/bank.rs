//! A label bank in memory.

use crate::error::{Error, Result};
use crate::format::{AlignedBytes, Bank};
use std::path::Path;

/// The bytes of a label bank, kept for reading as a [`Bank`].
#[derive(Debug)]
pub struct OwnedBank(AlignedBytes);

impl OwnedBank {
    /// Validates and keeps a copy of `bytes`.
    ///
    /// # Errors
    /// Not a valid label bank.
    pub fn new(bytes: &[u8]) -> Result<OwnedBank> {
        let bytes = AlignedBytes::new(bytes);
        Bank::parse(&bytes)?;
        Ok(OwnedBank(bytes))
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

    /// The bank's bytes, as they go into a file.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bank.
    pub fn bank(&self) -> Bank<'_> {
        Bank::parse(&self.0).expect("validated when it was made")
    }
}
