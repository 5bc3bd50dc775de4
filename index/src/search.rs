//! The pictures that are most similar to a query: every int8 row is scanned, and the best are scored again in f16.

use crate::catalog::below;
use crate::entries::{COLUMNS, Entry, joined, read_entry};
use crate::error::{Error, Result};
use crate::query::Query;
use crate::store::Store;
use crate::vectors::{Element, Rows, quantize, width};
use ocelli_kernels::Kernels;
use std::ops::Range;
use std::panic::resume_unwind;
use std::path::PathBuf;

/// Rows that one call of the kernel scans: they are still in the L2 cache when their scales are looked at.
const CHUNK: usize = 128;
/// So many times the wanted pictures, and so many more, are scored again.
const AGAIN: usize = 4;
const MORE: usize = 64;
/// Rows that make a thread worth its start.
const SHARE: usize = 1 << 15;

/// Which pictures may be found.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only files below one of these folders, named as the index names them ([`Filter::resolved`]); with none, all.
    pub folders: Vec<PathBuf>,
    /// Only pictures from this day, month or year on: `2024`, `2024-05` or `2024-05-01`, also with a time behind a space.
    pub since: Option<String>,
    /// Only pictures until the end of this day, month or year.
    pub until: Option<String>,
}

/// How a search is done.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SearchOptions {
    /// Most pictures to find.
    pub top_k: usize,
    /// Only pictures of this cosine or more.
    pub threshold: Option<f32>,
    /// Which pictures may be found.
    pub filter: Filter,
    /// Threads, at least one.
    pub threads: usize,
}

impl Default for SearchOptions {
    fn default() -> SearchOptions {
        SearchOptions { top_k: 10, threshold: None, filter: Filter::default(), threads: 1 }
    }
}

/// A picture that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// Cosine of its embedding with the query, from −1 to 1.
    pub similarity: f32,
    /// The weighted sum of its cosines with the terms of the query.
    pub score: f32,
    /// The picture, with those of its files that meet the filter.
    pub picture: Entry,
}

/// Finds the pictures in `store` that are most similar to `query`, the best first.
///
/// # Errors
/// `query` has another length than the store's embeddings, a date or folder of the filter cannot be read, or the store is
/// damaged.
pub fn search(store: &Store, kernels: &Kernels, query: &Query, options: &SearchOptions) -> Result<Vec<Hit>> {
    let dim = store.identity().dim;
    if query.vector().len() != dim {
        let problem =
            format!("the query has {} elements and the index's embeddings {dim}", query.vector().len());
        return Err(Error::Query { problem });
    }
    store.reading(|| {
        let allowed = options.filter.rows(store)?;
        let rows = store.map(Element::I8)?;
        let halves = store.map(Element::F16)?;
        let mut wanted = options.top_k.saturating_mul(AGAIN).saturating_add(MORE);
        loop {
            let best = scan(&rows, dim, kernels, query.vector(), allowed.as_ref(), wanted, options.threads);
            let complete = best.len() < wanted;
            let (hits, enough) = rescore(store, &halves, query, options, &best)?;
            // Rows of deleted pictures may have taken the places of others.
            if enough || complete {
                return Ok(hits);
            }
            wanted = wanted.saturating_mul(4);
        }
    })
}

/// A set of rows.
struct RowSet(Vec<u64>);

impl RowSet {
    fn has(&self, row: usize) -> bool {
        self.0.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }
}

/// The moment of a picture, local time: when it was taken, or else when its file was changed.
const MOMENT: &str = "coalesce(p.taken, datetime(f.mtime / 1000000000, 'unixepoch', 'localtime'))";

impl Filter {
    /// The same with folders as the index names them: absolute, and links resolved.
    pub fn resolved(mut self) -> Filter {
        for folder in &mut self.folders {
            let found = std::fs::canonicalize(&*folder).or_else(|_| std::path::absolute(&*folder));
            *folder = found.unwrap_or_else(|_| std::mem::take(folder));
        }
        self
    }

