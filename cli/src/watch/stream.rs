//! Bytes that come one after the other: stdin, a device, a named pipe; and raw frames in them.

use super::mailbox::Mailbox;
use ocelli::{Error, Result};
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

/// A stream of bytes.
pub(crate) trait Input: Read + Send {
    /// After its end: whether there may be another stream, which begins with a new frame.
    fn again(&mut self) -> bool {
        false
    }
}

/// A stream that ends once.
pub(crate) struct Once<R>(pub(crate) R);

impl<R: Read> Read for Once<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl<R: Read + Send> Input for Once<R> {}

/// A named pipe: when its writer has gone, the next one is waited for.
pub(crate) struct Fifo {
    path: PathBuf,
    file: Option<File>,
}

impl Fifo {
    pub(crate) fn new(path: PathBuf) -> Fifo {
        Fifo { path, file: None }
    }
}

impl Read for Fifo {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let file = match &mut self.file {
            Some(file) => file,
            // Waits until somebody writes.
            none => none.insert(File::open(&self.path)?),
        };
        file.read(into)
    }
}

impl Input for Fifo {
    fn again(&mut self) -> bool {
        self.file = None;
        true
    }
}

/// As [`Read::read`], and tries again where a signal came between.
pub(crate) fn read_some(input: &mut dyn Input, into: &mut [u8]) -> Result<usize> {
    loop {
        match input.read(into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map_err(|source| Error::Io { action: "read the stream", source }),
        }
    }
}

/// Reads frames of `len` bytes until the stream ends or nobody looks any more. Raw frames have no marks: after lost
/// bytes only a new stream brings them back into step. Allocates nothing where frames have room for `len`.
///
/// # Errors
/// The system's.
pub(crate) fn read_raw(input: &mut dyn Input, len: usize, mailbox: &Mailbox) -> Result<()> {
    while let Some(mut frame) = mailbox.blank() {
        frame.bytes.resize(len, 0);
        let mut filled = 0;
        while filled < len {
            match read_some(input, &mut frame.bytes[filled..])? {
                0 => break,
                some => filled += some,
            }
        }
        if filled == len {
            mailbox.post(frame);
            continue;
        }
        mailbox.give_back(frame);
        if filled > 0 {
            mailbox.damaged(format_args!(
                "the stream ended {filled} bytes into a frame of {len}: that frame is left out (if all are, --size or \
                 --format is wrong)"
            ));
        }
        if !input.again() {
            break;
        }
        mailbox.note(format_args!("the writer has closed the pipe; waiting for the next one"));
    }
    Ok(())
}
