//! A program that is run for each event: no shell, one at a time, with a time limit.

use super::notes::Notes;
use super::notify;
use ocelli::{Error, Result, excerpt};
use rustix::process::{Pid, Signal, kill_process_group};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Events that wait while the program runs; more are not given to it.
const WAITING: usize = 16;
/// How often is looked whether the program has ended.
const LOOK: Duration = Duration::from_millis(10);
/// How long what still runs may take when everything ends.
const AT_END: Duration = Duration::from_secs(5);

/// What arguments may name, in braces, and its value.
pub(super) type Values = Vec<(&'static str, String)>;

/// The program's words, some with names in braces.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Template(Vec<String>);

impl Template {
    /// Splits `text` into words as a shell does, with its quotes and without everything else that a shell does.
    pub(super) fn parse(text: &str) -> Result<Template, String> {
        match shlex::split(text) {
            Some(words) if !words.is_empty() => Ok(Template(words)),
            Some(_) => Err("the command is empty".into()),
            None => Err("a quotation mark or a backslash is left open".into()),
        }
    }

    /// The words with values in place of names. A value is never split, and names in it are not replaced.
    fn words(&self, values: &Values) -> Vec<String> {
        self.0.iter().map(|word| substitute(word, values)).collect()
    }
}

fn substitute(word: &str, values: &Values) -> String {
    let (mut filled, mut rest) = (String::new(), word);
    while let Some(at) = rest.find('{') {
        filled.push_str(&rest[..at]);
        rest = &rest[at..];
        let value = values.iter().find_map(|(name, value)| {
            let after = rest[1..].strip_prefix(name)?.strip_prefix('}')?;
            Some((value, after))
        });
        match value {
            Some((value, after)) => {
                filled.push_str(value);
                rest = after;
            }
            None => {
                filled.push('{');
                rest = &rest[1..];
            }
        }
    }
    filled + rest
}

/// The thread that runs the program.
#[derive(Debug)]
pub(super) struct Runner {
    sender: Option<SyncSender<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
    template: Template,
    /// When everything must have ended.
    end: Arc<Mutex<Option<Instant>>>,
    notes: Notes,
}

impl Runner {
    /// # Errors
    /// The system has no thread.
    pub(super) fn start(template: Template, limit: Duration, notes: &Notes) -> Result<Runner> {
        let (sender, receiver) = sync_channel(WAITING);
        let end = Arc::new(Mutex::new(None));
        let work = { (Arc::clone(&end), notes.clone()) };
        let thread = thread::Builder::new()
            .name("exec".into())
            .spawn(move || run_all(&receiver, limit, &work.0, &work.1))
            .map_err(|source| Error::Io { action: "start a thread for --exec", source })?;
        Ok(Runner { sender: Some(sender), thread: Some(thread), template, end, notes: notes.clone() })
    }

    /// Runs the program with these values, after those before it.
    pub(super) fn run(&self, values: &Values) {
        let Some(sender) = &self.sender else { return };
        match sender.try_send(self.template.words(values)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => self.notes.add(format_args!(
                "--exec: an event is left out, {WAITING} others wait for the one that runs"
            )),
            Err(TrySendError::Disconnected(_)) => {
                self.notes.add(format_args!("--exec: its thread has ended"))
            }
        }
    }
}

impl Drop for Runner {
    /// Waits until what was begun has ended, but not for long.
    fn drop(&mut self) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + AT_END);
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

fn run_all(receiver: &Receiver<Vec<String>>, limit: Duration, end: &Mutex<Option<Instant>>, notes: &Notes) {
    for words in receiver {
        let until = || {
            let end = *end.lock().unwrap_or_else(PoisonError::into_inner);
            end.unwrap_or_else(|| Instant::now() + limit)
        };
        if until() <= Instant::now() {
            notes.add(format_args!("--exec: an event is left out at the end"));
            continue;
        }
        let name = excerpt(&words[0]).into_owned();
        match run(&words, limit, &until) {
            Ok(Some(status)) if status.success() => {}
            Ok(Some(status)) => notes.add(format_args!("--exec: {name}: {status}")),
            Ok(None) => notes.add(format_args!("--exec: {name} took too long and was stopped")),
            Err(error) => notes.add(format_args!("--exec: cannot run {name}: {error}")),
        }
    }
}

/// Runs `words` for at most `limit`, and not beyond what `until` says; `None` if it had to be stopped.
fn run(words: &[String], limit: Duration, until: &dyn Fn() -> Instant) -> io::Result<Option<ExitStatus>> {
    // stdout is for events alone.
    let out = Stdio::from(io::stderr().as_fd().try_clone_to_owned()?);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdin(Stdio::null()).stdout(out).env_remove(notify::SOCKET);
    // In a group of its own, so that what it starts can be stopped with it.
    let mut child = command.process_group(0).spawn()?;
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() >= limit || Instant::now() >= until() {
            stop(&mut child)?;
            return Ok(None);
        }
        thread::sleep(LOOK);
    }
}

fn stop(child: &mut Child) -> io::Result<()> {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let killed = group.map(|group| kill_process_group(group, Signal::KILL));
    if !matches!(killed, Some(Ok(()))) {
        child.kill()?;
    }
    child.wait().map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Values {
        vec![("label", "a; rm -rf / {score}".into()), ("score", "0.75".into())]
    }

    #[test]
    fn values_become_parts_of_words_and_nothing_else() {
        let words = |text: &str| Template::parse(text).map(|template| template.words(&values()));
        let expected = ["tell", "a; rm -rf / {score}: 0.75", "{unknown} {"];
        assert_eq!(words("tell '{label}: {score}' \"{unknown} {\"").unwrap(), expected);
        assert_eq!(words("a 'b' $HOME").unwrap(), ["a", "b", "$HOME"]);
        assert!(words("tell 'x").unwrap_err().contains("open"));
        assert!(words("  ").unwrap_err().contains("empty"));
    }

    #[test]
    fn what_hangs_is_stopped_with_what_it_started_and_the_next_one_runs() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("done");
        let notes = Notes::default();
        // The shell starts another process, which would outlive it.
        let script =
            format!("test {{label}} = go && echo {{label}} >> {} || {{ sleep 60 & wait; }}", file.display());
        let template = Template::parse(&format!("sh -c {}", shlex::try_quote(&script).unwrap())).unwrap();
        let runner = Runner::start(template, Duration::from_millis(300), &notes).unwrap();
        let start = Instant::now();
        for label in ["hang", "go", "go"] {
            runner.run(&vec![("label", label.into())]);
        }
        drop(runner);
        assert!(start.elapsed() < Duration::from_secs(5));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "go\ngo\n");
        let notes = notes.take();
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes[0].contains("took too long"), "{notes:?}");
    }

    #[test]
    fn what_fails_or_does_not_exist_is_said_and_too_many_are_left_out() {
        let notes = Notes::default();
        let run = |text: &str, times: usize| {
            let template = Template::parse(text).unwrap();
            let runner = Runner::start(template, Duration::from_millis(200), &notes).unwrap();
            (0..times).for_each(|_| runner.run(&values()));
            drop(runner);
            notes.take().join("\n")
        };
        assert!(run("false", 1).contains("exit status: 1"));
        let missing = run("/no/such/program", 1);
        // QEMU's user mode lets nobody know that a program could not be started: its child ends with 127.
        let emulated = std::env::var_os("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER").is_some();
        let said = if emulated { "exit status: 127" } else { "cannot run /no/such/program" };
        assert!(missing.contains(said), "{missing}");
        let flooded = run("sleep 60", 40);
        assert!(flooded.contains("left out"), "{flooded}");
    }
}
