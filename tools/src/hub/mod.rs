//! Checkpoints by name: finds a repository of a model hub, downloads the files that a conversion needs, and gives them
//! to the converter.
//!
//! Speaks what the Python library huggingface_hub speaks, obeys the same environment variables ([`Settings`]) and keeps
//! files in the same cache, so that each finds what the other downloaded. Needs the feature `hub`; the runtime library
//! and the program for the board never open a connection.

mod address;
mod cache;
mod client;
mod digest;
mod download;
mod names;
mod needed;
mod proxy;
mod reference;
mod refusal;
mod remote;
mod settings;
mod snapshot;
pub mod table;

pub use names::{Target, resolve};
pub use reference::Reference;
pub use settings::{Settings, Token};

use crate::progress::Progress;
use crate::source::SourceRepository;
use crate::{ConvertOptions, Result};
use client::Client;
use needed::Needed;
use serde::Serialize;
use snapshot::Snapshot;
use std::path::PathBuf;

/// What of a repository is not needed.
#[derive(Clone, Copy, Debug, Default)]
pub struct PullOptions {
    /// The text tower's tokenizer: only the image tower will be packed, or the tokenizer comes from elsewhere.
    pub without_tokenizer: bool,
}

/// A file of a repository that now lies in the cache.
#[derive(Clone, Debug, Serialize)]
pub struct PulledFile {
    /// Its name in the repository.
    pub name: String,
    /// The repository.
    pub repository: String,
    /// Bytes.
    pub size: u64,
    /// How it came there.
    pub from: Arrival,
}

/// How a file came into the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrival {
    /// It was there.
    Cached,
    /// It was downloaded.
    Downloaded,
    /// The rest of it was downloaded.
    Resumed,
}

/// A checkpoint in the cache.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// Its weights or their index, beside its other files.
    pub checkpoint: PathBuf,
    /// The folder with the tokenizer, if that is another one's.
    pub tokenizer: Option<PathBuf>,
    /// The repository and its commit.
    pub source: SourceRepository,
    /// Its files.
    pub files: Vec<PulledFile>,
}

impl Pulled {
    /// Makes `options` convert this checkpoint. A tokenizer that they name already stays.
    pub fn prepare(&self, options: &mut ConvertOptions) {
        options.checkpoint = self.checkpoint.clone();
        options.repository = Some(self.source.clone());
        if options.model.tokenizer.is_none() && !options.model.vision_only {
            options.model.tokenizer = self.tokenizer.clone();
        }
    }
}

/// Downloads what a conversion of `target` needs and is not in the cache yet.
///
/// # Errors
/// There is no such repository, revision or file; the hub refuses access; the model is none that can be converted; the
/// connection, the disk or the hub fails; a file is not what the hub says it is.
pub fn pull(
    target: &Target,
    options: PullOptions,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<Pulled> {
    let client = if settings.offline { None } else { Some(Client::new(settings, progress)?) };
    let open = |reference: &Reference| Snapshot::open(reference, settings, client.as_ref(), progress);
    let snapshot = open(&target.reference)?;
    let needed = Needed::of(&snapshot, target, options)?;
    snapshot.fetch(&needed.files)?;
    let mut pulled = snapshot.finish()?;
    let mut tokenizer = None;
    if let Some(other) = &needed.tokenizer {
        progress.warn(&format!(
            "{} has no tokenizer: taken from {}, {}",
            snapshot.repository(),
            other.reference.repository,
            other.reason
        ));
        let other = open(&other.reference)?;
        other.fetch(&needed::tokenizer_files(&other)?)?;
        pulled.extend(other.finish()?);
        tokenizer = Some(other.folder());
    }
    let checkpoint = snapshot.path(&needed.weights);
    Ok(Pulled { checkpoint, tokenizer, source: snapshot.source(), files: pulled })
}
