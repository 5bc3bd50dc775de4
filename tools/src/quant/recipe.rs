//! What is done to every tensor between the checkpoint and the packed file.

use super::precision::Precision;
use crate::codes::Codes;
use ocelli::format::{Dtype, Kind, TensorSpec};
use std::ops::Range;
use std::sync::Arc;

/// What is done to one tensor: `stored = value · row factor · column factor + offset`, as `dtype`.
#[derive(Clone, Debug, PartialEq)]
pub struct Treatment {
    /// Element type in the packed file.
    pub dtype: Dtype,
    /// Largest int8 code.
    pub magnitude: i8,
    /// One per row; powers of two, so that folding them in rounds nothing.
    pub rows: Option<Vec<f32>>,
    /// One per column; powers of two.
    pub columns: Option<Vec<f32>>,
    /// One per element of a vector: what bias correction adds.
    pub offset: Option<Vec<f32>>,
    /// int8 codes of the treated values, where they were chosen with more care than by rounding.
    pub codes: Option<Arc<Codes>>,
}

impl Treatment {
    /// Treats `rows` of the tensor in place; they have `k` elements each.
    pub fn apply(&self, rows: Range<usize>, k: usize, values: &mut [f32]) {
        if let Some(factors) = &self.rows {
            for (row, factor) in values.chunks_exact_mut(k).zip(&factors[rows.clone()]) {
                row.iter_mut().for_each(|value| *value *= factor);
            }
        }
        if let Some(factors) = &self.columns {
            for row in values.chunks_exact_mut(k) {
                row.iter_mut().zip(factors).for_each(|(value, factor)| *value *= factor);
            }
        }
        if let Some(offset) = &self.offset {
            values.iter_mut().zip(&offset[rows]).for_each(|(value, offset)| *value += offset);
        }
    }
}

/// A treatment for every tensor of a model, in the order of the packed file.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// One per tensor.
    pub tensors: Vec<Treatment>,
}

impl Recipe {
    /// Every tensor in the type that `precision` gives it, and otherwise as it is.
    pub fn plain(demands: &[TensorSpec], precision: Precision) -> Recipe {
        let weights = |part: &str| -> usize {
            let of_part = demands.iter().filter(|demand| demand.kind == Kind::Matrix);
            of_part
                .filter(|demand| demand.name.as_str().contains(part))
                .map(|demand| demand.n * demand.k)
                .sum()
        };
        // In half precision it then costs 2 % of the image tower's time at most.
        let costly_patches = 100 * weights("patch_embed.") > weights("vision.");
        let treatment = |demand: &TensorSpec| Treatment {
            dtype: precision.dtype(demand.name.as_str(), demand.kind, costly_patches),
            magnitude: precision.magnitude(demand.kind),
            rows: None,
            columns: None,
            offset: None,
            codes: None,
        };
        Recipe { tensors: demands.iter().map(treatment).collect() }
    }

    /// Multiplies the rows `range` of tensor `i` by `factors`.
    pub fn scale_rows(
        &mut self,
        i: usize,
        n: usize,
        range: Range<usize>,
        factors: impl Iterator<Item = f32>,
    ) {
        let rows = self.tensors[i].rows.get_or_insert_with(|| vec![1.0; n]);
        rows[range].iter_mut().zip(factors).for_each(|(row, factor)| *row *= factor);
        self.tensors[i].codes = None;
    }

    /// Multiplies the columns of tensor `i` by `factors`.
    pub fn scale_columns(&mut self, i: usize, factors: &[f32]) {
        let columns = self.tensors[i].columns.get_or_insert_with(|| vec![1.0; factors.len()]);
        columns.iter_mut().zip(factors).for_each(|(column, factor)| *column *= factor);
        self.tensors[i].codes = None;
    }
}
