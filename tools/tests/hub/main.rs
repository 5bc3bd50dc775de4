//! Checkpoints by name, against a hub on loopback.

mod answer;
mod command;
mod faults;
mod interop;
mod kills;
mod offline;
mod pull;
mod refusals;
mod server;

use ocelli_tools::Result;
use ocelli_tools::hub::{self, PullOptions, Pulled, Settings};
use server::{Hub, Repository};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

pub(crate) const NAME: &str = "org/clip";
pub(crate) const FOLDER: &str = "models--org--clip";

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures")).join(name)
}

/// A hub with one repository, `org/clip`, and an empty cache.
pub(crate) struct Setup {
    pub(crate) hub: Hub,
    pub(crate) repository: Repository,
    pub(crate) folder: TempDir,
    pub(crate) settings: Settings,
}

impl Setup {
    pub(crate) fn new() -> Setup {
        Setup::of(Repository::of(&fixture("clip-hf")).with("README.md", "# no part of it"))
    }

    pub(crate) fn of(repository: Repository) -> Setup {
        let (hub, folder) = (Hub::start(), tempfile::tempdir().unwrap());
        hub.add(NAME, repository.clone());
        let home = OsString::from(folder.path());
        let get = |name: &str| (name == "HF_HOME").then(|| home.clone());
        let mut settings = Settings::read(&get).unwrap();
        settings.endpoint = hub.endpoint();
        settings.timeout = Duration::from_secs(10);
        settings.pause = Duration::from_millis(1);
        Setup { hub, repository, folder, settings }
    }

    pub(crate) fn pull(&self) -> Result<Pulled> {
        self.pull_as(NAME)
    }

    pub(crate) fn pull_as(&self, name: &str) -> Result<Pulled> {
        hub::pull(&hub::resolve(name)?, PullOptions::default(), &self.settings, &ocelli_tools::Silent)
    }

    /// The message of a pull that must fail.
    pub(crate) fn failure(&self) -> String {
        self.pull().unwrap_err().to_string()
    }

    /// The repository's part of the cache.
    pub(crate) fn cache(&self) -> PathBuf {
        self.settings.cache.join(FOLDER)
    }

    pub(crate) fn blob(&self, tag: &str) -> PathBuf {
        self.cache().join("blobs").join(tag)
    }

    /// That a pull gives the repository's files, byte for byte.
    pub(crate) fn assert_whole(&self, pulled: &Pulled) {
        let folder = pulled.checkpoint.parent().unwrap();
        assert!(!pulled.files.is_empty());
        for file in &pulled.files {
            assert_eq!(
                fs::read(folder.join(&file.name)).unwrap(),
                self.repository.files[&file.name],
                "{}",
                file.name
            );
        }
    }

    pub(crate) fn weights(&self) -> &[u8] {
        &self.repository.files["model.safetensors"]
    }
}
