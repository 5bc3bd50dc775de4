//! How a GEMM is cut, and the memory in which its unfinished parts wait.

use crate::pack::NR;
use crate::prefetch::Ahead;
use crate::table::{KC_F32, REPACKED_BYTES};
use bytemuck::{Pod, Zeroable};
use core::ops::Range;

/// Most RHS panels that a micro-kernel multiplies at once.
pub(super) const MAX_PANELS: usize = 2;

/// Rows whose unfinished sums the scratch holds, with those of `MAX_PANELS` panels: about as many as ViT-B/16 has.
pub(super) const MC: usize = 256;
/// Sums of so many rows and panels.
pub(super) const BLOCK_SUMS: usize = MC * MAX_PANELS * NR;
/// Blocks of int8 sums that wait at once. While a span of the activations is multiplied by so many times as many panels, it
/// stays in an L2 of 512 KB, which those of a whole hidden layer (197 rows of 3072: 600 or 1200 KB) do not fit into.
pub(super) const BLOCKS: usize = 4;
/// Room for unfinished sums.
pub(super) const SUMS: usize = BLOCKS * BLOCK_SUMS;

/// Room for RHS panels in another form.
const PANELS: usize = REPACKED_BYTES / size_of::<f32>();
const _: () = assert!(MAX_PANELS * KC_F32 * NR <= PANELS);

/// Working memory of one thread: 160 KB.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct GemmScratch {
    /// RHS panels in the form that the micro-kernel reads: widened f16, or repacked int8.
    pub(super) panels: [f32; PANELS],
    /// f32, or i32 where the weights are int8.
    pub(super) sums: [f32; SUMS],
}

impl core::fmt::Debug for GemmScratch {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("GemmScratch").finish_non_exhaustive()
    }
}

/// `panels` in groups of `step`; the last may be smaller.
pub(super) fn panel_groups(panels: Range<usize>, step: usize) -> impl Iterator<Item = Range<usize>> {
    panels.clone().step_by(step).map(move |first| first..panels.end.min(first + step))
}

/// `rows` in blocks of at most `most`, which is at least `mr`, and a multiple of `mr`.
pub(super) fn row_blocks(
    rows: usize,
    most: usize,
    mr: usize,
) -> impl DoubleEndedIterator<Item = Range<usize>> {
    let step = most / mr * mr;
    (0..rows).step_by(step).map(move |first| first..rows.min(first + step))
}

/// The next weights that will be read after steps `span` of `panels`: the same panels' next steps, or the first ones of the
/// panels after them, which may not exist.
pub(super) fn next(panels: &Range<usize>, k: usize, span: &Range<usize>) -> (Range<usize>, Range<usize>) {
    let (first, start) = if span.end < k { (panels.start, span.end) } else { (panels.end, 0) };
    (first..first + panels.len(), start..k.min(start + span.len()))
}

/// The weights of steps `span` of `panels`, as far as they exist, to be prefetched in so many parts.
pub(super) fn ahead<'w, T: Pod>(
    weights: &'w [T],
    k: usize,
    (panels, span): (Range<usize>, Range<usize>),
    parts: usize,
) -> [Ahead<'w>; MAX_PANELS] {
    core::array::from_fn(|i| {
        let panel = (panels.start + i) * k;
        let there = i < panels.len();
        let weights = weights.get((panel + span.start) * NR..(panel + span.end) * NR).filter(|_| there);
        Ahead::new(weights.unwrap_or_default(), parts)
    })
}
