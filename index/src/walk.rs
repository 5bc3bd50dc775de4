//! Folders to the files in them that are called like pictures.

use crate::error::{Error, Result};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use walkdir::{DirEntry, WalkDir};

/// Endings of names that are taken for pictures. What cannot be decoded is then remembered with its reason.
const PICTURES: [&str; 10] = ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff"];

/// A folder with a file of this name is passed over, as on Android.
const NO_MEDIA: &str = ".nomedia";

/// Which files to look at.
///
/// Links are followed, but every folder is entered once, and a file in such a folder is found there only.
#[derive(Clone, Debug)]
pub struct Walk {
    /// Absolute, and none inside another one.
    roots: Vec<PathBuf>,
    names: GlobSet,
    paths: GlobSet,
    hidden: bool,
}

/// What a walk comes across.
#[derive(Debug)]
pub(crate) enum Found {
    Picture {
        path: PathBuf,
        metadata: Metadata,
    },
    /// A file or folder that the system would not show.
    Problem {
        path: PathBuf,
        problem: String,
    },
}

impl Walk {
    /// A walk through `folders` without what `exclude` names: a glob without a slash is held against every name below
    /// them, another one against the path from the folder of `folders` that it is in. Hidden files and folders are passed
    /// over unless `hidden`.
    ///
    /// # Errors
    /// A folder that is none, or a glob that cannot be understood.
    pub fn new(folders: &[PathBuf], exclude: &[String], hidden: bool) -> Result<Walk> {
        let mut roots = Vec::new();
        for folder in folders {
            let root = fs::canonicalize(folder).map_err(Error::io("find the folder", folder))?;
            if !root.is_dir() {
                return Err(Error::Walk { problem: format!("{}: expected a folder", folder.display()) });
            }
            roots.push(root);
        }
        // Sorted, a folder comes right before what lies in it.
        roots.sort();
        roots.dedup_by(|inner, outer| inner.starts_with(outer));
        let (mut names, mut paths) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for pattern in exclude {
            let path = pattern.trim_matches('/').contains('/');
            let glob = GlobBuilder::new(pattern.trim_matches('/')).literal_separator(true).build();
            let glob = glob.map_err(|error| Error::Walk { problem: format!("--exclude: {error}") })?;
            if path {
                paths.add(glob)
            } else {
                names.add(glob)
            };
        }
        let build = |set: GlobSetBuilder| {
            set.build().map_err(|error| Error::Walk { problem: format!("--exclude: {error}") })
        };
        Ok(Walk { roots, names: build(names)?, paths: build(paths)?, hidden })
    }

    /// The folders, absolute.
    pub fn roots(&self) -> &[PathBuf] {
        &self.roots
    }

    /// Tells `found` of every file and problem, in the order of the names, until it fails.
    pub(crate) fn run(&self, mut found: impl FnMut(Found) -> Result<()>) -> Result<()> {
        let mut entered = HashSet::new();
        // Links wait until all real places have been seen.
        let mut links = Vec::new();
        for root in &self.roots {
            self.below(root, root, &mut entered, &mut links, &mut found)?;
        }
        let mut targets = HashSet::new();
        while let Some((root, link)) = links.pop() {
            let target = fs::canonicalize(&link).and_then(|target| Ok((fs::metadata(&target)?, target)));
            let (metadata, target) = match target {
                Ok(target) => target,
                Err(error) => {
                    found(Found::Problem { path: link, problem: error.to_string() })?;
                    continue;
                }
            };
            if metadata.is_dir() {
                self.below(&root, &link, &mut entered, &mut links, &mut found)?;
            } else if metadata.is_file()
                && is_picture(&link)
                && target.parent().is_none_or(|folder| !entered.contains(folder))
                && targets.insert(target)
            {
                found(Found::Picture { path: link, metadata })?;
            }
        }
        Ok(())
    }

    /// Walks `start`, a folder or a link to one, in `root`.
    fn below(
        &self,
        root: &Path,
        start: &Path,
        entered: &mut HashSet<PathBuf>,
        links: &mut Vec<(PathBuf, PathBuf)>,
        found: &mut impl FnMut(Found) -> Result<()>,
    ) -> Result<()> {
        let mut enter = |folder: &Path| {
            // What cannot be looked at is entered, so that WalkDir says why it cannot.
            let once = fs::canonicalize(folder).map_or(true, |path| entered.insert(path));
            once && !folder.join(NO_MEDIA).exists()
        };
        // WalkDir enters its start whatever a filter says, if it is a link.
        if !enter(start) {
            return Ok(());
        }
        let wanted = |entry: &DirEntry| {
            let folder = entry.depth() > 0 && entry.file_type().is_dir();
            entry.depth() == 0 || (self.wants(root, entry) && (!folder || enter(entry.path())))
        };
        for entry in WalkDir::new(start).sort_by_file_name().into_iter().filter_entry(wanted) {
            match entry {
                Ok(entry) if entry.depth() > 0 && entry.path_is_symlink() => {
                    links.push((root.to_owned(), entry.into_path()));
                }
                Ok(entry) if entry.file_type().is_file() && is_picture(entry.path()) => {
                    let found_file = match entry.metadata() {
                        Ok(metadata) => Found::Picture { path: entry.into_path(), metadata },
                        Err(error) => problem(entry.path(), error),
                    };
                    found(found_file)?;
                }
                Ok(_) => {}
                Err(error) => {
                    let path = error.path().unwrap_or(start).to_owned();
                    found(problem(&path, error))?;
                }
            }
        }
        Ok(())
    }

