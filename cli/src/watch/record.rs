//! Scores in a file, so that thresholds can be tuned afterwards: JSON lines, the labels first, then what each frame
//! scored. A frame without scores has those of the one before.

use crate::console::Console;
use ocelli::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The version of the format.
const VERSION: u32 = 1;
/// What was recorded is on its way to the disk after so long.
const FLUSH: Duration = Duration::from_secs(5);
/// A line has at most so many bytes.
const MAX_LINE: u64 = 16 << 20;

#[derive(Serialize)]
struct Header<'a> {
    ocelli_scores: u32,
    labels: &'a [String],
}

/// Writes scores.
#[derive(Debug)]
pub(crate) struct Recorder {
    path: PathBuf,
    out: BufWriter<File>,
    line: Vec<u8>,
    flushed: Instant,
}

impl Recorder {
    /// A new file at `path`; a recording that is there is kept under another name, and `console` told of it.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn start(path: &Path, labels: &[String], console: &Console) -> Result<Recorder> {
        if let Some(kept) = keep(path)? {
            console.tell(format_args!("{}: the older recording is now {}", path.display(), kept.display()));
        }
        Recorder::create(path, labels)
    }

    /// A new file, or an old one made empty.
    ///
    /// # Errors
    /// The system's.
    fn create(path: &Path, labels: &[String]) -> Result<Recorder> {
        let file = File::create(path)
            .map_err(|source| Error::Io { action: "create the recording", source }.in_file(path))?;
        let (out, line) =
            (BufWriter::with_capacity(64 << 10, file), Vec::with_capacity(64 * labels.len() + 128));
        let mut recorder = Recorder { path: path.into(), out, line, flushed: Instant::now() };
        recorder.labels(labels)?;
        Ok(recorder)
    }

    /// From here on scores are of these labels.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn labels(&mut self, labels: &[String]) -> Result<()> {
        let header = Header { ocelli_scores: VERSION, labels };
        let line = serde_json::to_string(&header).map_err(|error| Error::Message(error.to_string()))?;
        let written = writeln!(self.out, "{line}").and_then(|()| self.out.flush());
        self.check(written)
    }

    /// What a frame scored at `time`, in seconds; no scores if it has those of the one before. Allocates nothing.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn frame(&mut self, frame: u64, time: f64, scores: Option<&[f32]>) -> Result<()> {
        let written = self.write(frame, time, scores);
        self.check(written)
    }

    fn write(&mut self, frame: u64, time: f64, scores: Option<&[f32]>) -> io::Result<()> {
        self.line.clear();
        write!(self.line, "{{\"frame\":{frame},\"time\":{time:.6}")?;
        for (index, score) in scores.into_iter().flatten().enumerate() {
            self.line.extend_from_slice(if index == 0 { b",\"scores\":[" } else { b"," });
            write!(self.line, "{score}")?;
        }
        self.line.extend_from_slice(if scores.is_some() { b"]}\n" } else { b"}\n" });
        self.out.write_all(&self.line)?;
        if self.flushed.elapsed() > FLUSH {
            self.flushed = Instant::now();
            self.out.flush()?;
        }
        Ok(())
    }

    /// Everything goes to the file.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn finish(mut self) -> Result<()> {
        let flushed = self.out.flush();
        self.check(flushed)
    }

    fn check(&self, result: io::Result<()>) -> Result<()> {
        result.map_err(|source| Error::Io { action: "write the recording", source }.in_file(&self.path))
    }
}

/// Moves a recording that is at `path` out of the way, to the first of `PATH.1`, `PATH.2`, ... that is free, and says
/// where: a service that starts anew must not lose what it recorded.
///
/// # Errors
/// The system's.
fn keep(path: &Path) -> Result<Option<PathBuf>> {
    // Only a file is a recording: not a device, a pipe, or what is not there.
    if !fs::metadata(path).is_ok_and(|old| old.is_file() && old.len() > 0) {
        return Ok(None);
    }
    let numbered = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    let kept = (1..).map(numbered).find(|kept| fs::symlink_metadata(kept).is_err()).expect("a free number");
    fs::rename(path, &kept).map_err(|source| {
        Error::Io { action: "move the older recording out of the way", source }.in_file(path)
    })?;
    Ok(Some(kept))
}

/// A line as it may be.
#[derive(Deserialize)]
struct Line {
    ocelli_scores: Option<u32>,
    labels: Option<Vec<String>>,
    frame: Option<u64>,
    time: Option<f64>,
    scores: Option<Vec<f32>>,
}

/// What comes next in a recording.
#[derive(Debug, PartialEq)]
pub(crate) enum Entry {
    /// Scores are of these labels from here on.
    Labels(Vec<String>),
    /// A frame and its time; its scores are those of [`Recording::scores`].
    Frame(u64, f64),
}

/// Reads scores.
pub(crate) struct Recording {
    path: PathBuf,
    input: BufReader<File>,
    line: Vec<u8>,
    number: u64,
    labels: usize,
    scores: Vec<f32>,
}

