//! Views of packed weights, checked once where they are made.

use super::rhs::{K_MAX_I8, NR, checked_packed_len};
use half::f16;

/// A packed int8 matrix with one scale per output channel: `w ≈ code · scale`.
#[derive(Clone, Copy, Debug)]
pub struct WeightsI8<'a> {
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) codes: &'a [i8],
    pub(crate) scales: &'a [f32],
    pub(crate) sums: &'a [i32],
    /// What [`Kernels::find_order`](crate::Kernels::find_order) found, or empty.
    pub(crate) order: &'a [u8],
}

/// A packed f16 or f32 matrix.
#[derive(Clone, Copy, Debug)]
pub struct WeightsFloat<'a, T> {
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) values: &'a [T],
}

/// The packed weights of one linear layer, `n` output channels × `k` inputs (see [`pack`](crate::pack)).
#[derive(Clone, Copy, Debug)]
pub enum Weights<'a> {
    /// int8 codes with a scale per channel.
    I8(WeightsI8<'a>),
    /// IEEE half precision.
    F16(WeightsFloat<'a, f16>),
    /// Single precision.
    F32(WeightsFloat<'a, f32>),
}

impl<'a> WeightsI8<'a> {
    /// `codes`: the packed matrix; `scales` and `sums`: one per channel, padded to a multiple of 16; `sums` holds the
    /// sum of each channel's codes. Any values will do: they decide the result, never which memory is read. `None` if a
    /// length does not fit, or `k` is 0 or larger than [`K_MAX_I8`](crate::pack::K_MAX_I8).
    pub fn new(n: usize, k: usize, codes: &'a [i8], scales: &'a [f32], sums: &'a [i32]) -> Option<Self> {
        let channels = n.checked_next_multiple_of(NR)?;
        let fits = checked_packed_len(n, k) == Some(codes.len())
            && scales.len() == channels
            && sums.len() == channels
            && (1..=K_MAX_I8).contains(&k);
        fits.then_some(WeightsI8 { n, k, codes, scales, sums, order: &[] })
    }

    /// The same with what [`Kernels::find_order`](crate::Kernels::find_order) found for all panels of these weights, which
    /// every GEMM must find anew otherwise. With that of other weights, the products are wrong.
    #[must_use]
    pub fn with_order(self, order: &'a [u8]) -> Self {
        WeightsI8 { order, ..self }
    }

    /// The scales of panel `panel`.
    pub(crate) fn panel_scales(&self, panel: usize) -> &'a [f32; NR] {
        self.scales[panel * NR..].first_chunk().expect("padded to whole panels")
    }

    /// The code sums of panel `panel`.
    pub(crate) fn panel_sums(&self, panel: usize) -> &'a [i32; NR] {
        self.sums[panel * NR..].first_chunk().expect("padded to whole panels")
    }
}

impl<'a, T> WeightsFloat<'a, T> {
    /// `values`: the packed matrix. `None` if its length does not fit, or `k` is 0.
    pub fn new(n: usize, k: usize, values: &'a [T]) -> Option<Self> {
        (checked_packed_len(n, k) == Some(values.len()) && k > 0).then_some(WeightsFloat { n, k, values })
    }
}

impl Weights<'_> {
    /// Output channels.
    pub fn n(&self) -> usize {
        match self {
            Weights::I8(w) => w.n,
            Weights::F16(w) => w.n,
            Weights::F32(w) => w.n,
        }
    }

    /// Where the packed values lie in memory: tells the matrices of a model apart.
    pub fn address(&self) -> usize {
        match self {
            Weights::I8(w) => w.codes.as_ptr().addr(),
            Weights::F16(w) => w.values.as_ptr().addr(),
            Weights::F32(w) => w.values.as_ptr().addr(),
        }
    }

    /// Inputs.
    pub fn k(&self) -> usize {
        match self {
            Weights::I8(w) => w.k,
            Weights::F16(w) => w.k,
            Weights::F32(w) => w.k,
        }
    }
}
