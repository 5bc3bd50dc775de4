//! Views of matrices of f32 whose columns may lie in blocks.
//!
//! A matrix of `rows` × `cols` in blocks of `block` columns lies as `[cols/block][rows][block]`; with `block = cols` that
//! is row-major. A GEMM computes a few columns of all rows at a time: in a wide row-major matrix each of those rows
//! would be in a page of its own, in narrow blocks they lie one after the other.

use crate::prefetch;
use core::marker::PhantomData;
use core::ops::Range;

/// Where element (`row`, `col`) of a matrix of `rows` rows in blocks of `block` columns lies.
const fn index(rows: usize, block: usize, row: usize, col: usize) -> usize {
    (col / block * rows + row) * block + col % block
}

/// A matrix to read.
#[derive(Clone, Copy, Debug)]
pub struct Mat<'a> {
    values: &'a [f32],
    rows: usize,
    cols: usize,
    block: usize,
}

impl<'a> Mat<'a> {
    /// `values` as `rows` × `cols` in blocks of `block` columns.
    ///
    /// # Panics
    /// If `values` is shorter, or `cols` is no whole number of blocks.
    pub fn new(values: &'a [f32], rows: usize, cols: usize, block: usize) -> Mat<'a> {
        check(values.len(), rows, cols, block);
        Mat { values, rows, cols, block: block.max(1) }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Columns of a block.
    pub fn block(&self) -> usize {
        self.block
    }

    /// Columns `cols` of row `row`, block by block.
    ///
    /// # Panics
    /// If they lie outside.
    pub fn pieces(&self, row: usize, cols: Range<usize>) -> impl Iterator<Item = &'a [f32]> + use<'a> {
        assert!(
            row < self.rows && cols.start <= cols.end && cols.end <= self.cols,
            "row {row}, columns {cols:?} outside the matrix"
        );
        let Mat { values, rows, block, .. } = *self;
        let mut col = cols.start;
        core::iter::from_fn(move || {
            let len = (block - col % block).min(cols.end.checked_sub(col).filter(|&left| left > 0)?);
            let piece = &values[index(rows, block, row, col)..][..len];
            col += len;
            Some(piece)
        })
    }

    /// Columns `cols` of `rows`, block by block: the piece's first column, counted from `cols.start`, its width, and its
    /// rows.
    ///
    /// # Panics
    /// If they lie outside.
    pub(crate) fn col_pieces(
        &self,
        rows: Range<usize>,
        cols: Range<usize>,
    ) -> impl Iterator<Item = (usize, usize, impl Iterator<Item = &'a [f32]> + use<'a>)> + use<'a> {
        assert!(
            rows.start <= rows.end
                && rows.end <= self.rows
                && cols.start <= cols.end
                && cols.end <= self.cols,
            "rows {rows:?}, columns {cols:?} outside the matrix"
        );
        let (this, mut col) = (*self, cols.start);
        core::iter::from_fn(move || {
            let (first, within) = (col - cols.start, col % this.block);
            let len = (this.block - within).min(cols.end.checked_sub(col).filter(|&left| left > 0)?);
            let lines = this.block_rows(rows.clone(), col - within).chunks_exact(this.block);
            col += len;
            Some((first, len, lines.map(move |line| &line[within..within + len])))
        })
    }

    /// Copies columns `col..col + to.len()` of row `row`.
    ///
    /// # Panics
    /// If they lie outside.
    pub fn copy_row(&self, row: usize, col: usize, mut to: &mut [f32]) {
        assert!(
            col <= self.cols && to.len() <= self.cols - col,
            "{} columns from {col} of {}",
            to.len(),
            self.cols
        );
        for piece in self.pieces(row, col..col + to.len()) {
            let (now, rest) = to.split_at_mut(piece.len());
            now.copy_from_slice(piece);
            to = rest;
        }
    }

    /// Rows `rows` of the block that starts at column `col`: [rows, block].
    ///
    /// # Panics
    /// If they lie outside.
    pub(crate) fn block_rows(&self, rows: Range<usize>, col: usize) -> &'a [f32] {
        assert!(
            rows.start <= rows.end
                && rows.end <= self.rows
                && col < self.cols
                && col.is_multiple_of(self.block),
            "rows {rows:?} of the block at column {col} outside the matrix"
        );
        &self.values[index(self.rows, self.block, rows.start, col)..][..rows.len() * self.block]
    }

