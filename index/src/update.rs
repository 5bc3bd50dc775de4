//! Brings a store up to date with the folders: walks them, reads what is new or changed on spare threads, embeds it in
//! batches, and commits as it goes.

use crate::error::{Error, Result};
use crate::picture::{Outcome, Reader, Reading};
use crate::plan::{plan, retry};
use crate::store::{Change, Content, Facts, Stat, Store};
use crate::walk::Walk;
use ocelli::preprocess::decode;
use ocelli::vision::Layer;
use ocelli::{ImageEncoder, ImageOptions, Input, Model, Preprocessor, Runtime};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// Most of what a crash loses: so much time and so many files pass between two commits.
const COMMIT_TIME: Duration = Duration::from_secs(2);
const COMMIT_FILES: usize = 512;

/// How an update is done.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct UpdateOptions {
    /// Pictures that the encoder takes at once, and limits of the model's cost.
    pub encoder: ImageOptions,
    /// Limits of a picture's cost.
    pub limits: decode::Limits,
    /// Whether large JPEG files are decoded at a fraction of their size.
    pub fast: bool,
    /// Threads that read and decode, at least one.
    pub readers: usize,
    /// Whether what could not be decoded is tried again.
    pub retry: bool,
    /// Whether files of a folder in which no picture is found are forgotten: it may only not be mounted.
    pub forget: bool,
}

impl Default for UpdateOptions {
    fn default() -> UpdateOptions {
        UpdateOptions {
            encoder: ImageOptions::default().batch(8),
            limits: decode::Limits::default(),
            fast: true,
            readers: 1,
            retry: false,
            forget: false,
        }
    }
}

/// What happens during an update.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The folders were walked: so many pictures are as they were, so many files have to be read.
    Found {
        /// Unchanged.
        known: usize,
        /// To read.
        to_read: usize,
    },
    /// Before a batch, and now and then: what is called may take its time, and the update waits.
    Pause,
    /// One more of the files to read is done.
    Read,
    /// A picture was embedded and committed.
    Indexed {
        /// The file.
        path: &'a Path,
    },
    /// A file has a picture that is already in the index.
    Copy {
        /// The file.
        path: &'a Path,
    },
    /// A file has been moved.
    Moved {
        /// Where it was.
        from: &'a Path,
        /// Where it is.
        path: &'a Path,
    },
    /// A file is gone.
    Removed {
        /// Where it was.
        path: &'a Path,
    },
    /// A file or folder that cannot be used, and why. It is tried again when it changes; what the system would not give is
    /// tried again every time.
    Unreadable {
        /// The file or folder.
        path: &'a Path,
        /// The reason.
        problem: &'a str,
    },
    /// Something was odd, and went well.
    Warning {
        /// The file or folder.
        path: &'a Path,
        /// What was odd.
        problem: &'a str,
    },
}

/// Whoever watches an update: `Break` ends it at the last commit.
pub type Events<'a> = &'a mut dyn FnMut(Event<'_>) -> ControlFlow<()>;

/// What an update did, in files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// As they were.
    pub known: usize,
    /// Embedded.
    pub indexed: usize,
    /// Whose picture was already there.
    pub copies: usize,
    /// Moved.
    pub moved: usize,
    /// Gone.
    pub removed: usize,
    /// That cannot be used; of this update.
    pub unreadable: usize,
    /// That are written to, and left for the next update.
    pub changing: usize,
}

/// Brings `store`, open for writing, up to date with the folders of `walk`, embedding with `model`.
///
/// # Errors
/// The model cannot be run, the store cannot be written, or `events` asked to stop. All commits until then stay.
pub fn update(
    store: &mut Store,
    model: &Arc<Model>,
    runtime: &Runtime,
    walk: &Walk,
    options: &UpdateOptions,
    events: Events<'_>,
) -> Result<Summary> {
    let mut encoder = ImageEncoder::new(model, runtime, &options.encoder)?;
    let mut decoding = decode::Options::default();
    decoding.limits = options.limits;
    decoding.fast_for = options.fast.then(|| *encoder.frame_spec());
    if options.retry {
        retry(&store.catalog)?;
    }
    let plan = plan(store, walk, options.forget)?;
    let mut summary = Summary { known: plan.known, unreadable: plan.problems.len(), ..Summary::default() };
    tell(events, Event::Found { known: plan.known, to_read: plan.to_read.len() })?;
    for (path, problem) in &plan.problems {
        tell(events, Event::Unreadable { path, problem })?;
    }
    let readers = options.readers.clamp(1, plan.to_read.len().max(1));
    let readers: Vec<Reader> = (0..readers)
        .map(|_| {
            let preprocessor = Preprocessor::new(model, runtime.kernels().isa(), &options.encoder)?;
            Ok(Reader::new(store.reader()?, decoding, preprocessor))
        })
        .collect::<Result<_>>()?;
    let files = Mutex::new(plan.to_read.into_iter());
    let stop = AtomicBool::new(false);
    let mut work = Work {
        store,
        encoder: &mut encoder,
        events,
        gone: plan.gone,
        waiting: Vec::new(),
        changes: Vec::new(),
        committed: Instant::now(),
        summary: &mut summary,
    };
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel(2 * readers.len());
        for mut reader in readers {
            let (sender, files, stop) = (sender.clone(), &files, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let Some(path) = files.lock().ok().and_then(|mut files| files.next()) else { break };
                    if sender.send(reader.read(path)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let done = work.run(&receiver);
        // The readers end at their next file; their results are let go.
        stop.store(true, Ordering::Relaxed);
        done
    })?;
    let gone = work.gone.into_values().flatten().chain(plan.gone_blank);
    let gone: Vec<(i64, PathBuf)> = gone.collect();
    store.catalog.transaction(|| {
        gone.iter()
            .try_for_each(|(id, _)| store.catalog.run("DELETE FROM files WHERE id = ?", [id]).map(|_| ()))
    })?;
    for (_, path) in &gone {
        tell(events, Event::Removed { path })?;
    }
    summary.removed = gone.len();
    Ok(summary)
}

fn tell(events: Events<'_>, event: Event<'_>) -> Result<()> {
    match events(event) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Stopped),
    }
}

