//! The left operand of a GEMM: rows of activations, in the format that its micro-kernel reads.
//!
//! Float rows lie one after the other, [`float_stride`] apart. int8 rows are packed in panels of [`MR`]: for each group
//! of consecutive `k`, the group's codes of the first row, then of the second, ... Every row has a scale and a zero point,
//! `x ≈ (code − zero_point) · scale`; [`Kernels::pack_lhs`](crate::Kernels::pack_lhs) writes codes and both.

use super::rhs::{K_ALIGN, padded_k};
use bytemuck::{Pod, Zeroable};
use core::ops::Range;

/// Rows in a panel of int8 activations: 197 tokens of ViT-B/16 make 33 panels with half a percent of waste, and 6 × 16
/// sums fit the registers of AVX2 and NEON.
pub const MR: usize = 6;

/// How the codes of an int8 row are to be read: `x ≈ (code − zero_point) · scale`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct RowScale {
    /// The step between two codes.
    pub scale: f32,
    /// The code that stands for 0, within ±127.
    pub zero_point: i32,
}

/// How int8 codes lie in a panel of [`MR`] rows: `[k/group][row][group]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LhsCodes {
    /// i8 in groups of four: SDOT.
    S8K4,
    /// i8 in groups of eight: SMMLA reads two rows as one register.
    S8K8,
    /// i8 in groups of sixteen: NEON's widening multiplies.
    S8K16,
    /// code + 128 as u8 in groups of four: `vpdpbusd`, whose left operand is unsigned.
    U8K4,
    /// i8, rows one after the other: tile registers, which hold 64 `k` of more rows than a panel has.
    S8Rows,
    /// Of every 16 `k`, what `U8K4` holds, then what `S8K4` holds: AVX2's micro-kernel reads now the one, now the other.
    BothK4,
}

impl LhsCodes {
    /// Consecutive `k` of one row that are read at once.
    pub const fn group(self) -> usize {
        match self {
            LhsCodes::S8Rows => 64,
            LhsCodes::S8K8 => 8,
            LhsCodes::S8K16 => 16,
            _ => 4,
        }
    }

    /// Bytes of one code.
    pub const fn bytes(self) -> usize {
        match self {
            LhsCodes::BothK4 => 2,
            _ => 1,
        }
    }

    /// Bytes of a row of `k` codes. Where rows lie one after the other, what is read past `k` is the row's own, and one more
    /// cache line keeps rows from being a multiple of 4 KB apart.
    pub(crate) const fn row_bytes(self, k: usize) -> usize {
        match self {
            LhsCodes::S8Rows => match k.checked_next_multiple_of(self.group()) {
                Some(k) => k.checked_add(64).expect("k with its padding fits usize"),
                None => panic!("k with its padding fits usize"),
            },
            _ => product(padded_k(k), self.bytes(), 1),
        }
    }

    /// Where step `k` of a panel begins.
    pub(crate) const fn step(self, k: usize) -> usize {
        match self {
            LhsCodes::S8Rows => k,
            _ => k * MR * self.bytes(),
        }
    }

    /// Bytes from the first to the last code of `width` steps of a panel, whose rows lie `stride` apart if they lie one
    /// after the other.
    pub(crate) const fn reach(self, width: usize, stride: usize) -> usize {
        match self {
            LhsCodes::S8Rows => (MR - 1) * stride + width,
            _ => self.step(width),
        }
    }
}

/// How far `BothK4`'s signed codes lie behind its unsigned ones: 16 `k` of a panel.
pub(crate) const SIGNED_OFFSET: usize = MR * K_ALIGN;

/// The format of a GEMM's left operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LhsFormat {
    /// Rows of f32, [`float_stride`] apart.
    F32,
    /// Rows of f16, [`float_stride`] apart.
    F16,
    /// Panels of int8 codes, with a scale and a zero point per row.
    I8(LhsCodes),
}

impl LhsFormat {
    /// Bytes that `rows` rows of `k` elements take.
    ///
    /// # Panics
    /// If there are more than a `usize` holds.
    pub const fn bytes(self, rows: usize, k: usize) -> usize {
        match self {
            LhsFormat::F32 => product(rows, float_stride(k), 4),
            LhsFormat::F16 => product(rows, float_stride(k), 2),
            LhsFormat::I8(codes) => product(whole_panels(rows), codes.row_bytes(k), 1),
        }
    }

