//! The order in which an int8 micro-kernel takes its weights, where it takes them in one that must be found.

use super::int8::spans;
use crate::kernels::Kernels;
use crate::pack::{NR, WeightsI8, padded_k};
use core::ops::Range;

impl Kernels {
    /// Bytes of the order of each panel of `weights`; 0 if there is nothing to be found.
    pub fn order_bytes(&self, weights: &WeightsI8<'_>) -> usize {
        let bytes = |order: &crate::table::OrderI8| {
            spans(padded_k(weights.k)).map(|span| (order.bytes)(span.len())).sum()
        };
        self.table.gemm_i8.order.as_ref().map_or(0, bytes)
    }

    /// Finds the order of `panels` of `weights`, [`order_bytes`](Self::order_bytes) for each.
    ///
    /// # Panics
    /// If the panels do not exist, or `order` has another length.
    pub fn find_order(&self, weights: &WeightsI8<'_>, panels: Range<usize>, order: &mut [u8]) {
        assert!(
            panels.start <= panels.end && panels.end <= crate::pack::panels(weights.n),
            "panels {panels:?}"
        );
        assert_eq!(order.len(), panels.len() * self.order_bytes(weights), "the order of {panels:?}");
        let (Some(kernel), k) = (self.table.gemm_i8.order, padded_k(weights.k)) else { return };
        let mut rest = order;
        for panel in panels {
            for span in spans(k) {
                let (order, after) = rest.split_at_mut((kernel.bytes)(span.len()));
                let codes = &weights.codes[(panel * k + span.start) * NR..(panel * k + span.end) * NR];
                // SAFETY: the table holds only kernels whose features its `Isa` proves; the panel holds the span's steps,
                // and the order is as long as it must be.
                unsafe { (kernel.find)(span.len(), codes.as_ptr(), order) };
                rest = after;
            }
        }
    }

    /// Where the order of the span of a panel lies, given those of all panels.
    pub(super) fn order_at(
        &self,
        weights: &WeightsI8<'_>,
        panel: usize,
        span: &Range<usize>,
    ) -> Range<usize> {
        let Some(kernel) = self.table.gemm_i8.order else { return 0..0 };
        let before = spans(padded_k(weights.k)).take_while(|other| other.start < span.start);
        let first =
            panel * self.order_bytes(weights) + before.map(|span| (kernel.bytes)(span.len())).sum::<usize>();
        first..first + (kernel.bytes)(span.len())
    }
}
