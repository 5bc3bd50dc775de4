//! Checking every byte of a packed file.

use crate::Result;
use ocelli::format::{AlignedBytes, File};
use std::path::Path;

/// What was checked.
#[derive(Clone, Copy, Debug)]
pub struct Verified {
    /// Length of the file.
    pub bytes: usize,
    /// Tensors.
    pub tensors: usize,
    /// Weights, without padding.
    pub weights: u64,
}

/// Checks every invariant and every checksum of the packed file at `path`.
///
/// # Errors
/// The first problem, naming the file and what to do.
pub fn verify(path: &Path) -> Result<Verified> {
    let bytes = AlignedBytes::read(path)?;
    let check = || {
        let file = File::parse(&bytes)?;
        file.verify()?;
        let weights = file.tensors().map(|tensor| (tensor.n() * tensor.k()) as u64).sum();
        Ok(Verified { bytes: bytes.len(), tensors: file.tensors().count(), weights })
    };
    check().map_err(|e: ocelli::Error| e.in_file(path).into())
}
