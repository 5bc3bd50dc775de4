//! Where finished sums go.

use super::Remainders;
use crate::kernels::Kernels;
use crate::matrix::MatMut;
use crate::pack::{MR, NR};
use crate::table::{AccI8, Activation, DequantizeBy};
use core::ops::Range;

/// What happens to a finished sum on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epilogue {
    /// `out = y`
    Store,
    /// `out = act(y)`
    Activate(Activation),
    /// `out += y`: the residual stream.
    Add,
}

/// A thread's part of the output, and what happens on the way there.
pub(super) struct Output<'k, 'o, 'm> {
    pub(super) kernels: &'k Kernels,
    pub(super) epilogue: Epilogue,
    /// Of all panels, or empty.
    pub(super) bias: &'k [f32],
    pub(super) out: &'o mut MatMut<'m>,
    /// The output lies in blocks as wide as the panels that are multiplied at once.
    pub(super) blocks: bool,
    /// The RHS panel of the view's first column.
    pub(super) first_panel: usize,
    /// Rows that come in two parts; of floats none.
    pub(super) remainders: Remainders,
}

impl<'k> Output<'k, '_, '_> {
    /// The bias of an RHS panel.
    pub(super) fn bias(&self, panel: usize) -> &'k [f32; NR] {
        if self.bias.is_empty() { &[0.0; NR] } else { self.bias[panel * NR..].first_chunk().expect("padded") }
    }

    /// The columns of `panel` in the view: those that exist.
    fn cols(&self, panel: usize) -> Range<usize> {
        let first = (panel - self.first_panel) * NR;
        first..self.out.cols().min(first + NR)
    }

    /// Asks for the lines that `finish_i8` will add to: with wide outputs they come from far away, and a whole tile's
    /// multiplication is time enough. Lines that are only written are not asked for: that was slower.
    pub(super) fn prefetch(&self, rows: Range<usize>, panels: Range<usize>) {
        if self.epilogue != Epilogue::Add {
            return;
        }
        let rows = rows.start..rows.end.min(self.out.rows());
        self.out.prefetch(rows, self.cols(panels.start).start..self.cols(panels.end - 1).end);
    }

    /// Puts the sums of one tile, `rows` of its rows, through scales, bias and epilogue. Where the output lies in blocks
    /// as wide as the panels that are multiplied at once, the activation function waits for
    /// [`activate_block`](Self::activate_block). Rows past the output's are remainders.
    pub(super) fn finish_i8(&mut self, rows: Range<usize>, panel: usize, acc: &AccI8, by: &DequantizeBy<'_>) {
        if self.has_parts(&rows) {
            self.finish_parts(rows, panel, acc, by)
        } else {
            self.finish_tile(rows, panel, acc, by, None)
        }
    }

    /// Whether any of `rows` is a remainder, or has one.
    fn has_parts(&self, rows: &Range<usize>) -> bool {
        self.remainders.count > 0
            && (rows.end > self.out.rows() || self.next_with_remainder(rows.start) < rows.end)
    }

    /// The first row from `row` on that has a remainder, if there are any.
    fn next_with_remainder(&self, row: usize) -> usize {
        let group = self.out.rows() / self.remainders.count;
        (row + group - 1 - self.remainders.row) / group * group + self.remainders.row
    }

    /// `waiting`: what is added to each row before the epilogue; not given where the epilogue adds to the output itself.
    fn finish_tile(
        &mut self,
        rows: Range<usize>,
        panel: usize,
        acc: &AccI8,
        by: &DequantizeBy<'_>,
        waiting: Option<&[[f32; NR]; MR]>,
    ) {
        let cols = self.cols(panel);
        let dequantize = self.kernels.table.dequantize_tile;
        if cols.len() == NR && (self.blocks || !matches!(self.epilogue, Epilogue::Activate(_))) {
            let add = self.epilogue == Epilogue::Add;
            let (out, stride) = self.out.tile_mut(rows.clone(), cols.clone());
            // SAFETY: the table holds only kernels whose features its `Isa` proves; the view holds these rows of NR.
            unsafe { dequantize(acc, by, rows.len(), add, out, stride) };
            for (row, remainder) in waiting.iter().flat_map(|waiting| rows.clone().zip(*waiting)) {
                self.out.row_mut(row, cols.clone()).iter_mut().zip(remainder).for_each(|(out, y)| *out += y);
            }
            return;
        }
        let mut y = [0.0; MR * NR];
        // SAFETY: as above; `y` holds MR rows of NR.
        unsafe { dequantize(acc, by, rows.len(), false, y.as_mut_ptr(), NR) };
        if let Some(waiting) = waiting {
            y.iter_mut().zip(waiting.as_flattened()).for_each(|(y, remainder)| *y += remainder);
        }
        self.finish(rows, cols, &mut y, NR);
    }

    /// A tile of which rows are remainders, or have some. Apart and cold, so that the other tiles pay nothing for it.
    #[cold]
    #[inline(never)]
    fn finish_parts(&mut self, rows: Range<usize>, panel: usize, acc: &AccI8, by: &DequantizeBy<'_>) {
        let last = self.out.rows();
        for row in rows.start.max(last)..rows.end {
            self.put_remainder(
                row - last,
                panel,
                &acc[(row - rows.start) * NR..][..NR],
                row - rows.start,
                by,
            );
        }
        let rows = rows.start..rows.end.min(last);
        if rows.is_empty() {
            return;
        }
        if self.epilogue == Epilogue::Add {
            return self.finish_tile(rows, panel, acc, by, None);
        }
        // What is about to be overwritten.
        let (cols, mut waiting) = (self.cols(panel), [[0.0; NR]; MR]);
        let group = last / self.remainders.count;
        for row in (self.next_with_remainder(rows.start)..rows.end).step_by(group) {
            let from = self.out.row_mut(row, cols.clone());
            waiting[row - rows.start][..from.len()].copy_from_slice(from);
        }
        self.finish_tile(rows, panel, acc, by, Some(&waiting));
    }

    /// Puts the sums of group `group`'s remainder, row `row` of its tile, through the scales and into the output, where it
    /// waits for the row that it belongs to.
    fn put_remainder(&mut self, group: usize, panel: usize, sums: &[i32], row: usize, by: &DequantizeBy<'_>) {
        let mut acc = [0; MR * NR];
        acc[..NR].copy_from_slice(sums);
        let by = DequantizeBy { lhs: &[by.lhs[row]; MR], bias: &[0.0; NR], ..*by };
        let mut y = [0.0; NR];
        // SAFETY: the table holds only kernels whose features its `Isa` proves; `y` holds a row of NR.
        unsafe { (self.kernels.table.dequantize_tile)(&acc, &by, 1, false, y.as_mut_ptr(), NR) };
        let row = group * (self.out.rows() / self.remainders.count) + self.remainders.row;
        let cols = self.cols(panel);
        for (out, y) in self.out.row_mut(row, cols).iter_mut().zip(y) {
            *out = if self.epilogue == Epilogue::Add { *out + y } else { y };
        }
    }

    /// Applies the activation function to finished rows of a block.
    pub(super) fn activate_block(&mut self, rows: Range<usize>, panels: Range<usize>) {
        let rows = rows.start..rows.end.min(self.out.rows());
        if rows.is_empty() {
            return;
        }
        if let (Epilogue::Activate(act), true) = (self.epilogue, self.blocks) {
            let cols = self.cols(panels.start).start..self.cols(panels.end - 1).end;
            let block = self.out.block_mut(rows, cols).expect("as wide as the panels");
            self.kernels.activate(act, block);
        }
    }

    /// Puts the sums of `rows` and `panels`, `[rows][panels][NR]`, through the epilogue.
    pub(super) fn finish_sums(&mut self, rows: Range<usize>, panels: Range<usize>, sums: &mut [f32]) {
        let width = panels.len() * NR;
        let cols = self.cols(panels.start).start..self.cols(panels.end - 1).end;
        self.finish(rows.clone(), cols, &mut sums[..rows.len() * width], width);
    }

    /// Puts rows of `width` finished sums in `y`, of which the first `cols` exist, through the epilogue.
    fn finish(&mut self, rows: Range<usize>, cols: Range<usize>, y: &mut [f32], width: usize) {
        if let Epilogue::Activate(act) = self.epilogue {
            self.kernels.activate(act, &mut y[..rows.len() * width]);
        }
        // Two panels may be wider than a block of the output.
        let step = if self.out.block() < width { NR } else { width };
        for (i, first) in cols.clone().step_by(step).enumerate() {
            let cols = first..cols.end.min(first + step);
            let (out, stride) = self.out.tile_mut(rows.clone(), cols.clone());
            for (row, y) in y.chunks_exact(width).take(rows.len()).enumerate() {
                // SAFETY: the view holds these rows, `stride` apart.
                let out = unsafe { core::slice::from_raw_parts_mut(out.add(row * stride), cols.len()) };
                // Whole panels, all but the last: a fixed length that compiles to a few vector instructions.
                let (whole, rest) = out.as_chunks_mut::<NR>();
                let (y, y_rest) = y[i * step..].split_at(whole.len() * NR);
                let y = y.as_chunks::<NR>().0;
                if self.epilogue == Epilogue::Add {
                    whole.as_flattened_mut().iter_mut().zip(y.as_flattened()).for_each(|(out, y)| *out += y);
                    rest.iter_mut().zip(y_rest).for_each(|(out, y)| *out += y);
                } else {
                    whole.iter_mut().zip(y).for_each(|(out, y)| *out = *y);
                    rest.copy_from_slice(&y_rest[..rest.len()]);
                }
            }
        }
    }
}