    /// Conditions on `p` and `f`, and the values in them; empty if all pictures meet it.
    fn conditions(&self) -> Result<(String, Vec<rusqlite::types::Value>)> {
        let mut conditions = String::new();
        let mut values = Vec::new();
        let mut ranges = Vec::new();
        for folder in &self.folders {
            let Some((from, to)) = below(folder) else { continue };
            ranges.push("(f.path >= ? AND f.path < ?)");
            values.extend([from.into(), to.into()]);
        }
        if !self.folders.is_empty() {
            let ranges = if ranges.is_empty() { "0".into() } else { ranges.join(" OR ") };
            conditions += &format!(" AND ({ranges})");
        }
        if let Some(since) = &self.since {
            conditions += &format!(" AND {MOMENT} >= ?");
            values.push(date(since)?.to_owned().into());
        }
        if let Some(until) = &self.until {
            // Greater than whatever begins with that date.
            conditions += &format!(" AND {MOMENT} < ?");
            values.push(format!("{}~", date(until)?).into());
        }
        Ok((conditions, values))
    }

    /// The rows that meet it; `None` for all.
    fn rows(&self, store: &Store) -> Result<Option<RowSet>> {
        let (conditions, values) = self.conditions()?;
        if conditions.is_empty() {
            return Ok(None);
        }
        let query = format!(
            "SELECT p.row FROM files f JOIN pictures p ON p.id = f.picture WHERE p.row NOT NULL{conditions}"
        );
        let mut set = RowSet(vec![0; (store.catalog.rows()? as usize).div_ceil(64)]);
        for row in
            store.catalog.all(&query, rusqlite::params_from_iter(values), |row| row.get::<_, i64>(0))?
        {
            if let Some(word) = set.0.get_mut(row as usize / 64) {
                *word |= 1 << (row % 64);
            }
        }
        Ok(Some(set))
    }
}

/// A date, or a part of one, as it is compared.
fn date(text: &str) -> Result<&str> {
    let shape = b"dddd-dd-dd dd:dd:dd";
    let fits = |(byte, shape): (u8, &u8)| if *shape == b'd' { byte.is_ascii_digit() } else { byte == *shape };
    let known = matches!(text.len(), 4 | 7 | 10 | 16 | 19) && text.bytes().zip(shape).all(fits);
    let problem =
        || format!("{:?}: expected a date such as 2024, 2024-05 or 2024-05-01", ocelli::excerpt(text));
    if known { Ok(text) } else { Err(Error::Query { problem: problem() }) }
}

/// A row with its approximate cosine.
#[derive(Clone, Copy)]
struct Candidate {
    row: usize,
    cosine: f32,
}

/// The best `most` candidates of those that were pushed.
struct Best {
    most: usize,
    /// At most twice as many, of which the best `most` are kept when it is full.
    candidates: Vec<Candidate>,
    /// What is no better cannot be among them.
    floor: f32,
}

impl Best {
    fn new(most: usize) -> Best {
        Best { most: most.max(1), candidates: Vec::new(), floor: f32::NEG_INFINITY }
    }

    fn push(&mut self, candidate: Candidate) {
        // Not greater: also what is no number.
        if candidate.cosine > self.floor {
            self.candidates.push(candidate);
            if self.candidates.len() >= self.most.saturating_mul(2) {
                self.cut();
            }
        }
    }

    fn cut(&mut self) {
        if self.candidates.len() > self.most {
            let at = self.most - 1;
            let (_, last, _) =
                self.candidates.select_nth_unstable_by(at, |a, b| b.cosine.total_cmp(&a.cosine));
            self.floor = last.cosine;
            self.candidates.truncate(self.most);
        }
    }
}

/// The `most` rows that are most similar to `vector`, of length 1, with their cosines, by their codes alone and in no order.
///
/// # Panics
/// If `rows` are not int8 rows of as many elements.
pub fn nearest(
    rows: &Rows,
    kernels: &Kernels,
    vector: &[f32],
    most: usize,
    threads: usize,
) -> Vec<(usize, f32)> {
    let best = scan(rows, vector.len(), kernels, vector, None, most, threads);
    best.into_iter().map(|Candidate { row, cosine }| (row, cosine)).collect()
}

