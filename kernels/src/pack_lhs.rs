//! Writing the left operand of a GEMM.
//!
//! Every producer (LayerNorm, attention, the activation function) computes a few rows of f32, which become what the next
//! GEMM reads. For int8 that is asymmetric quantization per token (Jacob et al., arXiv 1712.05877): the token's own range
//! from its lowest to its highest value, 0 included, is cut into [`STEPS`] steps, so one outlier token costs no other token
//! anything, and values that lie to one side of 0, as those behind GELU do, lose no codes to the other side.

use crate::kernels::Kernels;
use crate::matrix::Mat;
use crate::pack::{K_ALIGN, LhsCodes, LhsFormat, LhsMut, MR, NR, RowScale, float_stride, padded_k};
use crate::scalar;
use crate::table::{QuantizeBy, RowRange};
use core::ops::Range;
use half::f16;

/// Steps between the codes of a row's lowest and highest value. Both are rounded, so their codes may lie one step further
/// apart: 254, from −127 to 127.
const STEPS: f32 = 253.0;

/// Blocks of columns through which the range of a row is followed at once.
const RANGE_BLOCKS: usize = 8;

/// How a row of this range is quantized.
fn scale_of(range: &RowRange) -> (RowScale, QuantizeBy) {
    let low = range.low.iter().fold(0.0, |low: f32, x| low.min(*x));
    let width = range.high.iter().fold(0.0, |high: f32, x| high.max(*x)) - low;
    let finite: f32 = range.finite.iter().sum();
    if width < STEPS * f32::MIN_POSITIVE {
        // Nothing but zeros, or what may count as such: 1/scale would be infinite.
        return (RowScale { scale: finite, zero_point: 0 }, QuantizeBy::default());
    }
    let inverse = STEPS / width;
    let zero_point = -127 - scalar::round(low * inverse) as i32;
    // The scale of a row with NaN or infinity is NaN, so that no finite result hides it.
    (RowScale { scale: width / STEPS + finite, zero_point }, QuantizeBy { inverse, zero_point })
}

impl Kernels {
    /// Writes the `MR` rows of `lhs` that start at `first`, a multiple of `MR`, or as many as exist, from the rows of `x`
    /// that start at `from`. `x` has `padded_k(k)` columns, those past `k` zero.
    ///
    /// # Panics
    /// If the rows lie outside, or `x` has other columns, too few rows, or blocks of no multiple of 16.
    pub fn pack_lhs_panel(&self, lhs: &mut LhsMut<'_>, first: usize, x: &Mat<'_>, from: usize) {
        let width = padded_k(lhs.k);
        assert!(first < lhs.rows && first.is_multiple_of(MR), "row {first} of {}", lhs.rows);
        assert_eq!(x.cols(), width, "columns of activations");
        let rows = MR.min(lhs.rows - first);
        assert!(from <= x.rows() && rows <= x.rows() - from, "{rows} rows from {from} of {}", x.rows());
        match lhs.format {
            LhsFormat::F32 => {
                let to: &mut [f32] = bytemuck::cast_slice_mut(lhs.bytes);
                for row in 0..rows {
                    x.copy_row(from + row, 0, &mut to[(first + row) * float_stride(lhs.k)..][..width]);
                }
            }
            LhsFormat::F16 => {
                let to: &mut [f16] = bytemuck::cast_slice_mut(lhs.bytes);
                for row in 0..rows {
                    let mut to = &mut to[(first + row) * float_stride(lhs.k)..][..width];
                    for piece in x.pieces(from + row, 0..width) {
                        let (now, rest) = to.split_at_mut(piece.len());
                        self.narrow_f16(piece, now);
                        to = rest;
                    }
                }
            }
            LhsFormat::I8(codes) => self.quantize_rows(lhs, codes, first..first + rows, x, from),
        }
    }

