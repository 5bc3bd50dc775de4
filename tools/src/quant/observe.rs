//! What every matrix of the f32 model is multiplied by: statistics over all rows, and a sample of them.

use super::calibration::{Calibration, split};
use super::canonical::Canonical;
use crate::encoders::{image_encoder, text_encoder};
use crate::error::Result;
use ocelli::vision::Layer;
use ocelli::{Input, Model, Watch};
use ocelli_kernels::{Lhs, Remainders, Weights};
use std::cell::RefCell;
use std::sync::Arc;

/// Rows of a matrix's sample, spread evenly over the pictures, unless memory sets a limit.
const ROWS: usize = 2048;
/// What a row that the embedding is read from counts next to another: nothing averages its errors.
const READ: f32 = 16.0;
/// Bytes that all samples together may take.
const BYTES: usize = 3 << 29;

/// The inputs of one matrix.
#[derive(Clone, Debug, Default)]
pub(super) struct Inputs {
    /// Number of inputs.
    pub k: usize,
    /// The largest magnitude of each input over all rows.
    pub peak: Vec<f32>,
    /// Sum of squares of each input over all rows.
    pub squares: Vec<f64>,
    /// All rows that were seen.
    pub seen: u64,
    /// A sample of rows, [rows, k].
    pub sample: Vec<f32>,
    /// What each row of the sample counts: 1, or [`READ`] where the embedding is read from it.
    pub counts: Vec<f32>,
    /// Calls of the model that ran this matrix.
    pub calls: u64,
}

impl Inputs {
    /// Mean square of each input.
    pub(super) fn importance(&self) -> Vec<f32> {
        self.squares.iter().map(|sum| (sum / self.seen.max(1) as f64) as f32).collect()
    }

    /// Rows of a call, on average: what a call costs.
    pub(super) fn rows_per_call(&self) -> f64 {
        self.seen as f64 / self.calls.max(1) as f64
    }

    fn add(&mut self, k: usize, rows: &Lhs<'_>, read: Remainders, take: usize) {
        if self.k == 0 {
            *self = Inputs { k, peak: vec![0.0; k], squares: vec![0.0; k], ..Inputs::default() };
        }
        let count = rows.rows();
        for row in (0..count).filter_map(|row| rows.row_f32(row)) {
            for ((value, peak), sum) in row.iter().zip(&mut self.peak).zip(&mut self.squares) {
                *peak = peak.max(value.abs());
                *sum += f64::from(value * value);
            }
        }
        // Those that the embedding is read from, and others evenly.
        let (take, group) = (take.min(count), count / read.count.max(1));
        let read: Vec<usize> = (0..read.count).map(|i| i * group + read.row).collect();
        let others = (0..take).map(|i| i * count / take).filter(|row| !read.contains(row));
        for (row, counts) in read.iter().map(|&row| (row, READ)).chain(others.map(|row| (row, 1.0))) {
            self.sample.extend(rows.row_f32(row).into_iter().flatten());
            self.counts.push(counts);
        }
        self.seen += count as u64;
        self.calls += 1;
    }

    /// Multiplies the inputs by powers of two, as a folded scale does.
    pub(super) fn scale(&mut self, factors: &[f32]) {
        self.peak.iter_mut().zip(factors).for_each(|(peak, factor)| *peak *= factor);
        let squares = self.squares.iter_mut().zip(factors);
        squares.for_each(|(sum, factor)| *sum *= f64::from(factor * factor));
        for row in self.sample.chunks_exact_mut(self.k.max(1)) {
            row.iter_mut().zip(factors).for_each(|(value, factor)| *value *= factor);
        }
    }
}

/// Runs the pictures and texts that are for fitting through `model`, whose weights are all f32. The result has an entry
/// for every tensor, empty for those that are no matrices.
///
/// # Errors
/// What the runtime refuses.
pub(super) fn observe(
    canonical: &Canonical<'_>,
    model: &Arc<Model>,
    calibration: &Calibration,
    step: &mut dyn FnMut(),
) -> Result<Vec<Inputs>> {
    let columns: usize = canonical.matrices().map(|i| canonical.demands[i].k).sum();
    let rows = ROWS.min(BYTES / (4 * columns.max(1))).max(64);
    // A matrix is recognised by where it lies in memory.
    let places: Vec<(usize, usize)> = canonical
        .matrices()
        .map(|i| {
            let weights = model.file().weights(canonical.demands[i].name.as_str())?;
            Ok((weights.address(), i))
        })
        .collect::<Result<_>>()?;
    let inputs = RefCell::new(vec![Inputs::default(); canonical.demands.len()]);
    let tap_with = |take: usize| {
        let (inputs, places) = (&inputs, &places);
        move |weights: &Weights<'_>, rows: &Lhs<'_>, read: Remainders| {
            let at = weights.address();
            if let Some((_, i)) = places.iter().find(|(known, _)| *known == at) {
                inputs.borrow_mut()[*i].add(weights.k(), rows, read, take);
            }
        }
    };
    let (frames, texts) = (split(&calibration.frames).0, split(&calibration.texts).0);
    if model.file().has_vision() {
        let mut encoder = image_encoder(model)?;
        let mut out = vec![0.0; encoder.embed_dim()];
        let tap = tap_with(rows.div_ceil(frames.len()));
        for frame in frames {
            frame.show(&mut encoder)?;
            encoder.encode_watched(Input::Frames(1), Layer::Projected, &mut out, Watch::operands(&tap))?;
            step();
        }
    }
    if !texts.is_empty() {
        let mut encoder = text_encoder(model)?;
        let mut out = vec![0.0; encoder.embed_dim()];
        let tap = tap_with(rows.div_ceil(texts.len()));
        for ids in texts {
            encoder.encode_ids(ids, &mut out, Watch::operands(&tap))?;
            step();
        }
    }
    Ok(inputs.into_inner())
}
