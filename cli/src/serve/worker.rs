//! The thread of a model: takes jobs, encodes pictures that wait together at once.

use super::batches::Batches;
use super::engine::{Encoded, Settings, Text};
use super::metrics::Stage;
use super::problem::Problem;
use crate::console::ms_since;
use ocelli::encoder::Frame;
use ocelli::score::normalize;
use ocelli::vision::Layer;
use ocelli::{Error, ImageEncoder, ImageOptions, Input, Model, Result, TextEncoder};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// What a model's thread is asked for. A job whose client has gone (`reply` is closed) is dropped when its turn comes.
pub(super) enum Job {
    Image(ImageJob),
    Texts(TextJob),
}

pub(super) struct ImageJob {
    pub(super) frame: Frame,
    /// Whether the model's own classifier is asked too.
    pub(super) classes: bool,
    pub(super) since: Instant,
    pub(super) reply: oneshot::Sender<Result<Encoded, Problem>>,
}

pub(super) struct TextJob {
    pub(super) texts: Vec<String>,
    pub(super) reply: oneshot::Sender<Result<Vec<Arc<Text>>, Problem>>,
}

/// Texts that are embedded before it is looked whether their client is still there.
const TEXTS_BETWEEN_LOOKS: usize = 64;

/// The encoders of a model, each made when it is first needed.
pub(super) struct Worker {
    model: Arc<Model>,
    settings: Settings,
    images: Option<ImageEncoder>,
    texts: Option<TextEncoder>,
    batches: Batches,
}

impl Worker {
    pub(super) fn new(model: Arc<Model>, settings: Settings) -> Worker {
        let batches = Batches::new(settings.batch);
        Worker { model, settings, images: None, texts: None, batches }
    }

    /// Works until nobody can send any more and everything that waits is done.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut waiting: Vec<ImageJob> = Vec::new();
        loop {
            if waiting.is_empty() {
                match jobs.blocking_recv() {
                    Some(job) => self.sort(job, &mut waiting),
                    None => return,
                }
            }
            // Texts first: somebody waits for a search, and they are short.
            while waiting.len() < self.batches.most()
                && let Ok(job) = jobs.try_recv()
            {
                self.sort(job, &mut waiting);
            }
            waiting.retain(|job| !job.reply.is_closed());
            if !waiting.is_empty() {
                let rest = waiting.split_off(self.batches.next(waiting.len()));
                self.encode(std::mem::replace(&mut waiting, rest));
            }
        }
    }

    fn sort(&mut self, job: Job, waiting: &mut Vec<ImageJob>) {
        match job {
            Job::Image(job) => waiting.push(job),
            Job::Texts(job) => {
                if let Some(made) = self.embed(&job) {
                    // Nobody may be waiting any more.
                    let _ = job.reply.send(made);
                }
            }
        }
    }

    /// Encodes the pictures of `jobs` together and answers each.
    fn encode(&mut self, jobs: Vec<ImageJob>) {
        let start = Instant::now();
        let embeddings = self.embeddings(&jobs);
        let encode = ms_since(start);
        self.settings.metrics.encoded(jobs.len(), encode);
        self.batches.took(jobs.len(), encode);
        match embeddings {
            Ok((embeddings, dim)) => {
                for (job, embedding) in jobs.into_iter().zip(embeddings.chunks_exact(dim)) {
                    let waited = start.duration_since(job.since).as_secs_f64() * 1e3;
                    self.settings.metrics.stage(Stage::Wait, waited);
                    let answer = self.finish(job.classes, embedding.to_vec());
                    let answer = answer.map(|encoded| Encoded { waited, encode, ..encoded });
                    let _ = job.reply.send(answer.map_err(|error| Problem::of_server(&error)));
                }
            }
            Err(error) => {
                let problem = Problem::of_server(&error);
                jobs.into_iter().for_each(|job| _ = job.reply.send(Err(problem.clone())));
            }
        }
        if self.batches.settle() {
            self.images = None;
        }
    }

    /// The embeddings of the pictures of `jobs` as the model gives them, one after the other, and the length of one.
    fn embeddings(&mut self, jobs: &[ImageJob]) -> Result<(Vec<f32>, usize)> {
        if self.images.is_none() {
            let options = ImageOptions::default().batch(self.batches.most()).limits(self.settings.limits);
            self.images = Some(ImageEncoder::new(&self.model, &self.settings.runtime, &options)?);
        }
        let encoder = self.images.as_mut().ok_or_else(no_encoder)?;
        for (i, job) in jobs.iter().enumerate() {
            encoder.set_frame(i, &job.frame)?;
        }
        let dim = encoder.embed_dim();
        let mut embeddings = vec![0.0; jobs.len() * dim];
        encoder.encode(Input::Frames(jobs.len()), Layer::Projected, &mut embeddings)?;
        Ok((embeddings, dim))
    }

    /// What is answered with an embedding as the model gave it.
    fn finish(&mut self, classes: bool, mut embedding: Vec<f32>) -> Result<Encoded> {
        let mut logits = Vec::new();
        if classes {
            let encoder = self.images.as_mut().ok_or_else(no_encoder)?;
            logits.resize(encoder.classes(), 0.0);
            encoder.logits_into(&embedding, &mut logits)?;
        }
        normalize(&mut embedding);
        Ok(Encoded { embedding, logits, waited: 0.0, encode: 0.0 })
    }

    /// Embeds the texts of `job`; `None` if its client has gone meanwhile.
    fn embed(&mut self, job: &TextJob) -> Option<Result<Vec<Arc<Text>>, Problem>> {
        let mut made = Vec::new();
        for texts in job.texts.chunks(TEXTS_BETWEEN_LOOKS) {
            if job.reply.is_closed() {
                return None;
            }
            match self.texts(texts) {
                Ok(texts) => made.extend(texts.into_iter().map(Arc::new)),
                Err(error @ Error::TextTooLong { .. }) => return Some(Err(Problem::of_input(&error))),
                Err(error) => return Some(Err(Problem::of_server(&error))),
            }
        }
        Some(Ok(made))
    }

    fn texts(&mut self, texts: &[String]) -> Result<Vec<Text>> {
        if self.texts.is_none() {
            let Settings { runtime, limits, .. } = &self.settings;
            self.texts = Some(TextEncoder::new(&self.model, runtime, limits)?);
        }
        let encoder = self.texts.as_mut().ok_or_else(no_encoder)?;
        let tokenizer = encoder.tokenizer()?;
        let ids = texts.iter().map(|text| Ok(tokenizer.encode(text)?.ids)).collect::<Result<Vec<_>>>()?;
        let dim = encoder.embed_dim();
        let mut embeddings = vec![0.0; ids.len() * dim];
        encoder.encode_all_ids(&ids, &mut embeddings)?;
        let text = |(ids, embedding): (&Vec<u32>, &mut [f32])| {
            normalize(embedding);
            Text { embedding: embedding.to_vec(), tokens: ids.len() }
        };
        Ok(ids.iter().zip(embeddings.chunks_exact_mut(dim)).map(text).collect())
    }
}

fn no_encoder() -> Error {
    Error::Message("the encoder is gone".into())
}
