//! A commit of a repository: its files, of which some are in the cache.

use super::cache::RepositoryCache;
use super::client::Client;
use super::digest::tag_of;
use super::download::Download;
use super::reference::{Reference, is_commit};
use super::remote::{self, Facts};
use super::settings::Settings;
use super::{Arrival, PulledFile};
use crate::progress::Progress;
use crate::source::SourceRepository;
use crate::{Error, Result};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

/// A commit of a repository.
pub(super) struct Snapshot<'s> {
    reference: Reference,
    commit: String,
    licence: Option<String>,
    endpoint: &'s str,
    cache: RepositoryCache,
    /// `None` offline.
    client: Option<&'s Client<'s>>,
    progress: &'s dyn Progress,
    /// The files at its top; `None` if the server does not list them, and each has to be asked for.
    listed: Option<BTreeSet<String>>,
    /// What was asked for so far.
    asked: RefCell<BTreeMap<String, Option<Facts>>>,
    /// What was fetched so far.
    fetched: RefCell<Vec<PulledFile>>,
}

impl<'s> Snapshot<'s> {
    /// Finds the commit that `reference` means now; offline, when it was last seen.
    pub(super) fn open(
        reference: &Reference,
        settings: &'s Settings,
        client: Option<&'s Client<'s>>,
        progress: &'s dyn Progress,
    ) -> Result<Snapshot<'s>> {
        let cache = RepositoryCache::new(&settings.cache, &reference.repository);
        let mut snapshot = Snapshot {
            reference: reference.clone(),
            commit: String::new(),
            licence: None,
            endpoint: &settings.endpoint,
            cache,
            client,
            progress,
            listed: None,
            asked: RefCell::default(),
            fetched: RefCell::default(),
        };
        match client {
            None => snapshot.find_offline(settings)?,
            Some(client) => snapshot.find_online(client)?,
        }
        Ok(snapshot)
    }

    fn find_offline(&mut self, settings: &Settings) -> Result<()> {
        let Reference { repository, revision, .. } = &self.reference;
        let known =
            if is_commit(revision) { Some(revision.clone()) } else { self.cache.commit_of(revision)? };
        let known = known.filter(|commit| self.cache.snapshot(commit).is_dir());
        self.commit = known.ok_or_else(|| {
            let folder = settings.cache.display();
            let problem = format!(
                "revision {revision:?} is not in the cache at {folder}, and HF_HUB_OFFLINE is set: unset it to download"
            );
            Error::hub(repository, problem)
        })?;
        self.listed = Some(self.cache.names(&self.commit).into_iter().collect());
        Ok(())
    }

    fn find_online(&mut self, client: &Client<'_>) -> Result<()> {
        if let Some(listing) = remote::listing(client, &self.reference)? {
            (self.commit, self.licence) = (listing.commit, listing.licence);
            self.listed = Some(listing.files);
            return Ok(());
        }
        for file in ["config.json", "open_clip_config.json"] {
            let facts = remote::facts(client, &self.reference, &self.reference.revision, file)?;
            if let Some(Facts { commit, .. }) = &facts {
                self.commit.clone_from(commit);
                self.asked.borrow_mut().insert(file.into(), facts);
                return Ok(());
            }
        }
        let problem = "has neither config.json nor open_clip_config.json, and the server lists no files: is the name right?";
        Err(Error::hub(&self.reference.repository, problem))
    }

    pub(super) fn repository(&self) -> &str {
        &self.reference.repository
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.cache.snapshot(&self.commit)
    }

    /// Where a file is once it was fetched.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// The files at the top, if they are known.
    pub(super) fn listed(&self) -> impl Iterator<Item = &str> {
        self.listed.iter().flatten().map(String::as_str)
    }

    /// Whether there is a file of this name.
    pub(super) fn has(&self, name: &str) -> Result<bool> {
        match (&self.listed, self.client) {
            (Some(files), _) => Ok(files.contains(name)),
            (None, Some(client)) => Ok(self.facts(client, name)?.is_some()),
            (None, None) => Ok(false),
        }
    }

    fn facts(&self, client: &Client<'_>, name: &str) -> Result<Option<Facts>> {
        if let Some(known) = self.asked.borrow().get(name) {
            return Ok(known.clone());
        }
        let absent = self.listed.is_none() && self.cache.is_known_absent(&self.commit, name);
        let facts = if absent { None } else { remote::facts(client, &self.reference, &self.commit, name)? };
        if let Some(other) = facts.as_ref().filter(|facts| facts.commit != self.commit) {
            let problem = format!("gives {name} of commit {} when asked for {}", other.commit, self.commit);
            return Err(Error::hub(&self.reference.repository, problem));
        }
        self.asked.borrow_mut().insert(name.into(), facts.clone());
        Ok(facts)
    }

    /// Fetches files that are not in the cache, or damaged there.
    pub(super) fn fetch(&self, names: &[String]) -> Result<()> {
        let is_new = |name: &&String| !self.fetched.borrow().iter().any(|file| file.name == **name);
        let mut missing = Vec::new();
        for name in names.iter().filter(is_new) {
            match (self.cached(name)?, self.client) {
                (true, _) => self.note(name, Arrival::Cached)?,
                (false, Some(client)) => {
                    let facts = self.facts(client, name)?.ok_or_else(|| {
                        Error::hub(self.repository(), format!("lists {name}, but has no such file"))
                    })?;
                    check_size(self.repository(), name, &facts)?;
                    missing.push((name, facts, client));
                }
                (false, None) => {
                    let problem = format!(
                        "{name} is not in the cache, and HF_HUB_OFFLINE is set: unset it to download"
                    );
                    return Err(Error::hub(self.repository(), problem));
                }
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        self.progress.begin("bytes", missing.iter().map(|(_, facts, _)| facts.size).sum());
        for (name, facts, client) in missing {
            self.progress.describe(name);
            let arrival = self.fetch_one(client, name, &facts)?;
            self.note(name, arrival)?;
        }
        self.progress.end();
        Ok(())
    }

    fn fetch_one(&self, client: &Client<'_>, name: &str, facts: &Facts) -> Result<Arrival> {
        let _lock = self.cache.lock(&facts.tag, self.progress)?;
        let blob = self.cache.blob(&facts.tag);
        let mut arrival = Arrival::Cached;
        // Another process may have downloaded it meanwhile, or the same contents under another name.
        if blob.is_file() && !is_damaged(&blob, &facts.tag)? {
            self.progress.advance(facts.size);
        } else {
            let (reference, progress) = (&self.reference, self.progress);
            let resumed = Download { client, reference, file: name, facts, blob: &blob, progress }.run()?;
            arrival = if resumed { Arrival::Resumed } else { Arrival::Downloaded };
        }
        self.cache.link(&facts.tag, &self.commit, name)?;
        Ok(arrival)
    }

    /// Whether a file is in the cache, whole. What is damaged is named, and counts as missing.
    fn cached(&self, name: &str) -> Result<bool> {
        let path = self.path(name);
        if !path.is_file() {
            return Ok(false);
        }
        let damaged = match self.cache.tag_of(&self.commit, name) {
            Some(tag) => is_damaged(&path, &tag)?,
            None => false,
        };
        if damaged {
            self.progress.warn(&format!("{} is damaged", path.display()));
        }
        Ok(!damaged)
    }

    fn note(&self, name: &str, from: Arrival) -> Result<()> {
        let path = self.path(name);
        let size = fs::metadata(&path).map_err(Error::io("read", &path))?.len();
        let file = PulledFile { name: name.into(), repository: self.repository().into(), size, from };
        self.fetched.borrow_mut().push(file);
        Ok(())
    }

    /// All is here: notes what the revision means, and says what was fetched.
    pub(super) fn finish(&self) -> Result<Vec<PulledFile>> {
        if self.client.is_some() {
            self.cache.set_commit(&self.reference.revision, &self.commit)?;
        }
        Ok(self.fetched.take())
    }

    /// For the packed file's provenance.
    pub(super) fn source(&self) -> SourceRepository {
        SourceRepository {
            hub: self.endpoint.into(),
            repository: self.repository().into(),
            revision: self.reference.revision.clone(),
            commit: self.commit.clone(),
            licence: self.licence.clone(),
        }
    }
}

/// Whether contents have another hash than their tag says.
fn is_damaged(path: &std::path::Path, tag: &str) -> Result<bool> {
    Ok(tag_of(path, tag)?.is_some_and(|found| found != tag))
}

/// Refuses files that are larger than any of their kind, before they are downloaded.
fn check_size(repository: &str, name: &str, facts: &Facts) -> Result<()> {
    let limit = match name {
        _ if name.ends_with(".safetensors") => u64::MAX,
        _ if name.ends_with(".index.json") => 64 << 20,
        _ if name.starts_with("tokenizer.") || name.starts_with("vocab.") => 256 << 20,
        _ if name.ends_with(".json") => 4 << 20,
        _ => 64 << 20,
    };
    if facts.size <= limit {
        return Ok(());
    }
    let problem = format!("{name} has {} bytes there: no such file has more than {limit}", facts.size);
    Err(Error::hub(repository, problem))
}
