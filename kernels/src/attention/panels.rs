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
                for (value, to) in values.iter().zip(panel.as_chunks_mut::<NR>().0) {
                    to[token % NR] = *value;
                }
            }
        }
    }
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
        let panel = panel.as_chunks_mut::<NR>().0;
        if head_dim - p * NR < NR {
            panel.fill([T::zeroed(); NR]);
        } else {
            panel[tokens..].fill([T::zeroed(); NR]);
        }
    }
    let mut converted = [T::zeroed(); COLUMNS];
    for (channel, _, rows) in from.qkv.col_pieces(rows, first..first + head_dim) {
        for (token, row) in rows.enumerate() {
            for (i, row) in row.chunks(COLUMNS).enumerate() {
                let mut values = T::convert(kernels, row, &mut converted);
                let mut channel = channel + i * COLUMNS;
                while !values.is_empty() {
                    let (now, rest) = values.split_at(values.len().min(NR - channel % NR));
                    let to = &mut panels[(channel / NR * keys + token) * NR..][..NR];
                    match now.as_array::<NR>() {
                        // A fixed length compiles to a few vector instructions.
                        Some(now) => to.copy_from_slice(now),
                        None => to[channel % NR..][..now.len()].copy_from_slice(now),
                    }
                    (values, channel) = (rest, channel + now.len());
                }
            }
        }
    }
}
