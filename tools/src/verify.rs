//! Checking every byte of a packed file.

use crate::error::Result;
use crate::progress::{Progress, Silent};
use ocelli::format::{AlignedBytes, Cost, File};
use ocelli::text::TextTokenizer;
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
    /// What the image tower costs for one image on one thread, if there is one.
    pub image: Option<Cost>,
    /// What the text tower costs for one text.
    pub text: Option<Cost>,
}

/// Checks every invariant and every checksum of the packed file at `path`.
///
/// # Errors
/// The first problem, naming the file and what to do.
pub fn verify(path: &Path) -> Result<Verified> {
    verify_with(path, &Silent)
}

/// As [`verify`], and tells `progress` of it.
///
/// # Errors
/// As [`verify`].
pub fn verify_with(path: &Path, progress: &dyn Progress) -> Result<Verified> {
    let bytes = AlignedBytes::read(path)?;
    let check = || {
        let file = File::parse(&bytes)?;
        progress.begin("bytes", file.tensors().map(|tensor| file.payload(&tensor).len() as u64).sum());
        // Checksums first, which find most damage; then what they cannot tell.
        for tensor in file.tensors() {
            file.check_payload(&tensor)?;
            progress.advance(file.payload(&tensor).len() as u64);
        }
        file.verify()?;
        if file.has_text() && file.tokenizer().is_some() {
            TextTokenizer::new(file)?;
        }
        let weights = file.tensors().map(|tensor| (tensor.n() * tensor.k()) as u64).sum();
        let config = file.config();
        Ok(Verified {
            bytes: bytes.len(),
            tensors: file.tensors().count(),
            weights,
            image: Cost::of_images(config, None, 1, 1),
            text: Cost::of_text(config, 1),
        })
    };
    let verified = check();
    progress.end();
    verified.map_err(|e: ocelli::Error| e.in_file(path).into())
}
