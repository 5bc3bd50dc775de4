//! The models that are served, by name; each is opened when it is first asked for.

use super::engine::{Engine, Settings};
use super::problem::Problem;
use axum::http::StatusCode;
use ocelli::{Error, Model, Result};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What there is to know about a model before it is used.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// Length of an embedding.
    pub(super) dim: usize,
    /// What all files of its checkpoint have in common.
    #[cfg_attr(not(feature = "index"), expect(dead_code))]
    pub(super) checkpoint: [u8; 16],
    /// Height and width of its pictures, if it has an image tower.
    pub(super) image: Option<(u32, u32)>,
    /// Tokens of a text, if it has a text tower.
    pub(super) context: Option<u32>,
    /// Labels that it brings along.
    pub(super) labels: usize,
    /// Whether these are classes of its own classifier.
    pub(super) classes: bool,
}

/// A model under its name.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) facts: Facts,
    path: PathBuf,
    settings: Settings,
    open: tokio::sync::Mutex<Option<Arc<Engine>>>,
    used: Mutex<Instant>,
}

/// All models. The first is taken where a request names none.
pub(super) struct Registry(Vec<Arc<Entry>>);

/// Opens the model. With `verify`, its weights are checked on so many threads; in a map of their own, so that what the
/// encoders never touch does not stay in memory.
fn open(path: &Path, verify: Option<usize>) -> Result<Arc<Model>> {
    let open = || {
        let file = File::open(path).map_err(|source| Error::Io { action: "open the model", source })?;
        let model = Model::from_file(&file)?;
        verify.map_or(Ok(()), |threads| model.check_weights(threads))?;
        Model::from_file(&file)
    };
    open().map_err(|error| error.in_file(path))
}

impl Facts {
    fn of(model: &Model) -> Facts {
        let (config, file) = (model.config(), model.file());
        let classes = file.labels().count();
        Facts {
            dim: config.score.embed_dim as usize,
            checkpoint: config.checkpoint_id,
            image: file.has_vision().then_some((config.vision.height, config.vision.width)),
            context: file.has_text().then_some(config.text.context),
            labels: file.bank().map_or(classes, |bank| bank.len()),
            classes: classes > 0 && file.bank().is_none(),
        }
    }
}

impl Entry {
    /// Looks into the file, so that one that cannot be served is refused at start, and closes it again.
    fn new(name: String, path: PathBuf, settings: Settings) -> Result<Entry> {
        let facts = Facts::of(&*open(&path, None)?);
        let (open, used) = (tokio::sync::Mutex::default(), Mutex::new(Instant::now()));
        Ok(Entry { name, facts, path, settings, open, used })
    }

    /// The model, opened if it is not; whoever asks meanwhile waits.
    pub(super) async fn engine(self: &Arc<Entry>) -> Result<Arc<Engine>, Problem> {
        let mut open = self.open.lock().await;
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        if let Some(engine) = open.as_ref().filter(|engine| !engine.is_dead()) {
            return Ok(Arc::clone(engine));
        }
        let entry = Arc::clone(self);
        let opening = tokio::task::spawn_blocking(move || {
            let settings = &entry.settings;
            let verify = settings.verify.then(|| settings.runtime.threads());
            self::open(&entry.path, verify).and_then(|model| Engine::new(model, settings))
        });
        let opened = opening.await.map_err(|_| Problem::broken("opening the model failed"))?;
        let engine = Arc::new(opened.map_err(|error| Problem::of_server(&error))?);
        *open = Some(Arc::clone(&engine));
        self.settings.metrics.opened();
        Ok(engine)
    }

    /// Closes the model, so that the next request opens it anew. What still runs is finished with the old one.
    pub(super) async fn close(&self) {
        if self.open.lock().await.take().is_some() {
            self.settings.metrics.closed();
        }
    }

    /// Closes the model if nobody has used it for `idle`. What still runs is finished.
    pub(super) fn close_if_idle(&self, idle: Duration) {
        let Ok(mut open) = self.open.try_lock() else { return };
        let idle = self.used.lock().unwrap_or_else(PoisonError::into_inner).elapsed() >= idle;
        if idle && open.as_ref().is_some_and(|engine| Arc::strong_count(engine) == 1) {
            *open = None;
            self.settings.metrics.closed();
        }
    }
}

impl Registry {
    /// # Errors
    /// A model cannot be opened, or two have one name.
    pub(super) fn new(models: Vec<(String, PathBuf)>, settings: &Settings) -> Result<Registry> {
        let mut entries: Vec<Arc<Entry>> = Vec::new();
        for (name, path) in models {
            if let Some(twin) = entries.iter().find(|entry| entry.name == name) {
                let message = format!(
                    "two models are called {name:?} ({:?} and {path:?}): name one with --model NAME=FILE",
                    twin.path
                );
                return Err(Error::Message(message));
            }
            entries.push(Arc::new(Entry::new(name, path, settings.clone())?));
        }
        Ok(Registry(entries))
    }

    pub(super) fn all(&self) -> &[Arc<Entry>] {
        &self.0
    }

    /// The model called `name`, or the first where there is no name.
    pub(super) fn find(&self, name: Option<&str>) -> Option<&Arc<Entry>> {
        match name {
            None | Some("") => self.0.first(),
            Some(name) => {
                let name = canonical(name);
                self.0.iter().find(|entry| entry.name == name)
            }
        }
    }

    /// The same, or why not.
    pub(super) fn get(&self, name: Option<&str>) -> Result<&Arc<Entry>, Problem> {
        self.find(name).ok_or_else(|| {
            let names: Vec<&str> = self.0.iter().map(|entry| entry.name.as_str()).collect();
            let message = format!(
                "there is no model {:?} here; there is {}",
                name.unwrap_or_default(),
                names.join(", ")
            );
            Problem::new(StatusCode::NOT_FOUND, message)
        })
    }
}

/// A model's name as it is compared: without the organisation before it, and with `__` for `::`, as Immich does it.
pub(super) fn canonical(name: &str) -> String {
    name.rsplit('/').next().unwrap_or_default().replace("::", "__")
}

/// `[NAME=]FILE` as name and file; a file's name without its ending is the model's.
pub(super) fn named(argument: &Path) -> (String, PathBuf) {
    if let Some((name, file)) = argument.to_str().and_then(|text| text.split_once('='))
        && !name.is_empty()
        && !name.contains('/')
    {
        return (canonical(name), file.into());
    }
    let stem = argument.file_stem().unwrap_or_default().to_string_lossy();
    (stem.into_owned(), argument.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_given_or_the_files_own() {
        let of = |argument: &str| {
            let (name, path) = named(Path::new(argument));
            (name, path.to_str().unwrap().to_owned())
        };
        let pair = |name: &str, path: &str| (name.to_owned(), path.to_owned());
        assert_eq!(of("ViT-B-32__openai=b32.ocelli"), pair("ViT-B-32__openai", "b32.ocelli"));
        assert_eq!(of("ViT-B-32::openai=/m/b32.ocelli"), pair("ViT-B-32__openai", "/m/b32.ocelli"));
        assert_eq!(of("/models/b32.ocelli"), pair("b32", "/models/b32.ocelli"));
        assert_eq!(of("./a=b.ocelli"), pair("a=b", "./a=b.ocelli"));
        assert_eq!(canonical("immich-app/ViT-B-32::openai"), "ViT-B-32__openai");
    }
}
