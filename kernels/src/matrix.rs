//! A window of columns of a row-major matrix that can be split between threads.

use core::marker::PhantomData;
use core::ops::Range;

/// Exclusive access to some columns of a row-major matrix of f32.
///
/// Two windows split from one matrix interleave in memory, which is why this is not a slice.
#[derive(Debug)]
pub struct MatMut<'a> {
    first: *mut f32,
    rows: usize,
    cols: usize,
    stride: usize,
    matrix: PhantomData<&'a mut [f32]>,
}

// SAFETY: like `&mut [f32]`, a window is the only way to its elements while it lives, and f32 is Send.
unsafe impl Send for MatMut<'_> {}
// SAFETY: a shared window gives no access to elements.
unsafe impl Sync for MatMut<'_> {}

impl<'a> MatMut<'a> {
    /// The whole of `values` as `rows` rows of `cols` elements.
    ///
    /// # Panics
    /// If `values` is shorter than that.
    pub fn new(values: &'a mut [f32], rows: usize, cols: usize) -> Self {
        assert!(values.len() >= rows * cols, "{} elements for {rows}x{cols}", values.len());
        MatMut { first: values.as_mut_ptr(), rows, cols, stride: cols, matrix: PhantomData }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns in the window.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Cuts the window into columns `..at` and `at..`.
    ///
    /// # Panics
    /// If `at` lies outside.
    pub fn split_at_col(self, at: usize) -> (Self, Self) {
        assert!(at <= self.cols, "column {at} of {}", self.cols);
        // The right window may be empty at the very end of the allocation; `wrapping_add` makes no claim there.
        let right = MatMut { first: self.first.wrapping_add(at), cols: self.cols - at, ..self };
        (MatMut { cols: at, ..self }, right)
    }

    /// The window's part of row `row`, columns `cols` of the window.
    ///
    /// # Panics
    /// If the row or the columns lie outside.
    pub fn row_mut(&mut self, row: usize, cols: Range<usize>) -> &mut [f32] {
        assert!(row < self.rows && cols.start <= cols.end && cols.end <= self.cols, "outside the window");
        // SAFETY: row and columns are inside the window, which lies inside the slice that `new` borrowed; windows of
        // one matrix share no column, and `&mut self` excludes a second row of this one.
        unsafe {
            core::slice::from_raw_parts_mut(
                self.first.add(row * self.stride + cols.start),
                cols.end - cols.start,
            )
        }
    }
}

impl MatMut<'_> {
    /// Where `rows` of columns `cols` start, and how far apart they are.
    ///
    /// # Panics
    /// If the rows or the columns lie outside.
    pub(crate) fn window_mut(&mut self, rows: Range<usize>, cols: Range<usize>) -> (*mut f32, usize) {
        assert!(rows.start < rows.end && rows.end <= self.rows, "outside the window");
        (self.row_mut(rows.start, cols).as_mut_ptr(), self.stride)
    }

    /// Asks for the cache lines of `rows` of columns `cols`, which will be written soon. Only a hint.
    pub(crate) fn prefetch(&self, rows: Range<usize>, cols: Range<usize>) {
        for row in rows {
            for line in cols.clone().step_by(LINE) {
                prefetch(self.first.wrapping_add(row * self.stride + line));
            }
        }
    }
}

/// f32 in a cache line.
const LINE: usize = 16;

/// Brings the line at `address` into L1. Any address will do: a prefetch never faults.
#[inline(always)]
fn prefetch(address: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 CPU has the instruction.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a hint that changes no register and no memory.
    unsafe {
        core::arch::asm!("prfm pstl1keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_the_matrix_once() {
        let mut values = [0.0; 5 * 7];
        let (mut left, right) = MatMut::new(&mut values, 5, 7).split_at_col(3);
        let (mut middle, mut right) = right.split_at_col(4);
        for row in 0..5 {
            left.row_mut(row, 0..3).iter_mut().for_each(|v| *v += 1.0);
            middle.row_mut(row, 1..4).iter_mut().for_each(|v| *v += 2.0);
            assert!(right.row_mut(row, 0..0).is_empty());
        }
        assert_eq!(values[..7], [1.0, 1.0, 1.0, 0.0, 2.0, 2.0, 2.0]);
        assert_eq!(values.iter().sum::<f32>(), 45.0);
    }

    #[test]
    #[should_panic(expected = "outside the window")]
    fn a_column_of_the_neighbour_is_refused() {
        let mut values = [0.0; 8];
        let (mut left, _right) = MatMut::new(&mut values, 2, 4).split_at_col(2);
        left.row_mut(0, 0..3);
    }
}
