//! The left operand of a GEMM, in the format that its kernel reads.
//!
//! Every producer (LayerNorm, attention, the activation function) computes a few rows of f32 and hands them to
//! [`RowsMut::write_tile`], which converts them. For int8 that is symmetric quantization per token: with
//! `scale = max|x| / 127`, `code = round_half_even(x / scale)`, so one outlier token costs no other token anything.

use crate::layout::{K_ALIGN, NR, padded_k};
use crate::matrix::Mat;
use crate::table::Kernels;
use core::ops::Range;
use half::f16;

/// Rows in a tile of int8 activations: 197 tokens of ViT-B/16 make 33 tiles with half a percent of waste, and 6 × 16
/// accumulators fit the registers of AVX2 and NEON.
pub const TILE_ROWS: usize = 6;

/// How int8 codes lie in a tile of [`TILE_ROWS`] rows: `[k/group][row][group]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum I8Format {
    /// i8 in groups of four: SDOT and NEON's widening multiplies.
    S8K4,
    /// i8 in groups of eight: SMMLA reads two rows as one register.
    S8K8,
    /// code + 128 as u8 in groups of four: `vpdpbusd`, whose left operand is unsigned.
    U8K4,
    /// Of every 16 `k`, a tile of `U8K4`, then the same of `S8K4`: `vpmaddubsw`, which takes now the one, now the other.
    BothK4,
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
            I8Format::BothK4 => 2,
            _ => 1,
        }
    }
}

/// How far `BothK4`'s signed codes lie behind its unsigned ones: a tile of 16 `k`.
pub(crate) const SIGNED_AT: usize = TILE_ROWS * K_ALIGN;

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
    ///
    /// # Panics
    /// If there are more than a `usize` holds.
    pub const fn bytes(self, rows: usize, k: usize) -> usize {
        match self {
            RowFormat::F32 => product(rows, float_stride(k), 4),
            RowFormat::F16 => product(rows, float_stride(k), 2),
            RowFormat::I8(format) => product(whole_tiles(rows), padded_k(k), format.bytes()),
        }
    }

    /// Bytes that any format needs at most.
    ///
    /// # Panics
    /// If there are more than a `usize` holds.
    pub const fn max_bytes(rows: usize, k: usize) -> usize {
        product(whole_tiles(rows), float_stride(k), 4)
    }
}

const fn whole_tiles(rows: usize) -> usize {
    rows.checked_next_multiple_of(TILE_ROWS).expect("rows fit usize")
}

const fn product(rows: usize, k: usize, bytes: usize) -> usize {
    rows.checked_mul(k).expect("rows fit memory").checked_mul(bytes).expect("rows fit memory")
}

/// Distance of two float rows in elements. Not `padded_k` alone: rows a multiple of 4 KB apart, as with k = 3072, would
/// share one set of the L1 cache.
///
/// # Panics
/// If that is more than a `usize` holds.
pub const fn float_stride(k: usize) -> usize {
    padded_k(k).checked_add(K_ALIGN).expect("k with its padding fits usize")
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

    /// Writes the tile of rows that starts at `first`, a multiple of [`TILE_ROWS`], or what exists of it, from the rows
    /// of `x` that start at `from`. `x` has `padded_k(k)` columns, those past `k` zero.
    ///
    /// # Panics
    /// If the tile lies outside, or `x` has other columns, too few rows, or blocks of no multiple of 16.
    pub fn write_tile(&mut self, kernels: &Kernels, first: usize, x: &Mat<'_>, from: usize) {
        let width = padded_k(self.k);
        assert!(first < self.rows && first.is_multiple_of(TILE_ROWS), "row {first} of {}", self.rows);
        assert_eq!(x.cols(), width, "columns of activations");
        let rows = TILE_ROWS.min(self.rows - first);
        assert!(from <= x.rows() && rows <= x.rows() - from, "{rows} rows from {from} of {}", x.rows());
        match self.format {
            RowFormat::F32 => {
                let to: &mut [f32] = bytemuck::cast_slice_mut(self.bytes);
                for row in 0..rows {
                    x.copy_row(from + row, 0, &mut to[(first + row) * float_stride(self.k)..][..width]);
                }
            }
            RowFormat::F16 => {
                let to: &mut [f16] = bytemuck::cast_slice_mut(self.bytes);
                for row in 0..rows {
                    let mut to = &mut to[(first + row) * float_stride(self.k)..][..width];
                    for piece in x.pieces(from + row, 0..width) {
                        let (now, rest) = to.split_at_mut(piece.len());
                        kernels.narrow_f16(piece, now);
                        to = rest;
                    }
                }
            }
            RowFormat::I8(format) => self.quantize_tile(kernels, format, first..first + rows, x, from),
        }
    }

    fn quantize_tile(
        &mut self,
        kernels: &Kernels,
        format: I8Format,
        rows: Range<usize>,
        x: &Mat<'_>,
        from: usize,
    ) {
        let (width, block) = (padded_k(self.k), x.block());
        let end = from + rows.len();
        let mut peaks = [[0.0; NR]; TILE_ROWS];
        for col in (0..width).step_by(block) {
            kernels.abs_max_rows(x.block_rows(from..end, col), block, &mut peaks);
            // The blocks are far apart: ask for the next tile's part of this one.
            x.prefetch(end..x.rows().min(end + TILE_ROWS), col);
        }
        let mut inverses = [0.0; TILE_ROWS];
        for ((peaks, inverse), to) in peaks.iter().zip(&mut inverses).zip(&mut self.scales[rows.clone()]) {
            let peak = peaks.iter().fold(0.0, |max: f32, &x| if x > max || x.is_nan() { x } else { max });
            // A row of zeros has no scale; any code times zero is right. NaN or infinity gives a NaN row.
            (*to, *inverse) = if peak > 0.0 { (peak / 127.0, 127.0 / peak) } else { (peak, 0.0) };
        }
        let step = TILE_ROWS * format.bytes();
        let tile = &mut self.bytes[rows.start * width * format.bytes()..][..width * step];
        for (col, to) in (0..width).step_by(block).zip(tile.chunks_exact_mut(block * step)) {
            kernels.quantize_tile(format, x.block_rows(from..end, col), block, &inverses, to);
        }
    }

    /// Writes every row from `x`, as [`write_tile`](Self::write_tile) does.
    ///
    /// # Panics
    /// As there.
    pub fn write_all(&mut self, kernels: &Kernels, x: &Mat<'_>) {
        (0..self.rows).step_by(TILE_ROWS).for_each(|first| self.write_tile(kernels, first, x, first));
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
        let present = &self.scales[first..self.rows.min(first + TILE_ROWS)];
        // Of a whole tile no copy of unknown length, for whose end the next loads would wait.
        present.try_into().unwrap_or_else(|_| {
            let mut scales = [0.0; TILE_ROWS];
            scales[..present.len()].copy_from_slice(present);
            scales
        })
    }
}
