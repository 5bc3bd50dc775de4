//! Writing the left operand of a GEMM.
//!
//! Every producer (LayerNorm, attention, the activation function) computes a few rows of f32, which become what the next
//! GEMM reads. For int8 that is symmetric quantization per token: with `scale = max|x| / 127`,
//! `code = round_half_even(x / scale)`, so one outlier token costs no other token anything.

use crate::kernels::Kernels;
use crate::matrix::Mat;
use crate::pack::{K_ALIGN, LhsCodes, LhsFormat, LhsMut, MR, NR, float_stride, padded_k};
use core::ops::Range;
use half::f16;

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
        let mut peaks = [[0.0; NR]; MR];
        for col in (0..width).step_by(block) {
            self.abs_max_rows(x.block_rows(from..end, col), block, &mut peaks);
            // The blocks are far apart: ask for the next panel's part of this one.
            x.prefetch(end..x.rows().min(end + MR), col);
        }
        let mut inverses = [0.0; MR];
        for ((peaks, inverse), to) in peaks.iter().zip(&mut inverses).zip(&mut lhs.scales[rows.clone()]) {
            let peak = peaks.iter().fold(0.0, |max: f32, &x| if x > max || x.is_nan() { x } else { max });
            // A row of zeros has no scale: its codes are zero whatever it is. The scale of a row with NaN or infinity is
            // NaN or infinity too, so that no finite result hides it.
            (*to, *inverse) = if peak > 0.0 { (peak / 127.0, 127.0 / peak) } else { (peak, 0.0) };
        }
        let step = MR * codes.bytes();
        let panel = &mut lhs.bytes[rows.start * width * codes.bytes()..][..width * step];
        for (col, to) in (0..width).step_by(block).zip(panel.chunks_exact_mut(block * step)) {
            self.quantize_panel(codes, x.block_rows(from..end, col), block, &inverses, to);
        }
    }

    /// Raises `peaks[r][i]` to the largest magnitude of row r of `x` at columns i, i + 16, ...; rows of `width`, at most
    /// `MR` of them.
    pub(crate) fn abs_max_rows(&self, x: &[f32], width: usize, peaks: &mut [[f32; NR]; MR]) {
        assert!(width.is_multiple_of(NR) && x.len() <= MR * width);
        // SAFETY: as in `layer_norm`; whole rows of whole vectors.
        unsafe { (self.table.abs_max_rows)(x, width, peaks) }
    }

    /// `code = round_half_even(x · inverse)` of at most `MR` rows of `width`, as `width` steps of an LHS panel in `out`.
    /// Codes of missing rows are arbitrary.
    pub(crate) fn quantize_panel(
        &self,
        codes: LhsCodes,
        x: &[f32],
        width: usize,
        inverses: &[f32; MR],
        out: &mut [u8],
    ) {
        let rows = x.len() / width;
        assert!((1..=MR).contains(&rows) && width.is_multiple_of(K_ALIGN));
        assert_eq!(out.len(), MR * width * codes.bytes());
        // SAFETY: as in `layer_norm`; `x` has `rows` rows of whole vectors, `out` room for every code.
        unsafe { (self.table.quantize_panel)(codes, x.as_ptr(), width, rows, inverses, out) }
    }
}