    /// The same of `count` blocks, or as many as there are: to the last row of the last one. And their distance.
    ///
    /// # Panics
    /// If the first one lies outside, or `count` is 0.
    pub(crate) fn blocks_rows(&self, rows: Range<usize>, col: usize, count: usize) -> (&'a [f32], usize) {
        let len = self.block_rows(rows.clone(), col).len();
        let blocks = count.min((self.cols - col) / self.block);
        let stride = self.rows * self.block;
        let first = index(self.rows, self.block, rows.start, col);
        (&self.values[first..][..(blocks - 1) * stride + len], stride)
    }
}

impl Mat<'_> {
    /// Asks for the cache lines of `rows` of the block that starts at column `col`. Only a hint.
    pub(crate) fn prefetch(&self, rows: Range<usize>, col: usize) {
        if !rows.is_empty() {
            self.block_rows(rows, col).iter().step_by(LINE).for_each(|line| prefetch::soon(line));
        }
    }
}

fn check(len: usize, rows: usize, cols: usize, block: usize) {
    let needed = rows.checked_mul(cols);
    assert!(needed.is_some_and(|needed| needed <= len), "{len} elements for {rows}x{cols}");
    assert!(
        cols.is_multiple_of(block.max(1)) && (block > 0 || cols == 0),
        "{cols} columns in blocks of {block}"
    );
}

/// Exclusive access to some columns of a matrix.
///
/// Two views split from one matrix may interleave in memory, which is why this is not a slice.
#[derive(Debug)]
pub struct MatMut<'a> {
    /// Of the whole matrix.
    base: *mut f32,
    rows: usize,
    /// The view's columns in the whole matrix.
    cols: Range<usize>,
    block: usize,
    matrix: PhantomData<&'a mut [f32]>,
}

// SAFETY: like `&mut [f32]`, a view is the only way to its elements while it lives, and f32 is Send.
unsafe impl Send for MatMut<'_> {}
// SAFETY: a shared view gives no access to elements.
unsafe impl Sync for MatMut<'_> {}

impl<'a> MatMut<'a> {
    /// The whole of `values` as `rows` × `cols`, row-major.
    ///
    /// # Panics
    /// If `values` is shorter than that.
    pub fn new(values: &'a mut [f32], rows: usize, cols: usize) -> Self {
        Self::blocks(values, rows, cols, cols)
    }

