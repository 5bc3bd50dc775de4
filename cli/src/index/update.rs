//! `ocelli index`

use super::{IndexArgs, identity, image_options, open_model, picture_limits, watch};
use crate::args::{ModelArgs, Opened, Resize};
use crate::console::{Console, Failure};
use crate::files::path_bytes;
use crate::sensors;
use clap::ValueEnum;
use ocelli::{Error, knobs};
use ocelli_index::{Event, Store, Summary, UpdateOptions, Walk, update};
use serde::Serialize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Index photos, so that `ocelli search` finds them: new ones are added, changed ones read again, moved and deleted ones
/// followed.
///
/// Commits as it goes: end it whenever you like, and the next run goes on there. Pictures are known by their bytes, so
/// that moving or copying one costs nothing. What cannot be decoded is reported once, and read again when it changes; the
/// exit code is 1 if there was such a one.
///
/// With --json, one object per event: {"event":"found","known":N,"to_read":N}, then "indexed", "copy", "moved" (with
/// "from"), "removed", "unreadable" and "warning" (with "problem"), each with "path" and, where that is not UTF-8,
/// "path_bytes", percent-encoded; "progress" every ten seconds with "done", "of", "per_second" and "seconds_left";
/// "paused" with "celsius"; at the end "done" with the counts.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folders; without one, those that are in the index
    #[arg(value_name = "DIR")]
    folders: Vec<PathBuf>,
    #[command(flatten)]
    index: IndexArgs,
    #[command(flatten)]
    model: ModelArgs,
    /// Leave out what this glob matches: a name (thumbs, *.tmp.jpg) or, with a slash, a path below a DIR (2019/raw); may be
    /// given several times
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// Take hidden files and folders too; those with a file .nomedia in them are left out always
    #[arg(long)]
    hidden: bool,
    /// How photos are resized
    #[arg(long, value_enum, default_value_t = Resize::Fast)]
    resize: Resize,
    /// Pictures that the model takes at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    batch: u16,
    /// Threads that read and decode pictures [default: one for each CPU that this process may use]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    readers: Option<u16>,
    /// Whether other programs have the CPU first
    #[arg(long, value_enum, default_value_t = Priority::Low)]
    priority: Priority,
    /// Pause while the hottest sensor shows more than this many degrees Celsius, until it is three degrees cooler
    #[arg(long, value_name = "CELSIUS", value_parser = clap::value_parser!(u8).range(20..=120))]
    max_temp: Option<u8>,
    /// Stay, and index what changes
    #[arg(long)]
    watch: bool,
    /// Read every row of the index first; pictures whose rows are damaged are indexed again
    #[arg(long)]
    verify: bool,
    /// Try again what could not be decoded
    #[arg(long)]
    retry: bool,
    /// Forget the pictures of a DIR in which none is found; otherwise it counts as not mounted
    #[arg(long)]
    forget: bool,
    /// Let go of the embeddings of pictures that are no longer there, afterwards
    #[arg(long)]
    compact: bool,
    /// Print one JSON object per event
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Priority {
    /// They have
    Low,
    /// They share it
    Normal,
}

/// How far a busy program steps back.
const NICENESS: i32 = 10;

