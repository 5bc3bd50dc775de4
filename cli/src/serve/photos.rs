//! The index of photos that the server searches, the model that belongs to it, and its thumbnails.

use super::pictures::Pictures;
use super::problem::Problem;
use super::registry::{Entry, Registry};
use super::thumbnails::{Thumbnails, thumbnail};
use crate::index::default_folder;
use axum::body::Bytes;
use axum::http::StatusCode;
use ocelli::{Model, Runtime};
use ocelli_index::{Error, Hit, Identity, Query, Result, SearchOptions, Store, search};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Questions to the index at the same time; each scans with all threads.
const READERS: usize = 2;

/// A picture's hash, by which requests name it.
pub(super) type Hash = [u8; 16];

/// An index, and what is needed to search it.
pub(super) struct Photos {
    folder: PathBuf,
    identity: Identity,
    /// The model that made the index, or one of the same checkpoint.
    pub(super) model: Arc<Entry>,
    runtime: Runtime,
    /// Connections that nobody uses now.
    stores: Mutex<Vec<Store>>,
    readers: Arc<Semaphore>,
    thumbnails: Thumbnails,
}

/// Opens the index that `--index` names: its value, or the usual folder where it has none.
pub(super) fn open(index: Option<&Option<PathBuf>>) -> Result<Option<Store>> {
    let Some(folder) = index else { return Ok(None) };
    let folder = folder.clone().map_or_else(default_folder, Ok)?;
    Store::open(&folder).map(Some)
}

impl Photos {
    /// The index that `store` opened, with the first of `models` that is of its checkpoint; one that reads texts comes
    /// before one that doesn't.
    ///
    /// # Errors
    /// None of them is.
    pub(super) fn new(store: Store, models: &Registry, runtime: &Runtime) -> Result<Photos> {
        let identity = |entry: &Entry| Identity {
            checkpoint: entry.facts.checkpoint,
            dim: entry.facts.dim,
            model: None,
        };
        let fits = |entry: &&Arc<Entry>| store.check(&identity(entry)).is_ok();
        let mut fitting: Vec<&Arc<Entry>> = models.all().iter().filter(fits).collect();
        fitting.sort_by_key(|entry| entry.facts.context.is_none());
        let Some(model) = fitting.first().copied().or(models.all().first()) else {
            return Err(Error::Ocelli(ocelli::Error::Message("no model is served".into())));
        };
        // Refuses the first model if none fits.
        store.check(&identity(model))?;
        Ok(Photos {
            folder: store.folder().to_owned(),
            identity: store.identity().clone(),
            model: Arc::clone(model),
            runtime: runtime.clone(),
            stores: Mutex::new(vec![store]),
            readers: Arc::new(Semaphore::new(READERS)),
            thumbnails: Thumbnails::default(),
        })
    }

    /// The index's folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Refuses embeddings of `model` if its file was replaced by one of another checkpoint.
    pub(super) fn check(&self, model: &Model) -> Result<(), Problem> {
        let Identity { checkpoint, dim, .. } = Identity::of(model, None);
        if (checkpoint, dim) == (self.identity.checkpoint, self.identity.dim) {
            return Ok(());
        }
        let message = format!("the model {:?} is no longer the one of the index", self.model.name);
        Err(Problem::broken(message))
    }

    /// The photos that are most similar to `query`; `options` need not say on how many threads.
    pub(super) async fn search(
        self: &Arc<Self>,
        query: Query,
        mut options: SearchOptions,
    ) -> Result<Vec<Hit>, Problem> {
        options.threads = self.runtime.threads();
        let kernels = *self.runtime.kernels();
        self.ask(move |store| search::search(store, &kernels, &query, &options)).await
    }

    /// The photo called `hash`, if the index has it and its file is there.
    pub(super) async fn find(self: &Arc<Self>, hash: Hash) -> Result<ocelli_index::Entry, Problem> {
        let look = move |store: &Store| Ok(store.entry(&hash)?.map(|entry| (entry.is_there(), entry)));
        let missing = |reason| Err(Problem::new(StatusCode::NOT_FOUND, reason));
        match self.ask(look).await? {
            Some((true, entry)) => Ok(entry),
            Some((false, _)) => missing("the photo is gone, or another one than when it was indexed"),
            None => missing("the index has no photo of this id"),
        }
    }

    /// The thumbnail of `photo`, a JPEG.
    pub(super) async fn thumbnail(
        &self,
        photo: ocelli_index::Entry,
        pictures: &Pictures,
    ) -> Result<Bytes, Problem> {
        let hash = photo.hash;
        if let Some(known) = self.thumbnails.get(&hash) {
            return Ok(known);
        }
        let runtime = self.runtime.clone();
        let made = pictures.decoding(move |limits| thumbnail(&photo, limits, &runtime)).await?;
        let jpeg = Bytes::from(made?);
        self.thumbnails.put(hash, jpeg.clone());
        Ok(jpeg)
    }

    /// Has `work` done on a thread that may wait for the disk.
    async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Store) -> Result<T> + Send + 'static,
    ) -> Result<T, Problem> {
        let reader = Arc::clone(&self.readers).acquire_owned().await;
        let reader = reader.map_err(|_| Problem::broken("the server is closing"))?;
        let photos = Arc::clone(self);
        let asking = tokio::task::spawn_blocking(move || {
            let done = photos.store().and_then(|store| {
                let done = work(&store)?;
                photos.stores().push(store);
                Ok(done)
            });
            drop(reader);
            done
        });
        let done = asking.await.map_err(|_| Problem::broken("asking the index failed"))?;
        done.map_err(|error| match error {
            error @ Error::Query { .. } => Problem::bad(error.to_string()),
            error => Problem::broken(error.to_string()),
        })
    }

    fn stores(&self) -> std::sync::MutexGuard<'_, Vec<Store>> {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection to the index as it is now. An open one sees what was committed since; only an index that was made anew
    /// needs another.
    fn store(&self) -> Result<Store> {
        let kept = self.stores().pop();
        if let Some(store) = kept.filter(|store| !store.is_replaced()) {
            return Ok(store);
        }
        let store = Store::open(&self.folder)?;
        store.check(&self.identity)?;
        Ok(store)
    }
}
