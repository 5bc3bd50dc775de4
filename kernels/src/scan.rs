//! Exact search: every row by every query.

use crate::kernels::Kernels;
use crate::pack::{K_ALIGN, K_MAX_I8};
use crate::prefetch::Ahead;
use crate::table::{MicroKernelScan, SCAN_ROWS};

/// Rows are asked for so many rows before they are multiplied.
const AHEAD: usize = 2 * SCAN_ROWS;

impl Kernels {
    /// The dot product of each of `n` rows with each of the queries, exact.
    ///
    /// `rows` holds rows of `k` codes, `stride` apart, of which what lies behind the `k` codes is not looked at;
    /// `queries` is [queries, `k`]; `sums` becomes [queries, n].
    ///
    /// # Panics
    /// If `k` is no multiple of 16 from 16 to [`K_MAX_I8`], `queries` or `sums` are not whole rows of such a matrix,
    /// `rows` has fewer than n rows, or a query has a code of −128.
    pub fn scan_i8(&self, rows: &[i8], stride: usize, k: usize, queries: &[i8], sums: &mut [i32]) {
        assert!((K_ALIGN..=K_MAX_I8).contains(&k) && k.is_multiple_of(K_ALIGN), "rows of {k} codes");
        assert!(!queries.is_empty() && queries.len().is_multiple_of(k), "queries of {k} codes");
        assert!(!queries.contains(&i8::MIN), "a query's code of -128");
        let count = queries.len() / k;
        assert!(sums.len().is_multiple_of(count), "sums of {count} queries");
        let n = sums.len() / count;
        let Some(last) = n.checked_sub(1) else { return };
        let reach = last.checked_mul(stride).and_then(|start| start.checked_add(k));
        assert!(reach.is_some_and(|reach| reach <= rows.len()), "{n} rows of {k} codes, {stride} apart");
        let MicroKernelScan { run_4x1, run_4x2, .. } = self.table.scan_i8;
        for first in (0..n).step_by(SCAN_ROWS) {
            let tile = SCAN_ROWS.min(n - first);
            // Rows past the end repeat the last one; their sums are not kept.
            let starts = core::array::from_fn(|row| rows[(first + row).min(last) * stride..].as_ptr());
            // Four rows are read side by side: no pattern that a CPU follows by itself.
            let next = first.saturating_add(AHEAD).saturating_mul(stride).min(rows.len());
            let next = &rows[next..rows.len().min(next.saturating_add(SCAN_ROWS * stride))];
            Ahead::new(next, 1).part();
            for at in (0..count).step_by(2) {
                let query = |i: usize| queries[i * k..].as_ptr();
                let mut pair = [[0; SCAN_ROWS]; 2];
                let [one, _] = &mut pair;
                // SAFETY: the table holds only kernels whose features its `Isa` proves; rows and queries hold `k` codes,
                // as was checked.
                unsafe {
                    match count - at {
                        1 => run_4x1(k, starts, [query(at)], core::array::from_mut(one)),
                        _ => run_4x2(k, starts, [query(at), query(at + 1)], &mut pair),
                    }
                }
                for (i, tile_sums) in pair.iter().enumerate().take(count - at) {
                    let to = (at + i) * n + first;
                    sums[to..to + tile].copy_from_slice(&tile_sums[..tile]);
                }
            }
        }
    }

    /// The name of the micro-kernel that scans, by the grammar in the crate's documentation.
    pub fn scan_name(&self) -> &'static str {
        self.table.scan_i8.name
    }
}
