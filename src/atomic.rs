//! Files that appear whole or not at all.

use crate::{Error, Result};
use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::string::String;
use tempfile::{Builder, NamedTempFile};

/// What [`write_atomically`] hands to its callback; it can seek.
pub type Writer<'f> = BufWriter<&'f mut fs::File>;

/// Writes the file at `path` through `write`: into a temporary file in the same directory, which then replaces `path`
/// in one step. On an error, or if the process or the machine dies meanwhile, what was at `path` before stays there
/// untouched; after an error the temporary file is gone too. A symbolic link is followed.
///
/// # Errors
/// The callback's error, or an [`Error::InFile`] with the path and the operating system's reason.
pub fn write_atomically<T, E: From<Error>>(
    path: &Path,
    write: impl FnOnce(&mut Writer<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let target = target(path)?;
    let (mut file, directory) = create(&target)?;
    let mut writer = BufWriter::with_capacity(1 << 20, file.as_file_mut());
    let value = write(&mut writer)?;
    let flushed = writer.flush();
    drop(writer);
    finish(flushed, file, &target, &directory).map_err(|source| failed("write", path, source))?;
    Ok(value)
}

fn failed(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::Io { action, source }.in_file(path)
}

/// The file that `path` leads to. Only regular files may be replaced: renaming over a device would remove it.
fn target(path: &Path) -> Result<PathBuf> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => fs::canonicalize(path).map_err(|e| failed("write", path, e)),
        Ok(_) => Err(Error::Message(String::from("cannot write: not a regular file")).in_file(path)),
        Err(_) => Ok(path.into()),
    }
}

fn create(target: &Path) -> Result<(NamedTempFile, PathBuf)> {
    let directory = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = Builder::new();
    // Without this the result would be readable by its owner only; the process's umask still applies.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let file = builder.prefix(".ocelli-").suffix(".tmp").tempfile_in(directory);
    Ok((file.map_err(|source| failed("create", target, source))?, directory.into()))
}

fn finish(
    flushed: std::io::Result<()>,
    file: NamedTempFile,
    target: &Path,
    directory: &Path,
) -> std::io::Result<()> {
    flushed?;
    // The bytes must be on the disk before the name points to them, and the name before success is reported.
    file.as_file().sync_all()?;
    file.persist(target)?;
    if cfg!(unix) {
        fs::File::open(directory)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, SeekFrom};
    use std::string::ToString;

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
            Err(Error::Message("stopped".into()))
        });
        assert_eq!(failed.unwrap_err().to_string(), "stopped");
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
