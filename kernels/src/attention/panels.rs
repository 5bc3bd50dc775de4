//! Keys and values of one head as the right operands of its two products.

use super::products::Operand;
use super::{Attention, Tokens};
use crate::kernels::Kernels;
use crate::pack::{NR, padded_n};

/// Columns that are converted at once: a head's in most models.
const COLUMNS: usize = 64;

/// Kᵀ as panels `[tokens/16][k][16]`, `k` being `head_dim` and what the micro-kernel wants it padded to; padding is zero.
pub(super) fn pack_keys<T: Operand>(
    kernels: &Kernels,
    from: &Tokens<'_>,
    shape: &Attention,
    head: usize,
    panels: &mut [T],
) {
    let (Attention { tokens, heads, head_dim, .. }, rows) = (*shape, from.first..from.first + shape.tokens);
    let (first, k) = ((heads + head) * head_dim, T::steps(head_dim));
    if k > head_dim {
        panels.fill(T::zeroed());
    } else if !tokens.is_multiple_of(NR) {
        panels[tokens / NR * NR * k..].fill(T::zeroed());
    }
    let mut converted = [T::zeroed(); COLUMNS];
    for (channel, _, rows) in from.qkv.col_pieces(rows, first..first + head_dim) {
        for (token, row) in rows.enumerate() {
            for (i, row) in row.chunks(COLUMNS).enumerate() {
                let values = T::convert(kernels, row, &mut converted);
                let panel = &mut panels[(token / NR * k + channel + i * COLUMNS) * NR..][..row.len() * NR];
                let panel = panel.as_chunks_mut::<NR>().0;
                match (values.as_array::<NR>(), panel.as_mut_array::<NR>()) {
                    // A fixed length compiles to loads and stores alone.
                    (Some(values), Some(panel)) => scatter(values, panel, token % NR),
                    _ => scatter(values, panel, token % NR),
                }
            }
        }
    }
}

/// Writes each value into lane `lane` of its step.
#[inline(always)]
fn scatter<T: Copy>(values: &[T], steps: &mut [[T; NR]], lane: usize) {
    values.iter().zip(steps).for_each(|(value, step)| step[lane] = *value);
}

/// V as panels `[head_dim/16][k][16]`, `k` being as many tokens as the scores have columns; padding is zero.
pub(super) fn pack_values<T: Operand>(
    kernels: &Kernels,
    from: &Tokens<'_>,
    shape: &Attention,
    head: usize,
    panels: &mut [T],
) {
    let (Attention { tokens, heads, head_dim, .. }, rows) = (*shape, from.first..from.first + shape.tokens);
    let first = (2 * heads + head) * head_dim;
    let keys = padded_n(tokens);
    for (p, panel) in panels.chunks_exact_mut(keys * NR).enumerate() {
        let lanes = NR.min(head_dim - p * NR);
        let cols = first + p * NR..first + p * NR + lanes;
        let panel = panel.as_chunks_mut::<NR>().0;
        let empty = if lanes < NR { 0 } else { tokens };
        panel[empty..].fill([T::zeroed(); NR]);
        for (lane, len, rows) in from.qkv.col_pieces(rows.clone(), cols) {
            for (row, to) in rows.zip(&mut *panel) {
                match row.as_array::<NR>() {
                    // A fixed length compiles to a few vector instructions.
                    Some(row) => T::store(kernels, row, to),
                    None => T::store(kernels, row, &mut to[lane..lane + len]),
                }
            }
        }
    }
}