    /// The whole of `values` as `rows` × `cols` in blocks of `block` columns.
    ///
    /// # Panics
    /// If `values` is shorter than that, or `cols` is no whole number of blocks.
    pub fn blocks(values: &'a mut [f32], rows: usize, cols: usize, block: usize) -> Self {
        check(values.len(), rows, cols, block);
        MatMut { base: values.as_mut_ptr(), rows, cols: 0..cols, block: block.max(1), matrix: PhantomData }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns in the view.
    pub fn cols(&self) -> usize {
        self.cols.len()
    }

    /// Columns of a block.
    pub(crate) fn block(&self) -> usize {
        self.block
    }

    /// Whether the view begins and ends with a block.
    pub(crate) fn is_whole_blocks(&self) -> bool {
        self.cols.start.is_multiple_of(self.block) && self.cols.end.is_multiple_of(self.block)
    }

    /// Cuts the view into columns `..at` and `at..`.
    ///
    /// # Panics
    /// If `at` lies outside.
    pub fn split_at_col(self, at: usize) -> (Self, Self) {
        assert!(at <= self.cols(), "column {at} of {}", self.cols());
        let Range { start, end } = self.cols;
        let right = MatMut { cols: start + at..end, ..self };
        (MatMut { cols: start..start + at, ..self }, right)
    }

    /// The view's part of row `row`, columns `cols` of the view, which lie in one block.
    ///
    /// # Panics
    /// If the row or the columns lie outside, or in several blocks.
    pub fn row_mut(&mut self, row: usize, cols: Range<usize>) -> &mut [f32] {
        assert!(
            row < self.rows && cols.start <= cols.end && cols.end <= self.cols(),
            "row {row}, columns {cols:?} outside the view"
        );
        if cols.is_empty() {
            return &mut [];
        }
        let len = cols.len();
        let (first, _) = self.tile_mut(row..row + 1, cols);
        // SAFETY: `tile_mut` found the row and the columns inside the view and in one block, where they lie next to each
        // other; views of one matrix share no column, and `&mut self` excludes a second row of this one.
        unsafe { core::slice::from_raw_parts_mut(first, len) }
    }

    /// Where `rows` of columns `cols`, which lie in one block, start, and how far apart they are.
    ///
    /// # Panics
    /// If there are none of either, or they lie outside, or in several blocks.
    // Inlined, a GEMM with many output tiles is 1 % faster: row and block checks share their division.
    #[inline(always)]
    pub(crate) fn tile_mut(&mut self, rows: Range<usize>, cols: Range<usize>) -> (*mut f32, usize) {
        assert!(
            rows.start < rows.end
                && rows.end <= self.rows
                && cols.start < cols.end
                && cols.end <= self.cols(),
            "outside the view"
        );
        let within = (self.cols.start + cols.start) % self.block;
        assert!(cols.len() <= self.block - within, "columns {cols:?} in several blocks of {}", self.block);
        // SAFETY: the row and the column exist, so the element lies inside the slice that `blocks` borrowed.
        (unsafe { self.base.add(self.index(rows.start, cols.start)) }, self.block)
    }

    /// `rows` of columns `cols`, if these are a whole block: [rows, block].
    ///
    /// # Panics
    /// If there are no rows, or they or the columns lie outside.
    pub(crate) fn block_mut(&mut self, rows: Range<usize>, cols: Range<usize>) -> Option<&mut [f32]> {
        if cols.len() != self.block || !(self.cols.start + cols.start).is_multiple_of(self.block) {
            return None;
        }
        let count = rows.len();
        let (first, _) = self.tile_mut(rows, cols);
        // SAFETY: as in `row_mut`; the rows of a whole block lie one after the other.
        Some(unsafe { core::slice::from_raw_parts_mut(first, count * self.block) })
    }

    /// Asks for the cache lines of `rows` of columns `cols`, which will be written soon. Only a hint.
    pub(crate) fn prefetch(&self, rows: Range<usize>, cols: Range<usize>) {
        for col in cols.step_by(LINE) {
            let first = self.base.wrapping_add(self.index(rows.start, col));
            (0..rows.len()).for_each(|row| prefetch::soon(first.wrapping_add(row * self.block)));
        }
    }

    fn index(&self, row: usize, col: usize) -> usize {
        index(self.rows, self.block, row, self.cols.start + col)
    }
}

/// f32 in a cache line.
const LINE: usize = prefetch::LINE / size_of::<f32>();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_cover_the_matrix_once() {
        for block in [1, 3, 12] {
            let mut values = [0.0; 5 * 12];
            let (mut left, right) = MatMut::blocks(&mut values, 5, 12, block).split_at_col(3);
            let (mut middle, mut right) = right.split_at_col(9);
            for row in 0..5 {
                for col in 0..3 {
                    left.row_mut(row, col..col + 1)[0] += 1.0;
                }
                for col in 1..9 {
                    middle.row_mut(row, col..col + 1)[0] += (row * 12 + col) as f32;
                }
                assert!(right.cols() == 0 && right.block_mut(row..row, 0..0).is_none());
            }
            let mat = Mat::new(&values, 5, 12, block);
            for row in 0..5 {
                let mut whole = [f32::NAN; 11];
                mat.copy_row(row, 1, &mut whole);
                let right: [f32; 11] = core::array::from_fn(|i| match i + 1 {
                    ..3 => 1.0,
                    3 => 0.0,
                    col => (row * 12 + col - 3) as f32,
                });
                assert_eq!(whole, right, "block {block}, row {row}");
            }
        }
    }

    #[test]
    fn a_block_is_one_slice() {
        let mut values = [0.0; 3 * 8];
        let mut mat = MatMut::blocks(&mut values, 3, 8, 4);
        mat.block_mut(1..3, 4..8).expect("a whole block").fill(2.0);
        assert!(mat.block_mut(0..1, 2..6).is_none() && mat.block_mut(0..1, 0..2).is_none());
        assert_eq!(
            Mat::new(&values, 3, 8, 4).block_rows(0..3, 4),
            [[0.0; 4], [2.0; 4], [2.0; 4]].as_flattened()
        );
        assert_eq!(values[..16], [0.0; 16]);
    }

    #[test]
    #[should_panic(expected = "outside the view")]
    fn a_column_of_the_neighbour_is_refused() {
        let mut values = [0.0; 8];
        let (mut left, _right) = MatMut::new(&mut values, 2, 4).split_at_col(2);
        left.row_mut(0, 0..3);
    }

    #[test]
    #[should_panic(expected = "several blocks")]
    fn columns_of_two_blocks_are_no_slice() {
        MatMut::blocks(&mut [0.0; 8], 2, 4, 2).row_mut(0, 1..3);
    }
}