    /// Bytes that any format needs at most.
    ///
    /// # Panics
    /// If there are more than a `usize` holds.
    pub const fn max_bytes(rows: usize, k: usize) -> usize {
        product(whole_panels(rows), float_stride(k), 4)
    }
}

const fn whole_panels(rows: usize) -> usize {
    rows.checked_next_multiple_of(MR).expect("rows fit usize")
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
pub struct Lhs<'a> {
    pub(crate) format: LhsFormat,
    pub(crate) rows: usize,
    pub(crate) k: usize,
    pub(crate) bytes: &'a [u8],
    pub(crate) scales: &'a [RowScale],
}

/// Rows of activations that a producer writes.
#[derive(Debug)]
pub struct LhsMut<'a> {
    pub(crate) format: LhsFormat,
    pub(crate) rows: usize,
    pub(crate) k: usize,
    pub(crate) bytes: &'a mut [u8],
    pub(crate) scales: &'a mut [RowScale],
}

impl<'a> LhsMut<'a> {
    /// `rows` rows of `k` elements in `bytes` (aligned to 4) and, one per row, `scales`.
    ///
    /// # Panics
    /// If either is too short, or `bytes` is misaligned.
    pub fn new(
        format: LhsFormat,
        rows: usize,
        k: usize,
        bytes: &'a mut [u8],
        scales: &'a mut [RowScale],
    ) -> LhsMut<'a> {
        let bytes = &mut bytes[..format.bytes(rows, k)];
        assert!(bytes.as_ptr().addr().is_multiple_of(4), "activations start at a multiple of 4 bytes");
        LhsMut { format, rows, k, bytes, scales: &mut scales[..rows] }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Cuts off the rows from `at` on. `at` must be a multiple of [`MR`] or the number of rows.
    ///
    /// # Panics
    /// If it is not.
    pub fn split_at_row(self, at: usize) -> (LhsMut<'a>, LhsMut<'a>) {
        assert!(at == self.rows || (at < self.rows && at.is_multiple_of(MR)), "row {at} splits a panel");
        let (format, k) = (self.format, self.k);
        let (first, second) = self.bytes.split_at_mut(format.bytes(at, k));
        let (first_scales, second_scales) = self.scales.split_at_mut(at);
        (
            LhsMut { format, rows: at, k, bytes: first, scales: first_scales },
            LhsMut { format, rows: self.rows - at, k, bytes: second, scales: second_scales },
        )
    }

    /// The rows for reading.
    pub fn as_lhs(&self) -> Lhs<'_> {
        Lhs { format: self.format, rows: self.rows, k: self.k, bytes: self.bytes, scales: self.scales }
    }
}

impl<'a> Lhs<'a> {
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
        let values = (self.format == LhsFormat::F32).then(|| bytemuck::cast_slice(self.bytes))?;
        Some(&values[row * float_stride(self.k)..][..self.k])
    }

    /// Steps `span` of the int8 panel that starts at row `first`.
    pub(crate) fn panel_codes(&self, codes: LhsCodes, first: usize, span: Range<usize>) -> &'a [u8] {
        let panel = &self.bytes[first * codes.row_bytes(self.k)..];
        &panel[codes.step(span.start)..codes.step(span.end)]
    }

    /// Steps `span` of `rows`, which lie one after the other: from the first of them to the end of the last row. And their
    /// distance.
    pub(crate) fn row_codes(&self, rows: Range<usize>, span: Range<usize>) -> (&'a [u8], usize) {
        let stride = LhsCodes::S8Rows.row_bytes(self.k);
        (&self.bytes[rows.start * stride + span.start..rows.end * stride], stride)
    }

    /// The scales of that panel's rows, the missing ones zero.
    pub(crate) fn panel_scales(&self, first: usize) -> [RowScale; MR] {
        let present = &self.scales[first..self.rows.min(first + MR)];
        // A whole panel is copied as an array: after a copy of unknown length the next loads would wait for its stores.
        present.try_into().unwrap_or_else(|_| {
            let mut scales = [RowScale::default(); MR];
            scales[..present.len()].copy_from_slice(present);
            scales
        })
    }
}
