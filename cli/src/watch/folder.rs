//! A folder that a camera writes pictures into.

use super::mailbox::Mailbox;
use crate::inputs::is_picture;
use ocelli::{Error, Result};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A picture's file has at most so many bytes.
const MAX_BYTES: u64 = 64 << 20;

/// Reads each picture when it is written or moved into `folder`, until nobody looks any more.
///
/// # Errors
/// The folder cannot be watched, or is gone.
pub(super) fn watch_folder(folder: &Path, mailbox: &Mailbox) -> Result<()> {
    let failed = |source: Errno| {
        let source = io::Error::from(source);
        Error::Io { action: "watch the folder", source }.in_file(folder)
    };
    let events = inotify::init(CreateFlags::CLOEXEC).map_err(failed)?;
    let whole = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO;
    let gone = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF | WatchFlags::ONLYDIR;
    inotify::add_watch(&events, folder, whole | gone).map_err(failed)?;
    let mut buffer = [MaybeUninit::uninit(); 16 << 10];
    let mut reader = inotify::Reader::new(events, &mut buffer);
    loop {
        let event = match reader.next() {
            Err(Errno::INTR) => continue,
            event => event.map_err(failed)?,
        };
        if event.events().intersects(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED) {
            return Err(Error::Message("the folder is gone".into()).in_file(folder));
        }
        if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
            mailbox.note(format_args!(
                "more files were written than the system could tell of: some were missed"
            ));
        }
        let Some(name) = event.file_name() else { continue };
        let path = folder.join(std::ffi::OsStr::from_bytes(name.to_bytes()));
        if wanted(&path) && !read(path, mailbox) {
            return Ok(());
        }
    }
}

/// Reads the pictures that are in `folder`, sorted by name.
///
/// # Errors
/// The folder cannot be read.
pub(super) fn read_folder(folder: &Path, mailbox: &Mailbox) -> Result<()> {
    let entries = std::fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>());
    let mut paths =
        entries.map_err(|source| Error::Io { action: "read the folder", source }.in_file(folder))?;
    paths.retain(|path| wanted(path));
    paths.sort();
    for path in paths {
        if !read(path, mailbox) {
            break;
        }
    }
    Ok(())
}

fn wanted(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.as_bytes().starts_with(b"."));
    !hidden && is_picture(path)
}

/// Posts the picture in `path`; false when nobody looks any more. That it cannot be read is no reason to stop.
fn read(path: PathBuf, mailbox: &Mailbox) -> bool {
    let Some(mut frame) = mailbox.blank() else { return false };
    frame.bytes.clear();
    match read_into(&path, &mut frame.bytes) {
        Ok(()) => {
            frame.file = Some(path);
            mailbox.post(frame);
        }
        Err(error) => {
            mailbox.give_back(frame);
            mailbox.damaged(format_args!("{}: cannot read the picture: {error}", path.display()));
        }
    }
    true
}

fn read_into(path: &Path, bytes: &mut Vec<u8>) -> io::Result<()> {
    // A named pipe would make us wait.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(bytes)?;
    match bytes.len() as u64 > MAX_BYTES {
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, "more than 64 MiB")),
        false => Ok(()),
    }
}
