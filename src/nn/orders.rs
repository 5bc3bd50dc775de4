//! The orders in which the int8 kernel of some CPUs takes the weights of a tower ([`Kernels::find_order`]): found once, and
//! kept in the arena. What is computed is the same without them.

use crate::format::Tensor;
use crate::runtime::{Divisible, Team};
use core::ops::Range;
use ocelli_kernels::pack::panels;
use ocelli_kernels::{Kernels, Weights};
use std::vec::Vec;

/// Where the order of each matrix lies among those of its tower.
pub(crate) struct Orders {
    /// By the address of the matrix.
    at: Vec<(usize, Range<usize>)>,
    bytes: usize,
    /// Rows that went through the tower so far.
    rows: usize,
    found: bool,
}

/// The orders are looked for once so many rows have gone through. To find them takes as long as some 300 rows lose without
/// them (`cargo bench`, `order` and `gemm/i8w8 first`): a program that encodes one picture need not wait for that.
const ROWS: usize = 400;

impl Orders {
    /// Of the matrices among `tensors`, not found yet.
    pub(crate) fn of<'w>(kernels: &Kernels, tensors: impl Iterator<Item = Tensor<'w>>) -> Orders {
        let mut orders = Orders { at: Vec::new(), bytes: 0, rows: 0, found: false };
        for weights in tensors.filter_map(|tensor| tensor.weights().ok()) {
            let Weights::I8(codes) = weights else { continue };
            let end = orders.bytes + panels(weights.n()) * kernels.order_bytes(&codes);
            if end > orders.bytes {
                orders.at.push((weights.address(), orders.bytes..end));
                orders.bytes = end;
            }
        }
        orders.at.sort_unstable_by_key(|(address, _)| *address);
        orders
    }

    /// Bytes of all of them.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Counts the rows of a forward pass, before which it finds the orders if enough have passed.
    pub(crate) fn pass<'w>(
        &mut self,
        rows: usize,
        team: &mut Team,
        kernels: &Kernels,
        tensors: impl Iterator<Item = Tensor<'w>>,
        bytes: &mut [u8],
    ) {
        let before = self.rows;
        self.rows = before.saturating_add(rows);
        if self.found || before < ROWS {
            return;
        }
        for weights in tensors.filter_map(|tensor| tensor.weights().ok()) {
            let (Weights::I8(codes), Some(at)) = (weights, self.at(&weights)) else { continue };
            let len = kernels.order_bytes(&codes);
            let each = Divisible::new(panels(weights.n()), 1, &mut bytes[at], |order, panels, at| {
                order.split_at_mut((at - panels.start) * len)
            });
            let threads = team.threads();
            team.divide(each, (0..threads).map(|_| ()), |panels, order, ()| {
                kernels.find_order(&codes, panels, order);
            });
        }
        self.found = true;
    }

    /// `weights` with their order, if it is among those in `bytes`.
    pub(crate) fn attach<'w>(&self, weights: Weights<'w>, bytes: &'w [u8]) -> Weights<'w> {
        match (weights, self.at(&weights)) {
            (Weights::I8(codes), Some(at)) if self.found => Weights::I8(codes.with_order(&bytes[at])),
            _ => weights,
        }
    }

    fn at(&self, weights: &Weights<'_>) -> Option<Range<usize>> {
        let found = self.at.binary_search_by_key(&weights.address(), |(address, _)| *address).ok()?;
        Some(self.at[found].1.clone())
    }
}
