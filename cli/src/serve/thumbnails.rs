//! Small versions of photos, kept in memory.

use super::photos::Hash;
use super::problem::Problem;
use axum::body::Bytes;
use axum::http::StatusCode;
use libjpeg_turbo_rs::{PixelFormat, Subsampling, compress};
use lru::LruCache;
use ocelli::format::{Alpha, CropRounding, Filter, Resampler, ResizeMode};
use ocelli::preprocess::decode::{self, Limits};
use ocelli::preprocess::{FrameSpec, PixelView, ResizePlan, Resizer, Tables, Window};
use ocelli::{Result, Runtime};
use ocelli_index::Entry;
use std::sync::{Mutex, PoisonError};

/// Most pixels of a thumbnail's side.
pub(super) const SIDE: u32 = 320;
const QUALITY: u8 = 82;
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
    let unreadable = |reason: String| Problem::new(StatusCode::NOT_FOUND, reason);
    if photo.bytes > limits.memory() {
        return Err(unreadable("the photo is larger than is decoded here".into()));
    }
    let file = photo.read().map_err(|error| unreadable(error.to_string()))?;
    let mut options = decode::Options::default();
    options.limits = limits;
    options.fast_for = Some(frame(photo.facts.size));
    let decoded = decode::decode(&file, &options);
    let decoded =
        decoded.map_err(|error| unreadable(format!("the photo cannot be decoded any more: {error}")))?;
    drop(file);
    let frame = frame(decoded.full_size());
    let pixels = resized(&decoded.view(), frame, runtime).map_err(|error| Problem::of_server(&error))?;
    let (width, height) = (frame.width as usize, frame.height as usize);
    compress(&pixels, width, height, PixelFormat::Rgb, QUALITY, Subsampling::S420)
        .map_err(|error| Problem::broken(format!("cannot make a JPEG of {width}x{height} pixels: {error}")))
}

/// The whole picture of `width` × `height` in at most [`SIDE`] pixels per side, never enlarged.
fn frame((width, height): (u32, u32)) -> FrameSpec {
    let longest = u64::from(width.max(height).max(1));
    let most = longest.min(u64::from(SIDE));
    // To the nearest whole pixel, and at least one.
    let side = |side: u32| ((u64::from(side) * most + longest / 2) / longest).max(1) as u32;
    FrameSpec {
        mode: ResizeMode::Squash,
        filter: Filter::Bicubic,
        resampler: Resampler::Pillow,
        crop_rounding: CropRounding::Down,
        alpha: Alpha::White,
        shortest: side(width).min(side(height)),
        height: side(height),
        width: side(width),
    }
}

/// `view` as the RGB pixels of `frame`.
fn resized(view: &PixelView<'_>, frame: FrameSpec, runtime: &Runtime) -> Result<Vec<u8>> {
    let plan = ResizePlan::for_picture(frame, view.width(), view.height())?;
    let memory = plan.memory();
    let (mut coefficients, mut windows) =
        (vec![0; memory.coefficients], vec![Window::default(); memory.windows]);
    let mut tables = Tables { coefficients: &mut coefficients, windows: &mut windows };
    let (mut scratch, mut pixels) = (vec![0; memory.scratch], vec![0; frame.frame_len()]);
    let mut resizer = Resizer::new(plan, *runtime.kernels());
    resizer.prepare(view, &mut tables)?;
    resizer.resize_rows(view, &tables, 0..frame.height as usize, &mut scratch, &mut pixels)?;
    Ok(pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbnail_has_the_shape_of_its_photo() {
        for (photo, thumbnail) in [
            ((4000, 3000), (320, 240)),
            ((3000, 4000), (240, 320)),
            ((600, 400), (320, 213)),
            ((32, 20), (32, 20)),
            ((320, 320), (320, 320)),
            ((65_535, 3), (320, 1)),
            ((1, 1), (1, 1)),
        ] {
            let FrameSpec { width, height, .. } = frame(photo);
            assert_eq!((width, height), thumbnail, "{photo:?}");
        }
    }

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
