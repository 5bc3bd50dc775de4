//! What an update has to do: the folders compared with the catalog.

use crate::catalog::{Catalog, below, bytes_path, path_bytes};
use crate::error::Result;
use crate::store::{Stat, Store};
use crate::walk::{Found, Walk};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

/// What a walk found out.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) to_read: Vec<PathBuf>,
    pub(crate) known: usize,
    pub(crate) problems: Vec<(PathBuf, String)>,
    /// Files that are no longer there, by their picture.
    pub(crate) gone: HashMap<i64, Vec<(i64, PathBuf)>>,
    /// The same of files without a picture.
    pub(crate) gone_blank: Vec<(i64, PathBuf)>,
}

/// Makes files be read again whose bytes could not be decoded.
pub(crate) fn retry(catalog: &Catalog) -> Result<()> {
    catalog.transaction(|| {
        let blank = "SELECT id FROM pictures WHERE row IS NULL";
        catalog
            .run(&format!("UPDATE files SET picture = NULL, settled = 0 WHERE picture IN ({blank})"), [])?;
        catalog.run("DELETE FROM pictures WHERE row IS NULL", []).map(|_| ())
    })
}

/// Walks the folders and compares them with the catalog.
pub(crate) fn plan(store: &Store, walk: &Walk, forget: bool) -> Result<Plan> {
    let catalog = &store.catalog;
    let mut plan = Plan::default();
    let mut seen = HashSet::new();
    let mut found_in = vec![0usize; walk.roots().len()];
    walk.run(|found| {
        match found {
            Found::Picture { path, metadata } => {
                if let Some(root) = walk.roots().iter().position(|root| path.starts_with(root)) {
                    found_in[root] += 1;
                }
                let stat = Stat::of(&metadata);
                let file = catalog.file(&path)?;
                seen.extend(file.map(|file| file.id));
                let same = file.is_some_and(|file| {
                    file.settled
                        && file.picture.is_some()
                        && (file.size, file.mtime) == (stat.size, stat.mtime)
                });
                match same {
                    true => plan.known += 1,
                    false => plan.to_read.push(path),
                }
            }
            Found::Problem { path, problem } => plan.problems.push((path, problem)),
        }
        Ok(())
    })?;
    for (root, found) in walk.roots().iter().zip(found_in) {
        let Some((from, to)) = below(root) else { continue };
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, bytes_path(row.get(1)?), row.get(2)?));
        let query = "SELECT id, path, picture FROM files WHERE path >= ? AND path < ?";
        let files: Vec<(i64, PathBuf, Option<i64>)> = catalog.all(query, [from, to], read)?;
        if found == 0 && !files.is_empty() && !forget {
            let problem = format!(
                "no picture is found here, where {} are known: is it mounted? Nothing is forgotten (--forget does it)",
                files.len()
            );
            plan.problems.push((root.clone(), problem));
            continue;
        }
        for (id, path, picture) in files {
            // What lies in a folder that could not be read may still be there.
            let hidden = || plan.problems.iter().any(|(problem, _)| path.starts_with(problem));
            if seen.contains(&id) || hidden() {
                continue;
            }
            match picture {
                Some(picture) => plan.gone.entry(picture).or_default().push((id, path)),
                None => plan.gone_blank.push((id, path)),
            }
        }
        let roots = || catalog.run("INSERT OR IGNORE INTO roots VALUES (?)", [path_bytes(root)]);
        catalog.transaction(roots)?;
    }
    Ok(plan)
}
