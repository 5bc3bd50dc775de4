//! An open model: its encoders on a thread of their own, and the jobs that go there.

use super::metrics::Metrics;
use super::problem::Problem;
use super::worker::{ImageJob, Job, TextJob, Worker};
use lru::LruCache;
use ocelli::encoder::Frame;
use ocelli::format::Limits;
use ocelli::{ImageOptions, Isa, Model, Preprocessor, Result, Runtime};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// Jobs that wait for a model's thread at most; who comes then waits before its door.
const JOBS: usize = 64;
/// Texts of one job: others get their turn in between.
const TEXTS_PER_JOB: usize = 16;
/// Longer texts are not kept, so that the cache's size is bounded.
const MAX_CACHED_TEXT: usize = 1024;

/// How models are run.
#[derive(Clone)]
pub(super) struct Settings {
    /// The threads, shared by all models.
    pub(super) runtime: Runtime,
    pub(super) isa: Isa,
    pub(super) limits: Limits,
    /// Most pictures that are encoded at once.
    pub(super) batch: usize,
    /// Whether weights are checked when a model is opened.
    pub(super) verify: bool,
    /// Texts whose embeddings are kept, for each model.
    pub(super) texts: NonZeroUsize,
    pub(super) metrics: Arc<Metrics>,
}

/// A text's embedding, of length 1.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) embedding: Vec<f32>,
    pub(super) tokens: usize,
}

/// A picture's embedding, of length 1 unless the model's own classes were asked for.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) embedding: Vec<f32>,
    /// One per class.
    pub(super) logits: Vec<f32>,
    /// Milliseconds from the frame to its turn, and of its encoding, which it may share with others.
    pub(super) waited: f64,
    pub(super) encode: f64,
}

/// An open model.
pub(super) struct Engine {
    pub(super) model: Arc<Model>,
    jobs: mpsc::Sender<Job>,
    isa: Isa,
    limits: Limits,
    /// Those that no thread uses now.
    preprocessors: Mutex<Vec<Preprocessor>>,
    texts: Mutex<LruCache<String, Arc<Text>>>,
    metrics: Arc<Metrics>,
}

impl Engine {
    /// Starts a thread for `model`, whose encoders are made when they are first needed.
    ///
    /// # Errors
    /// The system makes no thread.
    pub(super) fn new(model: Arc<Model>, settings: &Settings) -> Result<Engine> {
        let (jobs, waiting) = mpsc::channel(JOBS);
        let worker = Worker::new(Arc::clone(&model), settings.clone());
        let thread = std::thread::Builder::new().name("encode".into()).spawn(move || worker.run(waiting));
        thread.map_err(|source| ocelli::Error::Io { action: "start a thread", source })?;
        Ok(Engine {
            model,
            jobs,
            isa: settings.isa,
            limits: settings.limits,
            preprocessors: Mutex::default(),
            texts: Mutex::new(LruCache::new(settings.texts)),
            metrics: Arc::clone(&settings.metrics),
        })
    }

    /// Whether its thread has ended, as it does should an encoder panic.
    pub(super) fn is_dead(&self) -> bool {
        self.jobs.is_closed()
    }

    /// A preprocessor of this model, for one picture.
    pub(super) fn preprocessor(&self) -> Result<Preprocessor> {
        match self.preprocessors.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            Some(preprocessor) => Ok(preprocessor),
            None => Preprocessor::new(&self.model, self.isa, &ImageOptions::default().limits(self.limits)),
        }
    }

    /// Takes it back for the next.
    pub(super) fn keep(&self, preprocessor: Preprocessor) {
        self.preprocessors.lock().unwrap_or_else(PoisonError::into_inner).push(preprocessor);
    }

    /// Encodes a frame; with `classes`, the model's own classifier is asked too.
    pub(super) async fn encode(&self, frame: Frame, classes: bool) -> Result<Encoded, Problem> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Image(ImageJob { frame, classes, since: Instant::now(), reply })).await?;
        answer.await.map_err(|_| ended())?
    }

    /// Embeds texts. Those that were asked for lately are known.
    pub(super) async fn texts(&self, texts: &[String]) -> Result<Vec<Arc<Text>>, Problem> {
        let mut found: Vec<_> = {
            let mut cache = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
            texts.iter().map(|text| cache.get(text).cloned()).collect()
        };
        let missing: Vec<usize> = (0..texts.len()).filter(|&i| found[i].is_none()).collect();
        self.metrics.texts(texts.len() - missing.len(), missing.len());
        for few in missing.chunks(TEXTS_PER_JOB) {
            let (reply, answer) = oneshot::channel();
            let texts_of_job = few.iter().map(|&i| texts[i].clone()).collect();
            self.send(Job::Texts(TextJob { texts: texts_of_job, reply })).await?;
            let made = answer.await.map_err(|_| ended())??;
            let mut cache = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
            for (&i, text) in few.iter().zip(made) {
                if texts[i].len() <= MAX_CACHED_TEXT {
                    cache.put(texts[i].clone(), Arc::clone(&text));
                }
                found[i] = Some(text);
            }
        }
        found.into_iter().map(|text| text.ok_or_else(ended)).collect()
    }

    async fn send(&self, job: Job) -> Result<(), Problem> {
        self.jobs.send(job).await.map_err(|_| ended())
    }
}

fn ended() -> Problem {
    Problem::broken("the model's thread has ended unexpectedly; the next request starts it again")
}