/// The `most` rows that are most similar to `vector` by their codes.
fn scan(
    rows: &Rows,
    dim: usize,
    kernels: &Kernels,
    vector: &[f32],
    allowed: Option<&RowSet>,
    most: usize,
    threads: usize,
) -> Vec<Candidate> {
    let (count, (query, scale)) = (rows.len(), quantize(vector));
    let part = |range: Range<usize>| {
        let mut best = Best::new(most);
        let mut sums = vec![0; CHUNK.min(range.len())];
        for first in range.clone().step_by(CHUNK) {
            let sums = &mut sums[..CHUNK.min(range.end - first)];
            kernels.scan_i8(
                bytemuck::cast_slice(&rows.bytes()[first * rows.stride()..]),
                rows.stride(),
                width(dim),
                &query,
                sums,
            );
            for (i, &sum) in sums.iter().enumerate() {
                let row = first + i;
                let cosine = sum as f32 * scale * rows.scale(row);
                if cosine > best.floor && allowed.is_none_or(|allowed| allowed.has(row)) {
                    best.push(Candidate { row, cosine });
                }
            }
        }
        best
    };
    let shares = threads.clamp(1, count.div_ceil(SHARE).max(1));
    let share = count.div_ceil(shares).max(1);
    let mut best = Best::new(most);
    std::thread::scope(|scope| {
        let part = &part;
        let ranges = (1..shares).map(|i| (i * share).min(count)..((i + 1) * share).min(count));
        let others: Vec<_> = ranges.map(|range| scope.spawn(move || part(range))).collect();
        let own = part(0..share.min(count));
        let others =
            others.into_iter().map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        std::iter::once(own)
            .chain(others)
            .flat_map(|part| part.candidates)
            .for_each(|candidate| best.push(candidate));
    });
    best.cut();
    best.candidates
}

/// Scores candidates again and names them: the best first, those without a file left out. Gives also whether no other
/// candidate could be among them.
fn rescore(
    store: &Store,
    halves: &Rows,
    query: &Query,
    options: &SearchOptions,
    candidates: &[Candidate],
) -> Result<(Vec<Hit>, bool)> {
    let mut vector = vec![0.0; query.vector().len()];
    let mut scored = Vec::with_capacity(candidates.len());
    for &Candidate { row, .. } in candidates {
        halves.halves(row, &mut vector)?;
        scored.push((row, ocelli::score::dot(&vector, query.vector())));
    }
    scored.sort_by(|(row, a), (other, b)| b.total_cmp(a).then(row.cmp(other)));
    let (conditions, values) = options.filter.conditions()?;
    let statement = format!(
        "SELECT {COLUMNS} FROM pictures p JOIN files f ON f.picture = p.id WHERE p.row = ?{conditions} ORDER BY f.path"
    );
    let mut hits = Vec::new();
    for (row, similarity) in scored {
        if hits.len() == options.top_k || options.threshold.is_some_and(|threshold| similarity < threshold) {
            return Ok((hits, true));
        }
        let values = std::iter::once((row as i64).into()).chain(values.iter().cloned());
        let files = store.catalog.all(&statement, rusqlite::params_from_iter(values), read_entry)?;
        hits.extend(joined(files).map(|picture| Hit {
            similarity,
            score: similarity * query.length(),
            picture,
        }));
    }
    let enough = hits.len() == options.top_k;
    Ok((hits, enough))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_kept_whatever_their_order() {
        for order in [1, 7, 99] {
            let mut best = Best::new(5);
            for i in 0..100 {
                let row = i * order % 101;
                best.push(Candidate { row, cosine: row as f32 });
            }
            best.push(Candidate { row: 500, cosine: f32::NAN });
            best.cut();
            let mut rows: Vec<usize> = best.candidates.iter().map(|candidate| candidate.row).collect();
            rows.sort();
            let mut all: Vec<usize> = (0..100).map(|i| i * order % 101).collect();
            all.sort();
            assert_eq!(rows, all[95..]);
        }
    }

    #[test]
    fn dates_have_a_shape() {
        for right in ["2024", "2024-05", "2024-05-01", "2024-05-01 12:33"] {
            assert_eq!(date(right).unwrap(), right);
        }
        for wrong in ["", "24", "2024-5", "yesterday", "2024-05-01T12:33", "2024'"] {
            assert!(date(wrong).unwrap_err().to_string().contains("expected a date"), "{wrong}");
        }
    }
}