    /// Writes every row from `x`, as [`pack_lhs_panel`](Self::pack_lhs_panel) does.
    ///
    /// # Panics
    /// As there.
    pub fn pack_lhs(&self, lhs: &mut LhsMut<'_>, x: &Mat<'_>) {
        (0..lhs.rows).step_by(MR).for_each(|first| self.pack_lhs_panel(lhs, first, x, first));
    }

    fn quantize_rows(
        &self,
        lhs: &mut LhsMut<'_>,
        codes: LhsCodes,
        rows: Range<usize>,
        x: &Mat<'_>,
        from: usize,
    ) {
        let (width, block) = (padded_k(lhs.k), x.block());
        let end = from + rows.len();
        let mut ranges = [RowRange::default(); MR];
        for first in (0..width).step_by(block * RANGE_BLOCKS) {
            let (blocks, stride) = x.blocks_rows(from..end, first, RANGE_BLOCKS);
            self.range_rows(blocks, block, stride, &mut ranges[..rows.len()]);
            // The blocks are far apart: ask for the next panel's part of these.
            for col in (first..width).step_by(block).take(RANGE_BLOCKS) {
                x.prefetch(end..x.rows().min(end + MR), col);
            }
        }
        let mut by = [QuantizeBy::default(); MR];
        for ((range, by), to) in ranges.iter().zip(&mut by).zip(&mut lhs.scales[rows.clone()]) {
            (*to, *by) = scale_of(range);
        }
        let stride = codes.row_bytes(lhs.k);
        let panel = &mut lhs.bytes[rows.start * stride..][..MR * stride];
        for col in (0..width).step_by(block) {
            let to = &mut panel[codes.step(col)..][..codes.reach(block, stride)];
            self.quantize_panel(codes, x.block_rows(from..end, col), block, &by, to, stride);
        }
    }

    /// Replaces a row by what is lost when it is packed as int8: x minus what its codes stand for. Packed as a row of its
    /// own, it takes the error of the first to a 253rd part (see [`Remainders`](crate::Remainders)).
    ///
    /// # Panics
    /// If the row is no multiple of [`K_ALIGN`](crate::pack::K_ALIGN) long.
    pub fn rounding_remainder(&self, row: &mut [f32]) {
        let mut ranges = [RowRange::default(); MR];
        self.range_rows(row, row.len(), row.len(), &mut ranges[..1]);
        let (RowScale { scale, .. }, QuantizeBy { inverse, .. }) = scale_of(&ranges[0]);
        row.iter_mut().for_each(|x| *x -= scalar::round(*x * inverse) * scale);
    }

    /// Widens `ranges[r]` by row r of `x`: of each block of rows of `width`, which begin `stride` apart.
    pub(crate) fn range_rows(&self, x: &[f32], width: usize, stride: usize, ranges: &mut [RowRange]) {
        assert!(width.is_multiple_of(NR) && stride > 0 && ranges.len() * width <= stride);
        // SAFETY: as in `layer_norm`; rows of whole vectors.
        unsafe { (self.table.range_rows)(x, width, stride, ranges) }
    }

    /// The codes of at most `MR` rows of `width`, as `width` steps of an LHS panel in `out`, whose rows lie `stride` apart if
    /// they lie one after the other. Codes of missing rows are arbitrary.
    pub(crate) fn quantize_panel(
        &self,
        codes: LhsCodes,
        x: &[f32],
        width: usize,
        by: &[QuantizeBy; MR],
        out: &mut [u8],
        stride: usize,
    ) {
        let rows = x.len() / width;
        assert!((1..=MR).contains(&rows) && width.is_multiple_of(K_ALIGN) && width <= stride);
        assert_eq!(out.len(), codes.reach(width, stride));
        // SAFETY: as in `layer_norm`; `x` has `rows` rows of whole vectors, `out` room for every code.
        unsafe { (self.table.quantize_panel)(codes, x.as_ptr(), width, rows, by, out, stride) }
    }
}