pub(crate) fn run(args: &Args, console: &Console) -> Result<ExitCode, Failure> {
    let folder = args.index.folder()?;
    let known = Store::open(&folder).ok();
    let folders = match (&args.folders[..], &known) {
        ([], Some(store)) => store.roots()?,
        (folders, _) => folders.to_vec(),
    };
    if folders.is_empty() {
        return Err(Failure::Usage("there is no index yet: name the folders to index".into()));
    }
    let walk = Walk::new(&folders, &args.exclude, args.hidden)?;
    if args.priority == Priority::Low {
        // Threads that are started from here on inherit it.
        #[cfg(unix)]
        if let Err(error) = rustix::process::nice(NICENESS) {
            console.warn(format_args!("the priority stays as it is: {error}"));
        }
    }
    let opened = open_model(&args.model, known.as_ref())?;
    drop(known);
    let (mut store, lost) = Store::write(&folder, &identity(&opened))?;
    if lost > 0 {
        console.warn(format_args!(
            "{}: {lost} pictures are indexed again: their rows were lost",
            folder.display()
        ));
    }
    if args.verify {
        let (rows, damaged) = store.verify()?;
        console.tell(format_args!("{}: {rows} rows read, {damaged} damaged", folder.display()));
    }
    let mut code = index(args, &mut store, &opened, &walk, console)?;
    if args.compact {
        let gone = store.compact()?;
        console.tell(format_args!("{}: {gone} pictures let go", folder.display()));
    }
    if args.watch {
        code =
            watch::watch(&walk, &folder, console, &mut || index(args, &mut store, &opened, &walk, console))?;
    }
    Ok(code)
}

