//! What all requests share.

use super::engine::Text;
use super::intake::Intake;
use super::metrics::Metrics;
#[cfg(feature = "index")]
use super::photos::Photos;
use super::pictures::{Picture, Pictures};
use super::problem::Problem;
use super::registry::{Entry, Registry};
use super::upstream::Upstream;
use axum::body::Bytes;
use axum::http::StatusCode;
use futures_util::{StreamExt, TryStreamExt, stream};
use ocelli::format::LabelBank;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Inputs of one request at most.
pub(super) const MAX_INPUTS: usize = 2048;
/// Pictures of one request that are on their way at the same time, so that they can be encoded together.
const AT_ONCE: usize = 8;

/// The server's state.
pub(super) struct Service {
    pub(super) models: Registry,
    /// Label banks by name.
    pub(super) banks: Vec<(String, LabelBank)>,
    pub(super) intake: Intake,
    pub(super) queue: Queue,
    pub(super) pictures: Pictures,
    pub(super) upstream: Option<Upstream>,
    /// What `--index` names.
    #[cfg(feature = "index")]
    pub(super) photos: Option<Arc<Photos>>,
    pub(super) metrics: Arc<Metrics>,
    /// How long a request may take, from its headers to its answer.
    pub(super) time: Duration,
}

pub(super) type App = Arc<Service>;

/// Requests that are worked on or wait for it: so many and no more.
pub(super) struct Queue {
    places: Semaphore,
    limit: usize,
}

impl Queue {
    pub(super) fn new(limit: usize) -> Queue {
        Queue { places: Semaphore::new(limit), limit }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Requests in the queue.
    pub(super) fn len(&self) -> usize {
        self.limit - self.places.available_permits()
    }
}

impl Service {
    /// A place in the queue, until dropped.
    ///
    /// # Errors
    /// The queue is full; it says when it should be shorter.
    pub(super) fn enter(&self) -> Result<SemaphorePermit<'_>, Problem> {
        self.queue.places.try_acquire().map_err(|_| {
            let seconds = self.metrics.usual_encode_ms() * self.queue.limit as f64 / 2e3;
            let message = format!("{} requests are waiting already", self.queue.limit);
            Problem::busy(message, seconds.ceil().clamp(1.0, 60.0) as u64)
        })
    }

    /// Embeds one picture with `entry`; with `classes`, the model's own classifier is asked too.
    pub(super) async fn picture(
        &self,
        entry: &Arc<Entry>,
        file: Bytes,
        classes: bool,
    ) -> Result<Picture, Problem> {
        if entry.facts.image.is_none() {
            return Err(Problem::bad(format!(
                "the model {:?} has no image tower: it embeds texts",
                entry.name
            )));
        }
        if file.is_empty() {
            return Err(Problem::bad("the picture is empty"));
        }
        self.pictures.embed(&entry.engine().await?, file, classes).await
    }

    /// Embeds pictures, in their order. The error of a picture says which one it was.
    pub(super) async fn pictures(
        &self,
        entry: &Arc<Entry>,
        files: Vec<Bytes>,
    ) -> Result<Vec<Picture>, Problem> {
        let several = files.len() > 1;
        check_count(files.len())?;
        let pictures = files.into_iter().enumerate().map(async |(i, file)| {
            let embedded = self.picture(entry, file, false).await;
            embedded.map_err(|problem| if several { problem.of_part(&format!("input {i}")) } else { problem })
        });
        stream::iter(pictures).buffered(AT_ONCE).try_collect().await
    }

    /// Embeds texts, in their order.
    pub(super) async fn texts(
        &self,
        entry: &Arc<Entry>,
        texts: &[String],
    ) -> Result<Vec<Arc<Text>>, Problem> {
        if entry.facts.context.is_none() {
            return Err(Problem::bad(format!(
                "the model {:?} has no text tower: it embeds pictures",
                entry.name
            )));
        }
        check_count(texts.len())?;
        entry.engine().await?.texts(texts).await
    }

    /// The index of photos.
    #[cfg(feature = "index")]
    pub(super) fn photos(&self) -> Result<&Arc<Photos>, Problem> {
        let none = "there are no photos to search here: the server was started without --index";
        self.photos.as_ref().ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, none))
    }

    /// The folder of the index of photos, if there is one.
    pub(super) fn index(&self) -> Option<&Path> {
        #[cfg(feature = "index")]
        return self.photos.as_ref().map(|photos| photos.folder());
        #[cfg(not(feature = "index"))]
        return None;
    }

    /// The label bank called `name`.
    pub(super) fn bank(&self, name: &str) -> Result<&LabelBank, Problem> {
        let found = self.banks.iter().find(|(known, _)| known == name).map(|(_, bank)| bank);
        found.ok_or_else(|| {
            let names: Vec<&str> = self.banks.iter().map(|(name, _)| name.as_str()).collect();
            let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            Problem::new(
                StatusCode::NOT_FOUND,
                format!("there is no label bank {name:?} here; there is {known}"),
            )
        })
    }
}

fn check_count(inputs: usize) -> Result<(), Problem> {
    match inputs {
        0 => Err(Problem::bad("there is no input")),
        1..=MAX_INPUTS => Ok(()),
        _ => Err(Problem::bad(format!("{inputs} inputs; at most {MAX_INPUTS} are possible"))),
    }
}
