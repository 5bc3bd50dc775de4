//! A file to its hash, its facts, and the frame that the model sees.

use crate::catalog::Catalog;
use crate::error::Result;
use crate::phash::phash;
use crate::store::{Facts, Stat};
use ocelli::Preprocessor;
use ocelli::encoder::Frame;
use ocelli::preprocess::decode;
use std::fs::{File, Metadata};
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use xxhash_rust::xxh3::xxh3_128;

/// A file that was changed so shortly before it was read may be changed again without a later time: FAT counts two seconds.
const SETTLED: Duration = Duration::from_secs(2);

/// How often a file that changes while it is read is read again.
const TRIES: usize = 3;

/// A file that was read.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) path: PathBuf,
    pub(crate) stat: Stat,
    pub(crate) outcome: Outcome,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    /// A picture that the catalog has.
    Known(i64),
    Picture {
        hash: [u8; 16],
        facts: Facts,
        frame: Frame,
        warnings: Vec<String>,
    },
    Undecodable {
        hash: [u8; 16],
        problem: String,
    },
    Unreadable {
        problem: String,
    },
    /// It is no longer there.
    Gone,
    /// Somebody writes to it.
    Changing,
}

impl Stat {
    pub(crate) fn of(metadata: &Metadata) -> Stat {
        let modified = metadata.modified().unwrap_or(UNIX_EPOCH);
        let mtime = match modified.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |before| -before),
        };
        let settled = SystemTime::now().duration_since(modified).is_ok_and(|age| age > SETTLED);
        Stat { size: metadata.len(), mtime, settled }
    }
}

/// Reads files on one thread.
pub(crate) struct Reader {
    catalog: Catalog,
    options: decode::Options,
    preprocessor: Preprocessor,
}

impl Reader {
    pub(crate) fn new(catalog: Catalog, options: decode::Options, preprocessor: Preprocessor) -> Reader {
        Reader { catalog, options, preprocessor }
    }

    /// Reads the file at `path`.
    ///
    /// # Errors
    /// The catalog cannot be asked.
    pub(crate) fn read(&mut self, path: PathBuf) -> Result<Reading> {
        let none = Stat { size: 0, mtime: 0, settled: false };
        let (stat, outcome) = match self.bytes(&path) {
            Ok(Some((stat, bytes))) => (stat, self.look(&bytes)?),
            Ok(None) => (none, Outcome::Changing),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (none, Outcome::Gone),
            Err(error) => {
                let stat = std::fs::metadata(&path).map_or(none, |metadata| Stat::of(&metadata));
                (stat, Outcome::Unreadable { problem: error.to_string() })
            }
        };
        Ok(Reading { path, stat, outcome })
    }

    /// All bytes of a file as it was at one moment; `None` if it changes.
    fn bytes(&self, path: &Path) -> io::Result<Option<(Stat, Vec<u8>)>> {
        // One byte more than decoding takes: it says what is too large.
        let most = self.options.limits.memory().saturating_add(1);
        for _ in 0..TRIES {
            let mut file = File::open(path)?;
            let before = Stat::of(&file.metadata()?);
            let mut bytes = Vec::new();
            (&mut file).take(most).read_to_end(&mut bytes)?;
            let after = Stat::of(&file.metadata()?);
            if (after.size, after.mtime) == (before.size, before.mtime)
                && bytes.len() as u64 == after.size.min(most)
            {
                return Ok(Some((before, bytes)));
            }
        }
        Ok(None)
    }

    fn look(&mut self, bytes: &[u8]) -> Result<Outcome> {
        let hash = xxh3_128(bytes).to_be_bytes();
        match self.catalog.picture(&hash)? {
            Some((picture, None)) => return Ok(Outcome::Known(picture)),
            Some((_, Some(problem))) => return Ok(Outcome::Undecodable { hash, problem }),
            None => {}
        }
        let decoded = decode::decode(bytes, &self.options).and_then(|image| {
            let mut frame = self.preprocessor.frame();
            self.preprocessor.preprocess(&image.view(), &mut frame)?;
            Ok((image, frame))
        });
        Ok(match decoded {
            Ok((image, frame)) => {
                let facts =
                    Facts { size: image.full_size(), taken: taken(bytes), phash: phash(&image.view()) };
                Outcome::Picture { hash, facts, frame, warnings: image.warnings().to_vec() }
            }
            // That there was no memory for it is no property of the picture.
            Err(error @ ocelli::Error::OutOfMemory { .. }) => {
                Outcome::Unreadable { problem: error.to_string() }
            }
            Err(error) => Outcome::Undecodable { hash, problem: error.to_string() },
        })
    }
}

/// When a picture was taken, as its EXIF says: local time, `2024-05-01 12:33:00`.
fn taken(bytes: &[u8]) -> Option<String> {
    // Other people's code: should it panic on damaged metadata, only the date is lost.
    let read = || {
        let exif = exif::Reader::new().read_from_container(&mut Cursor::new(bytes)).ok()?;
        let tags = [exif::Tag::DateTimeOriginal, exif::Tag::DateTimeDigitized, exif::Tag::DateTime];
        tags.into_iter().find_map(|tag| match &exif.get_field(tag, exif::In::PRIMARY)?.value {
            exif::Value::Ascii(lines) => date(lines.first()?),
            _ => None,
        })
    };
    std::panic::catch_unwind(read).ok().flatten()
}

/// `2024:05:01 12:33:00` with dashes in the date, if it is one.
fn date(text: &[u8]) -> Option<String> {
    let exif::DateTime { year, month, day, hour, minute, second, .. } =
        exif::DateTime::from_ascii(text).ok()?;
    let right = (1..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    let right = right && hour < 24 && minute < 60 && second <= 60;
    right.then(|| format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_cameras_are_read_and_empty_ones_are_not() {
        assert_eq!(date(b"2024:05:01 12:33:07").as_deref(), Some("2024-05-01 12:33:07"));
        for wrong in
            [&b"0000:00:00 00:00:00"[..], b"    :  :     :  :  ", b"2024:13:01 12:33:00", b"", b"yesterday"]
        {
            assert_eq!(date(wrong), None, "{wrong:?}");
        }
    }
}
