//! Files that appear whole or not at all.

use crate::{Error, Result};
use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::string::{String, ToString};
use std::time::Duration;
#[cfg(target_os = "linux")]
use tempfile::TempPath;
use tempfile::{Builder, NamedTempFile};

/// What [`write_atomically`] hands to its callback; it can seek.
pub type Writer<'f> = BufWriter<&'f mut File>;

/// What the names of temporary files start and end with.
const NAME: (&str, &str) = (".ocelli-", ".tmp");
/// Temporary files whose process is gone are left alone for so long.
const STALE: Duration = Duration::from_secs(60);

/// Writes the file at `path` through `write`, so that it is replaced in one step when it is complete. On an error, or if
/// the process or the machine dies meanwhile, what was at `path` before stays there untouched.
///
/// Until then the file has no name on Linux, so that nothing is left of it whatever happens; on file systems that cannot
/// do that, and on other systems, it is `.ocelli-*.tmp` in the same directory, which an error removes, and after the
/// death of its process the next writer in that directory. A symbolic link is followed. The file that is replaced
/// bequeaths its permissions.
///
/// # Errors
/// The callback's error, or an [`Error::InFile`] with the path and the operating system's reason.
pub fn write_atomically<T, E: From<Error>>(
    path: &Path,
    write: impl FnOnce(&mut Writer<'_>) -> Result<T, E>,
) -> Result<T, E> {
    write_atomically_with(path, &mut |_| (), write)
}

/// As [`write_atomically`], and tells `warn` if the file is there but may be lost again should power fail in the next
/// seconds.
///
/// # Errors
/// As [`write_atomically`].
pub fn write_atomically_with<T, E: From<Error>>(
    path: &Path,
    warn: &mut dyn FnMut(String),
    write: impl FnOnce(&mut Writer<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let target = Target::of(path)?;
    let mut unfinished = Unfinished::create(&target).map_err(|source| failed("create", path, source))?;
    let mut writer = BufWriter::with_capacity(1 << 20, unfinished.file_mut());
    let value = write(&mut writer)?;
    let flushed = writer.flush();
    drop(writer);
    let finished = flushed.and_then(|()| unfinished.finish(&target));
    finished.map_err(|source| failed("write", path, source))?;
    // Whoever is told of a failure would think that the old file is still there.
    if let Err(error) = target.sync_name() {
        let folder = target.folder.display().to_string();
        warn(std::format!("{}: written, but the folder {folder} cannot be synced: {error}", path.display()));
    }
    Ok(value)
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io { action, source }.in_file(path)
}

/// The place of a file to be written.
struct Target {
    path: PathBuf,
    folder: PathBuf,
    /// Those of the file that is replaced.
    permissions: Option<Permissions>,
}

impl Target {
    /// Follows links. Only regular files may be replaced: renaming over a device would remove it.
    fn of(path: &Path) -> Result<Target> {
        let refuse = |problem| Err(Error::NotAFile { problem }.in_file(path));
        let (path, permissions) = match fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => {
                let path = fs::canonicalize(path).map_err(|e| failed("write", path, e))?;
                (path, Some(metadata.permissions()))
            }
            Ok(metadata) if metadata.is_dir() => {
                return refuse("cannot write: this is a folder; name a file in it");
            }
            Ok(_) => return refuse("cannot write: not a regular file"),
            Err(_) => (path.to_path_buf(), None),
        };
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        if !folder.is_dir() {
            return refuse("cannot write: its folder does not exist; make that first");
        }
        Ok(Target { path, folder, permissions })
    }

    /// Brings the name to the disk.
    fn sync_name(&self) -> io::Result<()> {
        if cfg!(unix) { File::open(&self.folder)?.sync_all() } else { Ok(()) }
    }
}

/// A file that is not yet in its place.
enum Unfinished {
    /// Without a name.
    #[cfg(target_os = "linux")]
    Nameless(File),
    /// Under a temporary name.
    Named(NamedTempFile),
}

impl Unfinished {
    fn create(target: &Target) -> io::Result<Unfinished> {
        remove_stale(&target.folder);
        #[cfg(target_os = "linux")]
        if let Some(file) = nameless(&target.folder) {
            return Ok(Unfinished::Nameless(file));
        }
        Unfinished::named(target)
    }

    fn named(target: &Target) -> io::Result<Unfinished> {
        let mut builder = Builder::new();
        // Without this a new file would be readable by its owner only; the process's umask still applies.
        #[cfg(unix)]
        if target.permissions.is_none() {
            builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        }
        let file = builder.prefix(NAME.0).suffix(NAME.1).tempfile_in(&target.folder)?;
        // Tells others that its process lives. Where files cannot be locked, nobody removes what seems left over.
        _ = file.as_file().try_lock();
        Ok(Unfinished::Named(file))
    }

    fn file_mut(&mut self) -> &mut File {
        match self {
            #[cfg(target_os = "linux")]
            Unfinished::Nameless(file) => file,
            Unfinished::Named(file) => file.as_file_mut(),
        }
    }

    /// Puts the complete file into its place.
    fn finish(mut self, target: &Target) -> io::Result<()> {
        let file = self.file_mut();
        if let Some(permissions) = &target.permissions {
            file.set_permissions(permissions.clone())?;
        }
        // The bytes must be on the disk before the name points to them.
        file.sync_all()?;
        match self {
            #[cfg(target_os = "linux")]
            Unfinished::Nameless(file) => link(&file, &target.folder)?.persist(&target.path)?,
            Unfinished::Named(file) => _ = file.persist(&target.path)?,
        }
        Ok(())
    }
}

/// A file without a name that [`link`] can name; not all file systems have such.
#[cfg(target_os = "linux")]
fn nameless(folder: &Path) -> Option<File> {
    use std::os::unix::fs::OpenOptionsExt;
    if !Path::new("/proc/self/fd").is_dir() {
        return None;
    }
    fs::OpenOptions::new().read(true).write(true).mode(0o666).custom_flags(libc::O_TMPFILE).open(folder).ok()
}

/// Gives a nameless file a temporary name: a link cannot replace a file, renaming can.
#[cfg(target_os = "linux")]
fn link(file: &File, folder: &Path) -> io::Result<TempPath> {
    use rustix::fs::{AtFlags, CWD, linkat};
    use std::os::fd::AsRawFd;
    let own = std::format!("/proc/self/fd/{}", file.as_raw_fd());
    let named = Builder::new().prefix(NAME.0).suffix(NAME.1).make_in(folder, |path| {
        linkat(CWD, &own, CWD, path, AtFlags::SYMLINK_FOLLOW).map_err(io::Error::from)
    })?;
    Ok(named.into_temp_path())
}

/// Removes temporary files whose process died. Failing to is no failure.
fn remove_stale(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_ours = name.to_str().is_some_and(|name| name.starts_with(NAME.0) && name.ends_with(NAME.1));
        let old = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
        if is_ours
            && old().is_some_and(|age| age > STALE)
            && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok())
        {
            _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, SeekFrom};

    fn names(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn a_finished_file_replaces_the_old_one_and_an_error_leaves_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "old").unwrap();
        let failed: Result<()> = write_atomically(&path, |out| {
            out.write_all(b"half").unwrap();
            out.flush().unwrap();
            Err(Error::NotFinite)
        });
        assert!(matches!(failed, Err(Error::NotFinite)));
        assert_eq!((fs::read(&path).unwrap(), names(directory.path())), (b"old".to_vec(), 1));
        let written: Result<()> = write_atomically(&path, |out| {
            out.write_all(b"..w").unwrap();
            out.seek(SeekFrom::Start(0)).unwrap();
            out.write_all(b"ne").unwrap();
            Ok(())
        });
        written.unwrap();
        assert_eq!((fs::read(&path).unwrap(), names(directory.path())), (b"new".to_vec(), 1));
    }

    #[test]
    fn where_files_must_have_names_they_have_temporary_ones() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "old").unwrap();
        let target = Target::of(&path).unwrap();
        drop(Unfinished::named(&target).unwrap());
        assert_eq!(names(directory.path()), 1);
        let mut unfinished = Unfinished::named(&target).unwrap();
        assert_eq!(names(directory.path()), 2);
        unfinished.file_mut().write_all(b"new").unwrap();
        unfinished.finish(&target).unwrap();
        assert_eq!((fs::read(&path).unwrap(), names(directory.path())), (b"new".to_vec(), 1));
    }

    #[test]
    fn a_temporary_file_of_a_dead_process_goes_and_one_in_use_stays() {
        let directory = tempfile::tempdir().unwrap();
        let make = |name: &str, age: u64| {
            let file = File::create(directory.path().join(name)).unwrap();
            file.set_modified(std::time::SystemTime::now() - Duration::from_secs(age)).unwrap();
            file
        };
        make(".ocelli-dead.tmp", 600);
        make(".ocelli-young.tmp", 0);
        make("ocelli-other.tmp", 600);
        make(".ocelli-busy.tmp", 600);
        let busy = File::open(directory.path().join(".ocelli-busy.tmp")).unwrap();
        busy.lock().unwrap();
        let written: Result<()> = write_atomically(&directory.path().join("file"), |_| Ok(()));
        written.unwrap();
        let left = |name: &str| directory.path().join(name).exists();
        assert!(!left(".ocelli-dead.tmp"));
        assert!(left(".ocelli-young.tmp") && left("ocelli-other.tmp") && left(".ocelli-busy.tmp"));
    }

    #[cfg(unix)]
    #[test]
    fn a_replaced_file_bequeaths_its_permissions_and_a_new_one_has_the_usual() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let write = || -> Result<()> { write_atomically(&path, |_| Ok(())) };
        write().unwrap();
        fs::write(directory.path().join("usual"), "").unwrap();
        assert_eq!(mode(&path), mode(&directory.path().join("usual")));
        for bits in [0o600, 0o640, 0o444] {
            fs::set_permissions(&path, Permissions::from_mode(bits)).unwrap();
            write().unwrap();
            assert_eq!(mode(&path), bits);
        }
    }

    #[test]
    fn errors_name_the_path() {
        let directory = tempfile::tempdir().unwrap();
        for path in [directory.path().join("absent/file"), directory.path().to_path_buf()] {
            let result: Result<()> = write_atomically(&path, |_| Ok(()));
            let message = result.unwrap_err().to_string();
            assert!(message.contains(path.to_str().unwrap()), "{message}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_devices_are_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let written: Result<()> = write_atomically(&link, |out| {
            out.write_all(b"new").unwrap();
            Ok(())
        });
        written.unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"new");
        let device: Result<()> = write_atomically(Path::new("/dev/null"), |_| Ok(()));
        assert!(device.unwrap_err().to_string().contains("/dev/null"));
    }
}