impl Recording {
    /// The recording in `path`.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn open(path: &Path) -> Result<Recording> {
        let file = File::open(path)
            .map_err(|source| Error::Io { action: "read the recording", source }.in_file(path))?;
        let input = BufReader::with_capacity(64 << 10, file);
        Ok(Recording { path: path.into(), input, line: Vec::new(), number: 0, labels: 0, scores: Vec::new() })
    }

    /// The scores of the frame that was read last, one for each label.
    pub(crate) fn scores(&self) -> &[f32] {
        &self.scores
    }

    /// The next line; `None` at the end, also where the last line was cut off while it was written.
    ///
    /// # Errors
    /// A line that does not belong into a recording; the system's.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>> {
        self.line.clear();
        self.number += 1;
        let read = self.input.by_ref().take(MAX_LINE).read_until(b'\n', &mut self.line);
        read.map_err(|source| Error::Io { action: "read the recording", source }.in_file(&self.path))?;
        if self.line.len() as u64 == MAX_LINE {
            return Err(self.wrong("it is too long: this is no recording of ocelli watch --record"));
        }
        if self.line.last() != Some(&b'\n') {
            return match self.number {
                1 => Err(self.wrong("the file is empty or cut off")),
                _ => Ok(None),
            };
        }
        let line: Line =
            serde_json::from_slice(&self.line).map_err(|error| self.wrong(&error.to_string()))?;
        match line {
            Line { ocelli_scores: Some(VERSION), labels: Some(labels), .. } if !labels.is_empty() => {
                self.labels = labels.len();
                self.scores.clear();
                Ok(Some(Entry::Labels(labels)))
            }
            Line { ocelli_scores: Some(_), .. } => {
                Err(self.wrong("another version of recordings, or no labels"))
            }
            Line { frame: Some(frame), time: Some(time), scores, .. } if time.is_finite() => {
                if let Some(scores) = scores {
                    if scores.len() != self.labels || !scores.iter().all(|score| score.is_finite()) {
                        return Err(self.wrong("expected one score for each label"));
                    }
                    self.scores = scores;
                }
                match self.labels > 0 && self.scores.len() == self.labels {
                    true => Ok(Some(Entry::Frame(frame, time))),
                    false => Err(self.wrong("a frame without scores, and none before it")),
                }
            }
            _ => Err(self.wrong("expected labels, or a frame with its time: this is no recording of scores")),
        }
    }

    fn wrong(&self, problem: &str) -> Error {
        Error::Message(format!("line {}: {problem}", self.number)).in_file(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(path: &Path) -> Result<Vec<(Entry, Vec<f32>)>> {
        let (mut recording, mut entries) = (Recording::open(path)?, Vec::new());
        while let Some(entry) = recording.next()? {
            entries.push((entry, recording.scores().to_vec()));
        }
        Ok(entries)
    }

    #[test]
    fn what_is_recorded_is_read_to_the_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores");
        let labels = ["a \"cat\"\u{1b}".to_owned(), "é".to_owned()];
        let mut recorder = Recorder::create(&path, &labels).unwrap();
        let scores = [0.1 + 0.2, f32::MIN_POSITIVE];
        recorder.frame(0, 0.0, Some(&scores)).unwrap();
        recorder.frame(1, 0.04, None).unwrap();
        recorder.labels(&labels[1..]).unwrap();
        recorder.frame(2, 1.0 / 3.0, Some(&[1.0])).unwrap();
        recorder.finish().unwrap();
        let expected = [
            (Entry::Labels(labels.to_vec()), vec![]),
            (Entry::Frame(0, 0.0), scores.to_vec()),
            (Entry::Frame(1, 0.04), scores.to_vec()),
            (Entry::Labels(labels[1..].to_vec()), vec![]),
            (Entry::Frame(2, 0.333_333), vec![1.0]),
        ];
        assert_eq!(entries(&path).unwrap(), expected);
        // A line that was being written when the power failed.
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(b"{\"frame\":3,\"ti").unwrap();
        assert_eq!(entries(&path).unwrap(), expected);
    }

    #[test]
    fn an_older_recording_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores.jsonl");
        assert_eq!(keep(&path).unwrap(), None, "there is none");
        for number in 1..4 {
            Recorder::create(&path, &[format!("{number}")]).unwrap().finish().unwrap();
            let kept = keep(&path).unwrap().unwrap();
            assert_eq!(kept, folder.path().join(format!("scores.jsonl.{number}")));
            assert_eq!(entries(&kept).unwrap()[0].0, Entry::Labels(vec![number.to_string()]));
            assert!(!path.exists());
        }
        assert_eq!(keep(Path::new("/dev/null")).unwrap(), None);
    }

    #[test]
    fn what_is_no_recording_is_said_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores");
        let header = "{\"ocelli_scores\":1,\"labels\":[\"a\"]}\n";
        for (text, part) in [
            ("", "line 1: the file is empty"),
            ("hello\n", "line 1: expected value"),
            ("{}\n", "line 1: expected labels"),
            ("{\"ocelli_scores\":2,\"labels\":[\"a\"]}\n", "another version"),
            ("{\"frame\":0,\"time\":0}\n", "line 1: a frame without scores"),
            (&format!("{header}{{\"frame\":0,\"time\":0}}\n"), "line 2: a frame without scores"),
            (&format!("{header}{{\"frame\":0,\"time\":0,\"scores\":[1,2]}}\n"), "line 2: expected one score"),
        ] {
            std::fs::write(&path, text).unwrap();
            let message = entries(&path).unwrap_err().to_string();
            assert!(message.contains(part) && message.contains("scores: "), "{message}");
        }
    }
}
