//! One linear layer by itself, through the runtime's own kernels: what its quantized product differs from the f32 one.

use crate::codes::Codes;
use half::f16;
use half::slice::HalfFloatSliceExt;
use ocelli_kernels::pack::{NR, pack_float, pack_i8, packed_len, padded_k, padded_n, panels};
use ocelli_kernels::{
    Epilogue, Gemm, GemmScratch, Kernels, LhsMut, Mat, MatMut, Remainders, RowScale, Weights, WeightsFloat,
    WeightsI8,
};

/// The signal-to-noise ratio of a product without noise.
pub(super) const MOST_DECIBELS: f64 = 200.0;

/// How far a product is from the right one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Error {
    /// Sum of squares of the right product, bias not included.
    pub signal: f64,
    /// Sum of squares of the difference.
    pub noise: f64,
}

impl Error {
    /// Of `found` against `right`.
    pub(super) fn between(found: &[f32], right: &[f32]) -> Error {
        let mut error = Error::default();
        for (found, right) in found.iter().zip(right) {
            error.signal += f64::from(right * right);
            error.noise += f64::from((found - right) * (found - right));
        }
        error
    }

    /// Signal-to-noise ratio in decibels, within ±[`MOST_DECIBELS`], which stands for no noise (or no signal) at all.
    pub(super) fn snr(&self) -> f64 {
        let ratio = 10.0 * (self.signal / self.noise).log10();
        if self.noise > 0.0 { ratio.clamp(-MOST_DECIBELS, MOST_DECIBELS) } else { MOST_DECIBELS }
    }
}

/// `rows · Wᵀ` by f32 weights. `rows`: [rows, k]; `weights`: [n, k]; the result: [rows, n].
pub(super) fn product_f32(kernels: &Kernels, rows: &[f32], weights: &[f32], k: usize) -> Vec<f32> {
    let n = weights.len() / k;
    let mut packed = vec![0.0; packed_len(n, k)];
    pack_float(weights, 0, k, &mut packed);
    let weights = WeightsFloat::new(n, k, &packed).expect("packed to its length");
    multiply(kernels, rows, Weights::F32(weights))
}

/// `rows · Wᵀ` by weights rounded to f16.
pub(super) fn product_f16(kernels: &Kernels, rows: &[f32], weights: &[f32], k: usize) -> Vec<f32> {
    let n = weights.len() / k;
    let mut halves = vec![f16::ZERO; weights.len()];
    halves.convert_from_f32_slice(weights);
    let mut packed = vec![f16::ZERO; packed_len(n, k)];
    pack_float(&halves, 0, k, &mut packed);
    let weights = WeightsFloat::new(n, k, &packed).expect("packed to its length");
    multiply(kernels, rows, Weights::F16(weights))
}

/// `rows · Wᵀ` by int8 weights, the rows quantized as the runtime does.
pub(super) fn product_i8(kernels: &Kernels, rows: &[f32], codes: &Codes) -> Vec<f32> {
    let n = codes.scales.len();
    let k = codes.codes.len() / n;
    let mut packed = vec![0; packed_len(n, k)];
    pack_i8(&codes.codes, 0, k, &mut packed);
    let mut scales = codes.scales.clone();
    scales.resize(padded_n(n), 0.0);
    let sum = |row: &[i8]| row.iter().map(|&code| i32::from(code)).sum();
    let mut sums: Vec<i32> = codes.codes.chunks_exact(k).map(sum).collect();
    sums.resize(padded_n(n), 0);
    let weights = WeightsI8::new(n, k, &packed, &scales, &sums).expect("packed to its length");
    multiply(kernels, rows, Weights::I8(weights))
}

fn multiply(kernels: &Kernels, values: &[f32], weights: Weights<'_>) -> Vec<f32> {
    let (n, k) = (weights.n(), weights.k());
    let (format, rows) = (kernels.lhs_format(&weights), values.len() / k);
    // Of f32, which aligns it.
    let mut bytes = vec![0f32; format.bytes(rows, k).div_ceil(4)];
    let mut scales = vec![RowScale::default(); rows];
    let mut buffer = LhsMut::new(format, rows, k, bytemuck::cast_slice_mut(&mut bytes), &mut scales);
    let width = padded_k(k);
    let mut padded = vec![0.0; rows * width];
    for (padded, row) in padded.chunks_exact_mut(width).zip(values.chunks_exact(k)) {
        padded[..k].copy_from_slice(row);
    }
    kernels.pack_lhs(&mut buffer, &Mat::new(&padded, rows, width, width));
    let mut out = vec![0.0; rows * n];
    let mut scratch: Box<GemmScratch> = bytemuck::zeroed_box();
    let gemm = Gemm {
        lhs: buffer.as_lhs(),
        weights,
        bias: &[],
        epilogue: Epilogue::Store,
        remainders: Remainders::default(),
    };
    debug_assert_eq!(panels(n), n.div_ceil(NR));
    kernels.gemm(&gemm, 0..panels(n), &mut MatMut::new(&mut out, rows, n), &mut scratch);
    out
}
