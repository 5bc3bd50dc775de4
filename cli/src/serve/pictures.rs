//! Pictures to frames, on other threads than the encoders', and never more of them in memory than planned.

use super::engine::{Encoded, Engine};
use super::metrics::{Metrics, Stage};
use super::problem::Problem;
use crate::console::ms_since;
use axum::body::Bytes;
use ocelli::encoder::Frame;
use ocelli::preprocess::decode::{self, Limits};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{AcquireError, Semaphore};

/// Decodes, preprocesses and encodes pictures.
pub(super) struct Pictures {
    /// One permit for each picture that may be decoded at a time.
    decoders: Arc<Semaphore>,
    /// One for each that may be between its file and its embedding.
    frames: Arc<Semaphore>,
    limits: Limits,
    /// Whether large JPEG files are decoded at a fraction of their size.
    fast: bool,
    batch: usize,
    metrics: Arc<Metrics>,
}

/// A picture's embedding, its size as the file has it, upright, and where the time went, in milliseconds.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) encoded: Encoded,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) decode: f64,
    pub(super) preprocess: f64,
}

struct Prepared {
    frame: Frame,
    size: (u32, u32),
    decode: f64,
    preprocess: f64,
}

impl Pictures {
    /// Decodes `decoders` pictures at a time, for batches of up to `batch`.
    pub(super) fn new(
        decoders: usize,
        batch: usize,
        limits: Limits,
        fast: bool,
        metrics: Arc<Metrics>,
    ) -> Pictures {
        // A batch that is encoded, the next one, and what is being decoded.
        let frames = 2 * batch + decoders;
        let [decoders, frames] = [decoders, frames].map(|permits| Arc::new(Semaphore::new(permits)));
        Pictures { decoders, frames, limits, fast, batch, metrics }
    }

    /// Most pictures that are encoded at once.
    pub(super) fn batch(&self) -> usize {
        self.batch
    }

    /// Embeds the picture in `file`; with `classes`, the model's own classifier is asked too.
    pub(super) async fn embed(
        &self,
        engine: &Arc<Engine>,
        file: Bytes,
        classes: bool,
    ) -> Result<Picture, Problem> {
        let _frame = self.frames.acquire().await.map_err(closed)?;
        let (fast, of) = (self.fast, Arc::clone(engine));
        let prepared = self.decoding(move |limits| prepare(&of, &file, limits, fast)).await??;
        let Prepared { frame, size: (width, height), decode, preprocess } = prepared;
        self.metrics.stage(Stage::Decode, decode);
        self.metrics.stage(Stage::Preprocess, preprocess);
        let encoded = engine.encode(frame, classes).await?;
        Ok(Picture { encoded, width, height, decode, preprocess })
    }

    /// Has `work`, which decodes one picture within the limits that it is given, done when its memory may be taken.
    pub(super) async fn decoding<T: Send + 'static>(
        &self,
        work: impl FnOnce(Limits) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let decoder = Arc::clone(&self.decoders).acquire_owned().await.map_err(closed)?;
        let limits = self.limits;
        let working = tokio::task::spawn_blocking(move || {
            let done = work(limits);
            drop(decoder);
            done
        });
        working.await.map_err(|_| Problem::broken("decoding the picture failed"))
    }
}

fn closed(_: AcquireError) -> Problem {
    Problem::broken("the server is closing")
}

fn prepare(engine: &Engine, file: &[u8], limits: Limits, fast: bool) -> Result<Prepared, Problem> {
    let mut options = decode::Options::default();
    options.limits = limits;
    let mut preprocessor = engine.preprocessor().map_err(|error| Problem::of_server(&error))?;
    options.fast_for = fast.then(|| *preprocessor.frame_spec());
    let start = Instant::now();
    let picture = decode::decode(file, &options).map_err(|error| Problem::of_input(&error))?;
    let (decode, start) = (ms_since(start), Instant::now());
    let (mut frame, view) = (preprocessor.frame(), picture.view());
    preprocessor.preprocess(&view, &mut frame).map_err(|error| Problem::of_input(&error))?;
    engine.keep(preprocessor);
    Ok(Prepared { frame, size: (view.width(), view.height()), decode, preprocess: ms_since(start) })
}
