//! Small versions of photos, kept in memory.

use super::photos::Hash;
use super::problem::Problem;
use crate::index::thumbnail::{Failed, Thumbnail};
use axum::body::Bytes;
use axum::http::StatusCode;
use lru::LruCache;
use ocelli::Runtime;
use ocelli::preprocess::decode::Limits;
use ocelli_index::Entry;
use std::sync::{Mutex, PoisonError};

/// Most pixels of a thumbnail's side.
pub(super) const SIDE: u32 = 320;
/// Most bytes of all thumbnails that are kept.
const MOST: usize = 32 << 20;

/// Thumbnails that were asked for lately.
pub(super) struct Thumbnails(Mutex<Kept>);

struct Kept {
    files: LruCache<Hash, Bytes>,
    /// Of all files together.
    bytes: usize,
    most: usize,
}

impl Default for Thumbnails {
    fn default() -> Thumbnails {
        Thumbnails(Mutex::new(Kept::new(MOST)))
    }
}

impl Thumbnails {
    pub(super) fn get(&self, hash: &Hash) -> Option<Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).files.get(hash).cloned()
    }

    /// Keeps a thumbnail; those that nobody asked for the longest make room.
    pub(super) fn put(&self, hash: Hash, jpeg: Bytes) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).put(hash, jpeg);
    }
}

impl Kept {
    fn new(most: usize) -> Kept {
        Kept { files: LruCache::unbounded(), bytes: 0, most }
    }

    fn put(&mut self, hash: Hash, jpeg: Bytes) {
        self.bytes += jpeg.len();
        // Two requests may have made the same one.
        self.bytes -= self.files.put(hash, jpeg).map_or(0, |before| before.len());
        while self.bytes > self.most {
            let Some((_, oldest)) = self.files.pop_lru() else { break };
            self.bytes -= oldest.len();
        }
    }
}

/// The photo, upright, as a JPEG of at most [`SIDE`] pixels per side.
pub(super) fn thumbnail(photo: &Entry, limits: Limits, runtime: &Runtime) -> Result<Vec<u8>, Problem> {
    let made = Thumbnail::of(photo, SIDE, limits, runtime).and_then(|thumbnail| thumbnail.jpeg());
    made.map_err(|failed| match failed {
        Failed::Unreadable(reason) => Problem::new(StatusCode::NOT_FOUND, reason),
        Failed::Broken(reason) => Problem::broken(reason),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_kept_than_planned() {
        let mut kept = Kept::new(100);
        let hash = |number: u8| [number; 16];
        (1..=3).for_each(|number| kept.put(hash(number), vec![number; 40].into()));
        assert_eq!((kept.bytes, kept.files.len()), (80, 2));
        assert!(kept.files.get(&hash(1)).is_none() && kept.files.get(&hash(2)).is_some());
        // The third was not asked for since.
        kept.put(hash(4), vec![4; 40].into());
        assert!(kept.files.get(&hash(3)).is_none() && kept.files.get(&hash(2)).is_some());
        kept.put(hash(4), vec![4; 50].into());
        assert_eq!(kept.bytes, 90);
        kept.put(hash(5), vec![5; 101].into());
        assert_eq!((kept.bytes, kept.files.len()), (0, 0));
    }
}
