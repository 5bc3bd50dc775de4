//! The left operand of a GEMM, in the format that its kernel reads.
//!
//! Every producer (LayerNorm, attention, the activation function) computes one row of f32 at a time and hands it to
//! [`RowsMut::write_row`], which converts it. For int8 that is symmetric quantization per token: with
//! `scale = max|x| / 127`, `code = round_half_even(x / scale)`, so one outlier token costs no other token anything.

use crate::layout::{K_ALIGN, padded_k};
use crate::table::Kernels;
use core::ops::Range;
use half::f16;

/// Rows in a tile of int8 activations: 197 tokens of ViT-B/16 make 33 tiles with half a percent of waste, and 6 × 16
/// accumulators fit the registers of AVX2 and NEON.
pub const TILE_ROWS: usize = 6;

/// How int8 codes lie in a tile of [`TILE_ROWS`] rows: `[k/group][row][group]`, elements as named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum I8Format {
    /// i8 in groups of four: SDOT and NEON's widening multiplies.
    S8K4,
    /// i8 in groups of eight: SMMLA reads two rows as one register.
    S8K8,
    /// code + 128 as u8 in groups of four: `vpmaddubsw` and `vpdpbusd`, whose left operand is unsigned. The kernel's
    /// sums are 128 × (sum of the weights) too large.
    U8K4,
    /// i16 in groups of four: `vpmaddwd`.
    S16K4,
}

impl I8Format {
    /// Consecutive `k` of one row.
    pub const fn group(self) -> usize {
        match self {
            I8Format::S8K8 => 8,
            _ => 4,
        }
    }

    /// Bytes of one code.
    pub const fn bytes(self) -> usize {
        match self {
            I8Format::S16K4 => 2,
            _ => 1,
        }
    }

    /// What was added to each code.
    pub const fn offset(self) -> i32 {
        match self {
            I8Format::U8K4 => 128,
            _ => 0,
        }
    }
}

/// The format of a GEMM's left operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowFormat {
    /// Rows of f32, [`float_stride`] apart.
    F32,
    /// Rows of f16, [`float_stride`] apart.
    F16,
    /// Tiles of int8 codes and one scale per row.
    I8(I8Format),
}

impl RowFormat {
    /// Bytes that `rows` rows of `k` elements take.
    pub const fn bytes(self, rows: usize, k: usize) -> usize {
        match self {
            RowFormat::F32 => rows * float_stride(k) * 4,
            RowFormat::F16 => rows * float_stride(k) * 2,
            RowFormat::I8(format) => rows.next_multiple_of(TILE_ROWS) * padded_k(k) * format.bytes(),
        }
    }

    /// Bytes that any format needs at most.
    pub const fn max_bytes(rows: usize, k: usize) -> usize {
        rows.next_multiple_of(TILE_ROWS) * float_stride(k) * 4
    }
}

/// Distance of two float rows in elements. Not `padded_k` alone: rows a multiple of 4 KB apart, as with k = 3072, would
/// share one set of the L1 cache.
pub const fn float_stride(k: usize) -> usize {
    padded_k(k) + K_ALIGN
}

/// Rows of activations that a GEMM reads.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    pub(crate) format: RowFormat,
    pub(crate) rows: usize,
    pub(crate) k: usize,
    pub(crate) bytes: &'a [u8],
    pub(crate) scales: &'a [f32],
}

/// Rows of activations that a producer writes.
#[derive(Debug)]
pub struct RowsMut<'a> {
    format: RowFormat,
    rows: usize,
    k: usize,
    bytes: &'a mut [u8],
    scales: &'a mut [f32],
}

