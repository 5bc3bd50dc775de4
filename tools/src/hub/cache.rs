//! The cache that huggingface_hub keeps too: for each repository `blobs/TAG` with contents, `snapshots/COMMIT/NAME` with
//! links to them, and `refs/REVISION` with commits.

use super::reference::is_commit;
use crate::progress::Progress;
use crate::{Error, Result};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// One repository's part of the cache.
#[derive(Clone, Debug)]
pub(super) struct RepositoryCache {
    /// `models--ORG--NAME`.
    folder: PathBuf,
    locks: PathBuf,
}

impl RepositoryCache {
    pub(super) fn new(cache: &Path, repository: &str) -> RepositoryCache {
        let name = format!("models--{}", repository.replace('/', "--"));
        RepositoryCache { folder: cache.join(&name), locks: cache.join(".locks").join(name) }
    }

    /// The folder with the files of a commit.
    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// Where the contents with this tag are.
    pub(super) fn blob(&self, tag: &str) -> PathBuf {
        self.folder.join("blobs").join(tag)
    }

    /// The commit of a branch or tag when it was last seen.
    pub(super) fn commit_of(&self, revision: &str) -> Result<Option<String>> {
        let path = self.folder.join("refs").join(revision);
        match fs::read_to_string(&path) {
            Ok(text) if is_commit(text.trim()) => Ok(Some(text.trim().into())),
            Ok(_) => Err(Error::file(&path, "holds no commit: delete it")),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(Error::io("read", &path)(error)),
        }
    }

    /// Notes the commit of a branch or tag.
    pub(super) fn set_commit(&self, revision: &str, commit: &str) -> Result<()> {
        if revision == commit || self.commit_of(revision).is_ok_and(|known| known.as_deref() == Some(commit))
        {
            return Ok(());
        }
        let path = self.folder.join("refs").join(revision);
        create_parent(&path)?;
        ocelli::atomic::write_atomically(&path, |out| {
            out.write_all(commit.as_bytes()).map_err(Error::io("write", &path))
        })
    }

    /// Whether an earlier question found that a commit has no such file.
    pub(super) fn is_known_absent(&self, commit: &str, name: &str) -> bool {
        self.folder.join(".no_exist").join(commit).join(name).exists()
    }

    /// The names of a commit's files that are here, folders and dangling links left out.
    pub(super) fn names(&self, commit: &str) -> Vec<String> {
        let folder = self.snapshot(commit);
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| folder.join(name).is_file()).collect()
    }

    /// The tag of a file that is here, if its link tells it.
    pub(super) fn tag_of(&self, commit: &str, name: &str) -> Option<String> {
        let target = fs::read_link(self.snapshot(commit).join(name)).ok()?;
        target.file_name()?.to_str().map(str::to_owned)
    }

    /// Takes the contents with this tag for the file `name` of a commit.
    pub(super) fn link(&self, tag: &str, commit: &str, name: &str) -> Result<()> {
        let (blob, link) = (self.blob(tag), self.snapshot(commit).join(name));
        let target = Path::new("../../blobs").join(tag);
        if fs::read_link(&link).is_ok_and(|found| found == target) {
            return Ok(());
        }
        create_parent(&link)?;
        // Another process may be reading what stands there, so it is replaced in one step.
        let temporary = link.with_file_name(format!(".{name}.{}", std::process::id()));
        _ = fs::remove_file(&temporary);
        if symlink(&target, &temporary).is_ok() {
            return fs::rename(&temporary, &link).map_err(Error::io("replace", &link));
        }
        // A file system without links. The name must not be seen before the contents are whole.
        ocelli::atomic::write_atomically(&link, |out| {
            let mut file = File::open(&blob).map_err(Error::io("open", &blob))?;
            io::copy(&mut file, out).map(drop).map_err(Error::io("write", &link))
        })
    }

    /// Waits until nobody else downloads the contents with this tag. The lock is the one of huggingface_hub, and is held
    /// until the file is dropped.
    pub(super) fn lock(&self, tag: &str, progress: &dyn Progress) -> Result<File> {
        let path = self.locks.join(format!("{tag}.lock"));
        create_parent(&path)?;
        loop {
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
            let file = file.map_err(Error::io("open", &path))?;
            let locked = match file.try_lock() {
                Err(TryLockError::WouldBlock) => {
                    progress.warn(&format!("another process downloads {tag}: waiting for it"));
                    file.lock()
                }
                Err(TryLockError::Error(error)) => Err(error),
                Ok(()) => Ok(()),
            };
            match locked {
                // Whoever had the lock may have removed its file, and the next one made a new one.
                Ok(()) if !is_at(&file, &path) => {}
                Err(error) if error.kind() == ErrorKind::Unsupported => {
                    progress.warn(&format!("{}: no locks here; run one download at a time", path.display()));
                    return Ok(file);
                }
                result => return result.map(|()| file).map_err(Error::io("lock", &path)),
            }
        }
    }
}

/// Makes the folder that a file will be in.
pub(super) fn create_parent(path: &Path) -> Result<()> {
    path.parent().map_or(Ok(()), |parent| fs::create_dir_all(parent).map_err(Error::io("create", parent)))
}

/// Whether `file` is what stands at `path`.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    matches!((file.metadata().map(id), fs::metadata(path).map(id)), (Ok(a), Ok(b)) if a == b)
}

#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(not(unix))]
fn symlink(_: &Path, _: &Path) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}
