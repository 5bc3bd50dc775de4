//! Staying, and indexing what changes.

use crate::console::{Console, Failure};
use notify::{EventKind, RecursiveMode, Watcher};
use ocelli::Error;
use ocelli_index::Walk;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// So long nothing must happen before an update: who copies a folder of photos is let finish. At the latest it comes after
/// ten times as long.
const QUIET: Duration = Duration::from_secs(2);
/// An update walks all folders, so that what is excluded, marked or linked counts as ever. After one
/// it rests for so many times as long as it took, and at most a minute.
const REST: u32 = 10;
const MOST_REST: Duration = Duration::from_secs(60);

/// Calls `update` whenever something changes in the folders of `walk`; what happens in `index` is left out. Ends with an
/// error only.
pub(super) fn watch(
    walk: &Walk,
    index: &Path,
    console: &Console,
    update: &mut dyn FnMut() -> Result<ExitCode, Failure>,
) -> Result<ExitCode, Failure> {
    let (sender, changes) = mpsc::channel();
    let index = std::fs::canonicalize(index).unwrap_or_else(|_| index.to_owned());
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // An error may mean that events were lost.
        let matters = event.map_or(true, |event| matters(&event, &index));
        if matters {
            let _ = sender.send(());
        }
    })
    .map_err(|error| cannot_watch(Path::new("."), &error))?;
    for root in walk.roots() {
        watcher.watch(root, RecursiveMode::Recursive).map_err(|error| cannot_watch(root, &error))?;
    }
    console.tell(format_args!("watching; end with Ctrl-C"));
    // What changed between the first update and the start of watching.
    let mut due = true;
    loop {
        if !due && changes.recv().is_err() {
            return Ok(ExitCode::SUCCESS);
        }
        let first = Instant::now();
        while first.elapsed() < REST * QUIET && changes.recv_timeout(QUIET).is_ok() {}
        due = false;
        let started = Instant::now();
        update()?;
        std::thread::sleep((started.elapsed() * REST).min(MOST_REST));
    }
}

/// Whether a picture or a folder may have changed outside of the index.
fn matters(event: &notify::Event, index: &Path) -> bool {
    let outside = |path: &PathBuf| !path.starts_with(index);
    let kind = !matches!(event.kind, EventKind::Access(_));
    kind && (event.need_rescan() || event.paths.iter().any(outside))
}

fn cannot_watch(path: &Path, error: &notify::Error) -> Error {
    let remedy = match &error.kind {
        notify::ErrorKind::MaxFilesWatch => {
            "; raise fs.inotify.max_user_watches, one for each folder, or run ocelli index now and then"
        }
        _ => "",
    };
    Error::Message(format!("cannot watch: {error}{remedy}")).in_file(path)
}
