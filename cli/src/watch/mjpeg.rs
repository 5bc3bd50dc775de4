//! A stream of JPEG pictures, read into the mailbox.

use super::mailbox::Mailbox;
use super::splitter::{Found, Splitter};
use super::stream::{Input, read_some};
use ocelli::Result;
use std::cell::Cell;

/// So many bytes are read at a time.
const CHUNK: usize = 64 << 10;

/// Reads pictures until the stream ends or nobody looks any more. Memory grows to that of the largest picture.
///
/// # Errors
/// The system's.
pub(super) fn read_mjpeg(input: &mut dyn Input, mailbox: &Mailbox) -> Result<()> {
    let (mut splitter, mut chunk) = (Splitter::new(), vec![0; CHUNK]);
    let open = Cell::new(true);
    let mut show = |found: Found<'_>| match found {
        Found::Damaged(why) => mailbox.damaged(format_args!("{why}: it is left out")),
        Found::Picture(bytes) => match mailbox.blank() {
            Some(mut frame) => {
                std::mem::swap(bytes, &mut frame.bytes);
                mailbox.post(frame);
            }
            None => open.set(false),
        },
    };
    while open.get() {
        let some = read_some(input, &mut chunk)?;
        splitter.feed(&chunk[..some], &mut show);
        if some > 0 {
            continue;
        }
        splitter.end(&mut show);
        if !input.again() {
            break;
        }
        mailbox.note(format_args!("the writer has closed the pipe; waiting for the next one"));
    }
    Ok(())
}