/// One update.
fn index(
    args: &Args,
    store: &mut Store,
    opened: &Opened,
    walk: &Walk,
    console: &Console,
) -> Result<ExitCode, Failure> {
    let mut options = UpdateOptions::default();
    options.encoder = image_options()?.batch(args.batch.into());
    options.limits = picture_limits()?;
    options.fast = args.resize == Resize::Fast;
    let cpus = || std::thread::available_parallelism().map_or(1, usize::from);
    options.readers = args.readers.map_or_else(cpus, usize::from);
    (options.retry, options.forget) = (args.retry, args.forget);
    let mut watcher = Watcher::new(args, console, knobs::sysfs()?);
    let done = update::update(store, &opened.model, &opened.runtime, walk, &options, &mut |event| {
        watcher.see(event)
    });
    console.done();
    let summary = match done {
        Err(ocelli_index::Error::Stopped) => return Err(watcher.failure.unwrap_or(Failure::Pipe)),
        done => done?,
    };
    watcher.end(&summary)?;
    Ok(if summary.unreadable > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Tells what happens, and lets a hot board cool.
struct Watcher<'a> {
    args: &'a Args,
    console: &'a Console,
    sysfs: PathBuf,
    failure: Option<Failure>,
    started: Instant,
    done: usize,
    of: usize,
    told: Instant,
    measured: Option<Instant>,
}

/// An event in JSON.
#[derive(Default, Serialize)]
struct Line {
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    celsius: Option<f64>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    counts: Option<Counts>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Counts {
    Found {
        known: usize,
        to_read: usize,
    },
    Progress {
        done: usize,
        of: usize,
        per_second: f64,
        seconds_left: f64,
    },
    Done {
        known: usize,
        indexed: usize,
        copies: usize,
        moved: usize,
        removed: usize,
        unreadable: usize,
        changing: usize,
        seconds: f64,
    },
}

impl<'a> Watcher<'a> {
    fn new(args: &'a Args, console: &'a Console, sysfs: PathBuf) -> Watcher<'a> {
        let (failure, measured, now) = (None, None, Instant::now());
        Watcher { args, console, sysfs, failure, started: now, done: 0, of: 0, told: now, measured }
    }

    fn see(&mut self, event: Event<'_>) -> ControlFlow<()> {
        match self.tell(event) {
            Ok(()) => ControlFlow::Continue(()),
            Err(failure) => {
                self.failure = Some(failure);
                ControlFlow::Break(())
            }
        }
    }

    fn tell(&mut self, event: Event<'_>) -> Result<(), Failure> {
        let console = self.console;
        match event {
            Event::Found { known, to_read } => {
                (self.started, self.of) = (Instant::now(), to_read);
                console.start(to_read);
                self.line("found", |line| line.counts = Some(Counts::Found { known, to_read }))
            }
            Event::Pause => {
                self.cool()?;
                self.progress()
            }
            Event::Read => {
                self.done += 1;
                console.step(1);
                Ok(())
            }
            Event::Indexed { path } => self.path("indexed", path, |_| ()),
            Event::Copy { path } => self.path("copy", path, |_| ()),
            Event::Removed { path } => self.path("removed", path, |_| ()),
            Event::Moved { from, path } => {
                self.path("moved", path, |line| line.from = Some(from.display().to_string()))
            }
            Event::Unreadable { path, problem } => {
                console.complain(&Error::Message(problem.into()).in_file(path));
                self.path("unreadable", path, |line| line.problem = Some(problem.into()))
            }
            Event::Warning { path, problem } => {
                console.warn(format_args!("{}: {problem}", path.display()));
                self.path("warning", path, |line| line.problem = Some(problem.into()))
            }
            _ => Ok(()),
        }
    }

    fn line(&self, event: &'static str, fill: impl FnOnce(&mut Line)) -> Result<(), Failure> {
        if !self.args.json {
            return Ok(());
        }
        let mut line = Line { event, ..Line::default() };
        fill(&mut line);
        self.console.print_json(&line)
    }

    fn path(&self, event: &'static str, path: &Path, fill: impl FnOnce(&mut Line)) -> Result<(), Failure> {
        self.line(event, |line| {
            (line.path, line.path_bytes) = (Some(path.display().to_string()), path_bytes(path));
            fill(line);
        })
    }

    fn progress(&mut self) -> Result<(), Failure> {
        if self.told.elapsed() < Duration::from_secs(10) {
            return Ok(());
        }
        self.told = Instant::now();
        let (done, of) = (self.done, self.of);
        let per_second = done as f64 / self.started.elapsed().as_secs_f64();
        let seconds_left = (of - done.min(of)) as f64 / per_second.max(1e-9);
        let round = |x: f64| (x * 100.0).round() / 100.0;
        let counts =
            Counts::Progress { done, of, per_second: round(per_second), seconds_left: round(seconds_left) };
        self.line("progress", |line| line.counts = Some(counts))
    }

    /// Waits while the board is too hot.
    fn cool(&mut self) -> Result<(), Failure> {
        let Some(most) = self.args.max_temp.map(f64::from) else { return Ok(()) };
        let due = self.measured.is_none_or(|measured| measured.elapsed() >= Duration::from_secs(2));
        if !due {
            return Ok(());
        }
        let first = self.measured.replace(Instant::now()).is_none();
        let mut limit = most;
        loop {
            let Some(celsius) = sensors::hottest(&self.sysfs) else {
                if first {
                    self.console
                        .warn(format_args!("this system tells no temperature: --max-temp has no effect"));
                }
                return Ok(());
            };
            if celsius <= limit {
                return Ok(());
            }
            if limit == most {
                self.console.tell(format_args!("paused: {celsius} degrees, and {most} are allowed"));
                self.line("paused", |line| line.celsius = Some(celsius))?;
            }
            limit = most - 3.0;
            std::thread::sleep(Duration::from_secs(5));
        }
    }

    fn end(&self, summary: &Summary) -> Result<(), Failure> {
        let Summary { known, indexed, copies, moved, removed, unreadable, changing } = *summary;
        let seconds = (self.started.elapsed().as_secs_f64() * 1e3).round() / 1e3;
        let counts = Counts::Done { known, indexed, copies, moved, removed, unreadable, changing, seconds };
        self.line("done", |line| line.counts = Some(counts))?;
        let mut text = format!("{indexed} indexed");
        let others = [
            (copies, "copies"),
            (moved, "moved"),
            (removed, "removed"),
            (unreadable, "unreadable"),
            (changing, "still changing"),
            (known, "as they were"),
        ];
        for (count, what) in others.into_iter().filter(|(count, _)| *count > 0) {
            text += &format!(", {count} {what}");
        }
        let rate = indexed as f64 / seconds.max(1e-3);
        self.console.tell(format_args!("{text}; {seconds:.1} s, {rate:.1} a second"));
        Ok(())
    }
}