impl<'a> RowsMut<'a> {
    /// `rows` rows of `k` elements in `bytes` (aligned to 4) and, one per row, `scales`.
    ///
    /// # Panics
    /// If either is too short, or `bytes` is misaligned.
    pub fn new(
        format: RowFormat,
        rows: usize,
        k: usize,
        bytes: &'a mut [u8],
        scales: &'a mut [f32],
    ) -> RowsMut<'a> {
        let bytes = &mut bytes[..format.bytes(rows, k)];
        assert!(bytes.as_ptr().addr().is_multiple_of(4), "activations start at a multiple of 4 bytes");
        RowsMut { format, rows, k, bytes, scales: &mut scales[..rows] }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Cuts off the rows from `at` on. `at` must be a multiple of [`TILE_ROWS`] or the number of rows.
    ///
    /// # Panics
    /// If it is not.
    pub fn split_at_row(self, at: usize) -> (RowsMut<'a>, RowsMut<'a>) {
        assert!(
            at == self.rows || (at < self.rows && at.is_multiple_of(TILE_ROWS)),
            "row {at} splits a tile"
        );
        let (format, k) = (self.format, self.k);
        let (first, second) = self.bytes.split_at_mut(format.bytes(at, k));
        let (first_scales, second_scales) = self.scales.split_at_mut(at);
        (
            RowsMut { format, rows: at, k, bytes: first, scales: first_scales },
            RowsMut { format, rows: self.rows - at, k, bytes: second, scales: second_scales },
        )
    }

    /// Writes row `row` from `values`: `padded_k(k)` f32, those past `k` zero.
    ///
    /// # Panics
    /// If the row lies outside or `values` has another length.
    pub fn write_row(&mut self, kernels: &Kernels, row: usize, values: &[f32]) {
        let (width, stride) = (padded_k(self.k), float_stride(self.k));
        assert!(row < self.rows && values.len() == width, "row {row} of {}: {}", self.rows, values.len());
        match self.format {
            RowFormat::F32 => {
                let rows: &mut [f32] = bytemuck::cast_slice_mut(self.bytes);
                rows[row * stride..][..width].copy_from_slice(values);
            }
            RowFormat::F16 => {
                let rows: &mut [f16] = bytemuck::cast_slice_mut(self.bytes);
                kernels.narrow_f16(values, &mut rows[row * stride..][..width]);
            }
            RowFormat::I8(format) => {
                let peak = kernels.abs_max(values);
                // A row of zeros has no scale; any code times zero is right. NaN or infinity gives a NaN row.
                let (scale, inverse) = if peak > 0.0 { (peak / 127.0, 127.0 / peak) } else { (peak, 0.0) };
                self.scales[row] = scale;
                let tile = row / TILE_ROWS * TILE_ROWS * width * format.bytes();
                let group = format.group() * format.bytes();
                let first = tile + row % TILE_ROWS * group;
                kernels.quantize_row(format, values, inverse, &mut self.bytes[first..]);
            }
        }
    }

    /// The rows for reading.
    pub fn as_rows(&self) -> Rows<'_> {
        Rows { format: self.format, rows: self.rows, k: self.k, bytes: self.bytes, scales: self.scales }
    }
}

impl<'a> Rows<'a> {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The k values of row `row`, if rows are f32.
    ///
    /// # Panics
    /// If the row lies outside.
    pub fn row_f32(&self, row: usize) -> Option<&'a [f32]> {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        let values = (self.format == RowFormat::F32).then(|| bytemuck::cast_slice(self.bytes))?;
        Some(&values[row * float_stride(self.k)..][..self.k])
    }

    /// Steps `span` of the int8 tile that starts at row `first`.
    pub(crate) fn tile_codes(&self, format: I8Format, first: usize, span: Range<usize>) -> &'a [u8] {
        let step = TILE_ROWS * format.bytes();
        let tile = first * padded_k(self.k) * format.bytes();
        &self.bytes[tile + span.start * step..tile + span.end * step]
    }

    /// The scales of that tile's rows, the missing ones zero.
    pub(crate) fn tile_scales(&self, first: usize) -> [f32; TILE_ROWS] {
        let mut scales = [0.0; TILE_ROWS];
        let present: Range<usize> = first..self.rows.min(first + TILE_ROWS);
        scales[..present.len()].copy_from_slice(&self.scales[present]);
        scales
    }
}