    fn wants(&self, root: &Path, entry: &DirEntry) -> bool {
        let name = entry.file_name();
        let hidden = name.as_encoded_bytes().starts_with(b".");
        let below = entry.path().strip_prefix(root).unwrap_or(entry.path());
        (self.hidden || !hidden) && !self.names.is_match(name) && !self.paths.is_match(below)
    }
}

fn problem(path: &Path, error: walkdir::Error) -> Found {
    let source = error.into_io_error().unwrap_or_else(|| io::Error::other("links in a circle"));
    Found::Problem { path: path.to_owned(), problem: source.to_string() }
}

/// Whether the file is called like a picture that can be decoded.
pub fn is_picture(path: &Path) -> bool {
    let ending = path.extension().and_then(OsStr::to_str);
    ending.is_some_and(|ending| PICTURES.iter().any(|known| known.eq_ignore_ascii_case(ending)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(walk: &Walk, root: &Path) -> Vec<String> {
        let root = fs::canonicalize(root).unwrap();
        let mut names = Vec::new();
        walk.run(|found| {
            match found {
                Found::Picture { path, .. } => {
                    names.push(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
                }
                Found::Problem { path, .. } => assert!(path.ends_with("nowhere.jpg"), "{path:?}"),
            }
            Ok(())
        })
        .unwrap();
        names
    }

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        folder
    }

    #[test]
    fn what_is_excluded_hidden_or_marked_is_passed_over() {
        let folder = tree(&[
            "a.jpg",
            "b.txt",
            "B.JPEG",
            "x/a.png",
            "x/skip/a.png",
            "x/y/skip/b.png",
            ".h/a.jpg",
            ".h.jpg",
            "n/.nomedia",
            "n/a.jpg",
            "n/deep/a.jpg",
            "x/a.thumb.png",
        ]);
        let root = folder.path().to_owned();
        let walk = |exclude: &[&str], hidden| {
            let exclude: Vec<String> = exclude.iter().map(|&glob| glob.to_owned()).collect();
            names(&Walk::new(std::slice::from_ref(&root), &exclude, hidden).unwrap(), &root)
        };
        let all = ["B.JPEG", "a.jpg", "x/a.png", "x/a.thumb.png", "x/skip/a.png", "x/y/skip/b.png"];
        assert_eq!(walk(&[], false), all);
        assert_eq!(walk(&["skip", "*.thumb.*"], false), ["B.JPEG", "a.jpg", "x/a.png"]);
        let below = ["B.JPEG", "a.jpg", "x/a.png", "x/a.thumb.png", "x/y/skip/b.png"];
        assert_eq!(walk(&["x/skip/"], false), below);
        assert_eq!(walk(&["x/**/skip"], false), ["B.JPEG", "a.jpg", "x/a.png", "x/a.thumb.png"]);
        assert_eq!(walk(&["x"], true), [".h/a.jpg", ".h.jpg", "B.JPEG", "a.jpg"]);
        let error = Walk::new(std::slice::from_ref(&root), &["[".into()], false).unwrap_err().to_string();
        assert!(error.contains("--exclude"), "{error}");
        let nested = Walk::new(&[root.join("x"), root.clone(), root.join("x/y")], &[], false).unwrap();
        assert_eq!(names(&nested, &root), all);
        let error = Walk::new(&[root.join("none")], &[], false).unwrap_err().to_string();
        assert!(error.contains("none: cannot find the folder"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_once() {
        use std::os::unix::fs::symlink;

        let folder = tree(&["in/a.jpg", "in/sub/b.jpg", "out/c.jpg", "out/deep/d.jpg"]);
        let (root, out) = (folder.path().join("in"), folder.path().join("out"));
        for (target, link) in [
            (out.clone(), "z"),
            (out.join("deep"), "y"),
            (root.clone(), "circle"),
            (root.join("sub"), "again"),
            (root.join("a.jpg"), "same.jpg"),
            (out.join("c.jpg"), "sub/c.jpg"),
            (out.join("none.jpg"), "nowhere.jpg"),
            (folder.path().to_owned(), "up"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        let mut found = names(&Walk::new(std::slice::from_ref(&root), &[], false).unwrap(), &root);
        let by_place: HashSet<PathBuf> =
            found.iter().map(|name| fs::canonicalize(root.join(name)).unwrap()).collect();
        assert_eq!((found.len(), by_place.len()), (4, 4), "{found:?}");
        found.retain(|name| !name.starts_with('z') && !name.starts_with('y') && !name.starts_with("up"));
        assert_eq!(found[..2], ["a.jpg", "sub/b.jpg"]);
    }
}
