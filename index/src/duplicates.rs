//! Pictures that show the same: near by their embeddings, confirmed by their perceptual hashes, in groups.

use crate::entries::Entry;
use crate::error::Result;
use crate::phash::distance;
use crate::store::Store;
use crate::vectors::{Element, width};
use ocelli_kernels::Kernels;
use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Rows that are compared with all others at once.
const QUERIES: usize = 16;
/// Rows that one call of the kernel scans: they are still in the L2 cache when their scales are looked at.
const CHUNK: usize = 128;
/// How far the cosine by int8 codes may be off.
const SLACK: f32 = 0.01;

/// What counts as the same.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct DuplicateOptions {
    /// Least cosine of the embeddings.
    pub similarity: f32,
    /// Most bits in which the perceptual hashes differ, of 64.
    pub distance: u32,
    /// Threads, at least one.
    pub threads: usize,
}

impl Default for DuplicateOptions {
    fn default() -> DuplicateOptions {
        DuplicateOptions { similarity: 0.9, distance: 14, threads: 1 }
    }
}

/// Files that show the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// At least two, the best first: of most pixels, then of most bytes, then the oldest.
    pub files: Vec<(PathBuf, Entry)>,
    /// The least cosine by which one of them was joined to another; 1 for copies.
    pub similarity: f32,
}

/// The groups of `store`, by the path of their best file.
///
/// # Errors
/// The store is damaged, or SQLite refuses.
pub fn duplicates(store: &Store, kernels: &Kernels, options: &DuplicateOptions) -> Result<Vec<Group>> {
    let read = || Ok((store.entries()?, store.map(Element::I8)?, store.map(Element::F16)?));
    let (entries, rows, halves) = store.reading(read)?;
    let dim = store.identity().dim;
    let mut by_row: Vec<Option<usize>> = vec![None; rows.len()];
    for (at, entry) in entries.iter().enumerate() {
        if let Some(place) = by_row.get_mut(entry.row as usize) {
            *place = Some(at);
        }
    }
    let groups = Mutex::new(Joined::new(entries.len()));
    let next = AtomicUsize::new(0);
    let confirm = |a: usize, b: usize, vectors: &mut [Vec<f32>; 2]| -> Result<()> {
        let (Some(first), Some(second)) = (by_row[a], by_row[b]) else { return Ok(()) };
        if distance(entries[first].facts.phash, entries[second].facts.phash) > options.distance {
            return Ok(());
        }
        halves.halves(a, &mut vectors[0])?;
        halves.halves(b, &mut vectors[1])?;
        let cosine = ocelli::score::dot(&vectors[0], &vectors[1]);
        if cosine >= options.similarity {
            groups.lock().expect("no thread panics while it holds it").join(first, second, cosine);
        }
        Ok(())
    };
    let work = || -> Result<()> {
        let mut vectors = [vec![0.0; dim], vec![0.0; dim]];
        let mut sums = vec![0; QUERIES * CHUNK];
        loop {
            let first = next.fetch_add(QUERIES, Ordering::Relaxed);
            let end = (first + QUERIES).min(by_row.len());
            let live: Vec<usize> = (first..end).filter(|&row| by_row[row].is_some()).collect();
            if first >= by_row.len() {
                return Ok(());
            }
            if live.is_empty() {
                continue;
            }
            let mut queries = Vec::with_capacity(QUERIES * width(dim));
            for &row in &live {
                queries.extend_from_slice(rows.codes(row)?);
            }
            for start in (first..by_row.len()).step_by(CHUNK) {
                let count = CHUNK.min(by_row.len() - start);
                let sums = &mut sums[..live.len() * count];
                let bytes = bytemuck::cast_slice(&rows.bytes()[start * rows.stride()..]);
                kernels.scan_i8(bytes, rows.stride(), width(dim), &queries, sums);
                for (&a, sums) in live.iter().zip(sums.chunks(count)) {
                    let least = (options.similarity - SLACK) / rows.scale(a);
                    for (i, &sum) in sums.iter().enumerate() {
                        let b = start + i;
                        if b > a && sum as f32 * rows.scale(b) >= least {
                            confirm(a, b, &mut vectors)?;
                        }
                    }
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..options.threads.max(1)).map(|_| scope.spawn(work)).collect();
        let own = work();
        others
            .into_iter()
            .map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .fold(own, Result::and)
    })?;
    let joined = groups.into_inner().expect("no thread panicked");
    Ok(joined.groups(&entries))
}

/// Entries in groups (Galler and Fischer, 1964).
struct Joined {
    parents: Vec<usize>,
    similarity: Vec<f32>,
}

impl Joined {
    fn new(count: usize) -> Joined {
        Joined { parents: (0..count).collect(), similarity: vec![1.0; count] }
    }

    fn root(&mut self, mut at: usize) -> usize {
        while self.parents[at] != at {
            self.parents[at] = self.parents[self.parents[at]];
            at = self.parents[at];
        }
        at
    }

    fn join(&mut self, a: usize, b: usize, similarity: f32) {
        let (a, b) = (self.root(a), self.root(b));
        // The smaller number stays: which thread came first makes no difference.
        let (root, child) = (a.min(b), a.max(b));
        if root != child {
            self.parents[child] = root;
            self.similarity[root] = self.similarity[root].min(self.similarity[child]).min(similarity);
        }
    }

    fn groups(mut self, entries: &[Entry]) -> Vec<Group> {
        let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for at in 0..entries.len() {
            members.entry(self.root(at)).or_default().push(at);
        }
        let mut groups: Vec<Group> = members
            .into_iter()
            .map(|(root, members)| {
                let files = members.into_iter().flat_map(|at| {
                    entries[at].paths.iter().map(move |path| (path.clone(), entries[at].clone()))
                });
                let mut files: Vec<(PathBuf, Entry)> = files.collect();
                files.sort_by_key(|(path, entry)| {
                    let (width, height) = entry.facts.size;
                    let pixels = u64::from(width) * u64::from(height);
                    (std::cmp::Reverse((pixels, entry.bytes)), entry.modified, path.clone())
                });
                Group { files, similarity: self.similarity[root] }
            })
            .filter(|group| group.files.len() > 1)
            .collect();
        groups.sort_by(|a, b| a.files[0].0.cmp(&b.files[0].0));
        groups
    }
}
