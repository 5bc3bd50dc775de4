//! Pictures of events, in a folder that does not grow without end.

use crate::files::write_file;
use libjpeg_turbo_rs::{PixelFormat, Subsampling, compress};
use ocelli::format::Alpha;
use ocelli::preprocess::PixelView;
use ocelli::{Error, Result};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// What the names of snapshots start and end with. Other files in the folder are left alone.
const NAME: (&str, &str) = ("ocelli-", ".jpg");
const QUALITY: u8 = 90;

/// The folder, and what of it is ours, oldest first.
#[derive(Debug)]
pub(super) struct Snapshots {
    folder: PathBuf,
    most: usize,
    most_bytes: u64,
    files: VecDeque<(PathBuf, u64)>,
    bytes: u64,
}

impl Snapshots {
    /// Makes the folder if there is none, and finds what is in it.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn open(folder: &Path, most: usize, most_bytes: u64) -> Result<Snapshots> {
        let failed = |action| move |source| Error::Io { action, source }.in_file(folder);
        std::fs::create_dir_all(folder).map_err(failed("create the folder"))?;
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed("read the folder"))? {
            let entry = entry.map_err(failed("read the folder"))?;
            let ours = entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.starts_with(NAME.0) && name.ends_with(NAME.1));
            if let Some(metadata) = entry.metadata().ok().filter(|metadata| ours && metadata.is_file()) {
                files.push((entry.path(), metadata.len()));
            }
        }
        // Names start with the time.
        files.sort();
        let bytes = files.iter().map(|(_, len)| len).sum();
        Ok(Snapshots { folder: folder.into(), most, most_bytes, files: files.into(), bytes })
    }

    /// Writes `jpeg` under a name that says what happened; the oldest ones make room.
    ///
    /// # Errors
    /// No room on the disk, or a picture that is larger than all together may be.
    pub(super) fn save(&mut self, label: &str, state: &str, frame: u64, jpeg: &[u8]) -> Result<PathBuf> {
        let len = jpeg.len() as u64;
        if len > self.most_bytes {
            let message = format!("a snapshot of {len} bytes is more than --snapshot-mb allows for all");
            return Err(Error::Message(message).in_file(&self.folder));
        }
        while self.files.len() >= self.most || self.bytes + len > self.most_bytes {
            let Some((path, len)) = self.files.pop_front() else { break };
            self.bytes -= len;
            match std::fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::Io { action: "remove the oldest snapshot", source }.in_file(path));
                }
                _ => {}
            }
        }
        let millis = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let name = format!("{}{millis:013}-{frame:09}-{}-{state}{}", NAME.0, slug(label), NAME.1);
        let path = self.folder.join(name);
        write_file(&path, jpeg)?;
        self.bytes += len;
        self.files.push_back((path.clone(), len));
        Ok(path)
    }
}

/// A label as a part of names and topics: small letters and digits of ASCII, everything else a hyphen.
pub(super) fn slug(label: &str) -> String {
    let mut slug = String::new();
    for c in label.chars().take(48) {
        match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() => slug.push(c),
            _ if slug.ends_with('-') || slug.is_empty() => {}
            _ => slug.push('-'),
        }
    }
    slug.truncate(slug.trim_end_matches('-').len());
    if slug.is_empty() { "label".into() } else { slug }
}

/// `view` as a JPEG.
///
/// # Errors
/// The encoder's.
pub(super) fn jpeg_of(view: &PixelView<'_>) -> Result<Vec<u8>> {
    let (width, height) = (view.width() as usize, view.height() as usize);
    let mut pixels = vec![0; 3 * width * height];
    for (y, row) in pixels.chunks_exact_mut(3 * width).enumerate() {
        view.row_rgb(y, 0..width, Alpha::White, row);
    }
    compress(&pixels, width, height, PixelFormat::Rgb, QUALITY, Subsampling::S420)
        .map_err(|error| Error::Message(format!("cannot make a JPEG of {width}x{height} pixels: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_stays_within_its_bounds_and_other_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("holiday.jpg"), [0; 5000]).unwrap();
        let names = || {
            let mut names: Vec<String> = std::fs::read_dir(folder.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        let mut snapshots = Snapshots::open(folder.path(), 3, 1000).unwrap();
        for frame in 0..5 {
            snapshots.save("A cat, asleep!", "enter", frame, &[1; 100]).unwrap();
        }
        assert_eq!(names().len(), 4);
        assert!(names()[1].ends_with("-000000002-a-cat-asleep-enter.jpg"), "{:?}", names());
        // After a restart the old ones count, and bytes do.
        let mut snapshots = Snapshots::open(folder.path(), 3, 1000).unwrap();
        snapshots.save("cat", "leave", 5, &[1; 850]).unwrap();
        assert_eq!(names().len(), 3, "{:?}", names());
        assert!(snapshots.save("cat", "leave", 6, &[1; 1001]).is_err());
        // One that somebody removed is no obstacle.
        std::fs::remove_file(folder.path().join(&names()[1])).unwrap();
        snapshots.save("cat", "leave", 7, &[1; 900]).unwrap();
        assert_eq!(names().len(), 2);
    }

    #[test]
    fn names_have_nothing_that_a_shell_or_a_broker_would_obey() {
        for (label, right) in [
            ("A cat", "a-cat"),
            ("../../etc/passwd", "etc-passwd"),
            ("#+/$", "label"),
            ("Größe 3", "gr-e-3"),
            ("", "label"),
        ] {
            assert_eq!(slug(label), right);
        }
        assert_eq!(slug(&"x".repeat(1000)).len(), 48);
    }
}
