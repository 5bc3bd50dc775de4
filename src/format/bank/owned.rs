//! A label bank that borrows nothing.

use super::{Bank, Logit};
use crate::format::AlignedBytes;
use crate::{Error, Result};
use std::path::Path;
use std::string::String;
use std::vec::Vec;

/// A label bank in memory of its own: checked once, when it was read.
#[derive(Clone, Debug)]
pub struct LabelBank {
    embeddings: Vec<f32>,
    index: Vec<u32>,
    first: Vec<u32>,
    logits: Vec<Logit>,
    labels: String,
    templates: String,
    dim: usize,
    checkpoint_id: [u8; 16],
}

impl LabelBank {
    /// Reads the bank in `bytes`, which may start anywhere.
    ///
    /// # Errors
    /// As [`Bank::parse`].
    pub fn new(bytes: &[u8]) -> Result<LabelBank> {
        Ok(Bank::parse(&AlignedBytes::new(bytes))?.into())
    }

    /// Reads the file of a bank.
    ///
    /// # Errors
    /// The file can't be read or is no valid label bank; the error names it.
    pub fn open(path: impl AsRef<Path>) -> Result<LabelBank> {
        let path = path.as_ref();
        std::fs::read(path)
            .map_err(|source| Error::Io { action: "read the label bank", source })
            .and_then(|bytes| LabelBank::new(&bytes))
            .map_err(|error| error.in_file(path))
    }

    /// The bank. Nothing is checked again.
    pub fn as_bank(&self) -> Bank<'_> {
        Bank {
            embeddings: &self.embeddings,
            index: &self.index,
            first: &self.first,
            logits: &self.logits,
            labels: &self.labels,
            templates: &self.templates,
            dim: self.dim,
            checkpoint_id: self.checkpoint_id,
        }
    }
}

impl From<Bank<'_>> for LabelBank {
    /// A copy, of the bank inside a model for example.
    fn from(bank: Bank<'_>) -> LabelBank {
        LabelBank {
            embeddings: bank.embeddings.into(),
            index: bank.index.into(),
            first: bank.first.into(),
            logits: bank.logits.into(),
            labels: bank.labels.into(),
            templates: bank.templates.into(),
            dim: bank.dim,
            checkpoint_id: bank.checkpoint_id,
        }
    }
}