/// A picture that waits for its embedding.
struct Waiting {
    path: PathBuf,
    stat: Stat,
    hash: [u8; 16],
    facts: Facts,
}

/// How a change came about.
enum Fate {
    /// The file is new, or shows something else.
    Plain,
    /// It shows the same as before.
    Touched,
    /// It was there.
    Moved(PathBuf),
}

/// The thread that embeds and commits.
struct Work<'w> {
    store: &'w mut Store,
    encoder: &'w mut ImageEncoder,
    events: Events<'w>,
    gone: HashMap<i64, Vec<(i64, PathBuf)>>,
    /// Their frames are in the encoder.
    waiting: Vec<Waiting>,
    changes: Vec<(Change, Fate)>,
    committed: Instant,
    summary: &'w mut Summary,
}

impl Work<'_> {
    fn run(&mut self, readings: &mpsc::Receiver<Result<Reading>>) -> Result<()> {
        tell(self.events, Event::Pause)?;
        for reading in readings {
            self.take(reading?)?;
            if self.waiting.len() == self.encoder.batch() {
                self.embed()?;
                tell(self.events, Event::Pause)?;
            }
            let due = self.committed.elapsed() >= COMMIT_TIME;
            if due && !self.waiting.is_empty() {
                self.embed()?;
            }
            if due || self.changes.len() >= COMMIT_FILES {
                self.commit()?;
                tell(self.events, Event::Pause)?;
            }
        }
        self.embed()?;
        self.commit()
    }

    fn take(&mut self, reading: Reading) -> Result<()> {
        let Reading { path, stat, outcome } = reading;
        let content = match outcome {
            Outcome::Picture { hash, facts, frame, warnings } => {
                for problem in &warnings {
                    tell(self.events, Event::Warning { path: &path, problem })?;
                }
                self.encoder.set_frame(self.waiting.len(), &frame)?;
                self.waiting.push(Waiting { path, stat, hash, facts });
                return Ok(());
            }
            Outcome::Known(picture) => {
                let file = self.store.catalog.file(&path)?;
                let (mut moved, mut fate) = (None, Fate::Plain);
                if file.is_some_and(|file| file.picture == Some(picture)) {
                    fate = Fate::Touched;
                } else if let Some((id, from)) = self.gone.get_mut(&picture).and_then(Vec::pop) {
                    // A file that is gone had this picture: this is where it went.
                    (moved, fate) = (Some(id), Fate::Moved(from));
                }
                return self.push(Change { path, stat, content: Content::Known(picture), moved }, fate);
            }
            Outcome::Undecodable { hash, problem } => Content::Undecodable { hash, problem },
            Outcome::Unreadable { problem } => Content::Unreadable { problem },
            Outcome::Changing => {
                self.summary.changing += 1;
                let problem = "it changes while it is read: left for the next time";
                tell(self.events, Event::Warning { path: &path, problem })?;
                return tell(self.events, Event::Read);
            }
            Outcome::Gone => return tell(self.events, Event::Read),
        };
        self.push(Change { path, stat, content, moved: None }, Fate::Plain)
    }

    fn push(&mut self, change: Change, fate: Fate) -> Result<()> {
        self.changes.push((change, fate));
        tell(self.events, Event::Read)
    }

    fn embed(&mut self) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let dim = self.encoder.embed_dim();
        let mut vectors = vec![0.0; self.waiting.len() * dim];
        self.encoder.encode(Input::Frames(self.waiting.len()), Layer::Projected, &mut vectors)?;
        for (waiting, vector) in
            std::mem::take(&mut self.waiting).into_iter().zip(vectors.chunks_exact_mut(dim))
        {
            ocelli::score::normalize(vector);
            let Waiting { path, stat, hash, facts } = waiting;
            let content = Content::New { hash, facts, vector: vector.to_vec() };
            self.push(Change { path, stat, content, moved: None }, Fate::Plain)?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<()> {
        self.committed = Instant::now();
        let (changes, fates): (Vec<Change>, Vec<Fate>) = self.changes.drain(..).unzip();
        if changes.is_empty() {
            return Ok(());
        }
        self.store.commit(&changes)?;
        for (Change { path, content, .. }, fate) in changes.iter().zip(&fates) {
            let (event, count) = match (content, fate) {
                (_, Fate::Touched) => {
                    self.summary.known += 1;
                    continue;
                }
                (_, Fate::Moved(from)) => (Event::Moved { from, path }, &mut self.summary.moved),
                (Content::Known(_), _) => (Event::Copy { path }, &mut self.summary.copies),
                (Content::New { .. }, _) => (Event::Indexed { path }, &mut self.summary.indexed),
                (Content::Undecodable { problem, .. } | Content::Unreadable { problem }, _) => {
                    (Event::Unreadable { path, problem }, &mut self.summary.unreadable)
                }
            };
            *count += 1;
            tell(self.events, event)?;
        }
        Ok(())
    }
}
