//! From the command line to a thread that reads frames.

use super::Args;
use super::folder::{read_folder, watch_folder};
use super::format::{Format, Raw};
use super::mailbox::Mailbox;
use super::mjpeg::read_mjpeg;
use super::pictures::Kind;
use super::stream::{Fifo, Input, Once, read_raw};
use crate::console::Failure;
use ocelli::preprocess::decode::Options;
use ocelli::preprocess::{MAX_SIDE, YuvColor};
use ocelli::{Error, Result};
use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

/// `640x480`, width first.
pub(super) fn size(text: &str) -> Result<(u32, u32), String> {
    let side = |text: &str| text.parse().ok().filter(|side| (1..=MAX_SIDE).contains(side));
    let sides = text.split_once('x').and_then(|(width, height)| Some((side(width)?, side(height)?)));
    sides.ok_or_else(|| {
        format!("{text:?}: expected width and height, each from 1 to {MAX_SIDE}, as in 640x480")
    })
}

/// Frames per second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (0.001..=1000.0).contains(rate));
    rate.ok_or_else(|| format!("{text:?}: expected frames per second, from 0.001 to 1000"))
}

/// Where frames come from.
enum Place {
    Stdin,
    /// A file or device, read once.
    File(PathBuf),
    Fifo(PathBuf),
    Folder(PathBuf),
}

/// A source that can be read.
pub(super) struct Source {
    place: Place,
    pub(super) kind: Kind,
    recorded: bool,
}

impl Source {
    /// # Errors
    /// Options that do not go together, or a path where nothing can be read.
    pub(super) fn of(args: &Args, path: &Path, options: Options) -> Result<Source, Failure> {
        let place = place(path)?;
        let folder = matches!(place, Place::Folder(_));
        let usage = |message: &str| Err(Failure::Usage(message.into()));
        let raw = args.format.filter(|format| *format != Format::Mjpeg);
        let kind = match (raw, args.size) {
            (Some(_), _) if folder => {
                return usage("--format is of streams; the pictures in a folder say their own");
            }
            (Some(_), None) => return usage("raw frames need their --size, as in --size 640x480"),
            (None, Some(_)) => {
                return usage("--size is of raw formats (--format); JPEG pictures say their own");
            }
            (None, None) if args.color.is_some() => return usage("--color is of raw formats (--format)"),
            (Some(format), Some((width, height))) => {
                let color = args.color.map_or_else(YuvColor::default, YuvColor::from);
                Kind::Raw(Raw { format, width, height, color })
            }
            (None, None) if folder => Kind::Files(options),
            (None, None) => Kind::Stream(options),
        };
        Ok(Source { place, kind, recorded: args.recorded.is_some() })
    }

    /// Whether it is a file on a disk that is taken for a camera.
    pub(super) fn is_live_file(&self) -> bool {
        let regular = |path: &PathBuf| fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
        !self.recorded && matches!(&self.place, Place::File(path) if regular(path))
    }

    /// Starts to read; frames are in the mailbox from then on.
    ///
    /// # Errors
    /// No memory for three frames, or no thread.
    pub(super) fn start(self) -> Result<Arc<Mailbox>> {
        let capacity = match &self.kind {
            Kind::Raw(raw) => raw.frame_len(),
            _ => 0,
        };
        // Asked for here, so that a size which does not fit is an error and no abort.
        let too_much = |_| Error::OutOfMemory { purpose: "frames", bytes: capacity as u64 };
        Vec::<u8>::new().try_reserve_exact(capacity).map_err(too_much)?;
        let mailbox = Arc::new(Mailbox::new(capacity, self.recorded));
        let reader = Arc::clone(&mailbox);
        thread::Builder::new()
            .name("source".into())
            .spawn(move || reader.end(self.read(&reader)))
            .map_err(|source| Error::Io { action: "start a thread for the source", source })?;
        Ok(mailbox)
    }

    fn read(&self, mailbox: &Mailbox) -> Result<()> {
        let stream = |mut input: Box<dyn Input>| match &self.kind {
            Kind::Raw(raw) => read_raw(&mut *input, raw.frame_len(), mailbox),
            _ => read_mjpeg(&mut *input, mailbox),
        };
        match &self.place {
            Place::Stdin => stream(Box::new(Once(io::stdin()))),
            Place::File(path) => {
                let file =
                    File::open(path).map_err(|source| Error::Io { action: "open", source }.in_file(path))?;
                stream(Box::new(Once(file))).map_err(|error| error.in_file(path))
            }
            // A recording in a pipe ends with its writer.
            Place::Fifo(path) if self.recorded => {
                let file =
                    File::open(path).map_err(|source| Error::Io { action: "open", source }.in_file(path))?;
                stream(Box::new(Once(file))).map_err(|error| error.in_file(path))
            }
            Place::Fifo(path) => {
                stream(Box::new(Fifo::new(path.clone()))).map_err(|error| error.in_file(path))
            }
            Place::Folder(path) if self.recorded => read_folder(path, mailbox),
            Place::Folder(path) => watch_folder(path, mailbox),
        }
    }
}

fn place(path: &Path) -> Result<Place> {
    if path == Path::new("-") {
        let problem = "stdin is a terminal; pipe frames into it, or name a source instead of -";
        return if io::stdin().is_terminal() { Err(Error::NotAFile { problem }) } else { Ok(Place::Stdin) };
    }
    let kind = fs::metadata(path)
        .map_err(|source| Error::Io { action: "open the source", source }.in_file(path))?
        .file_type();
    if kind.is_dir() {
        Ok(Place::Folder(path.into()))
    } else if kind.is_fifo() && fs::canonicalize(path).is_ok() {
        // It has a name of its own, unlike the pipe behind /dev/stdin.
        Ok(Place::Fifo(path.into()))
    } else if kind.is_socket() {
        let problem = "this is a socket; sources are pipes, devices, files and folders";
        Err(Error::NotAFile { problem }.in_file(path))
    } else {
        Ok(Place::File(path.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_rates_are_numbers_that_can_be() {
        assert_eq!(size("640x480"), Ok((640, 480)));
        for wrong in ["640", "0x10", "640x", "x", "65536x1", "-1x1", "640x480x3"] {
            assert!(size(wrong).unwrap_err().contains("640x480"), "{wrong}");
        }
        assert_eq!((rate("25"), rate("0.1")), (Ok(25.0), Ok(0.1)));
        for wrong in ["0", "nan", "inf", "-1", "1001", "fast"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
