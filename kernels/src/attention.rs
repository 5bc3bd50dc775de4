//! Multi-head attention without the score matrix: `softmax(Q·Kᵀ/√d)·V` (arXiv 1706.03762), one head and a few query
//! rows at a time.
//!
//! ```text
//! for each head of the thread's share     K is transposed and V copied into panels of 16, once per head
//!   for each few query rows
//!     S = Q·Kᵀ                            a few rows × tokens: stays in L1; with ALiBi, less slope · distance
//!     P = exp((S − max)·scale), Σ         causal: entries after the query's own are zero
//!     O = P·V / Σ
//! ```
//!
//! An *item* is as many query rows of one head as the micro-kernel multiplies at once; a thread takes a run of items. The result is head-major, `[head][query][d]`, so
//! that a run of items is one slice.

use crate::alibi;
use crate::kernels::Kernels;
use crate::matrix::Mat;
use crate::pack::{NR, padded_n};
use crate::table::MR_MAX;
use core::ops::Range;

/// The shape of one attention, for one image or one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attention {
    /// Tokens that are attended to.
    pub tokens: usize,
    /// Tokens that attend: the first `queries` ones.
    pub queries: usize,
    /// Heads.
    pub heads: usize,
    /// Channels of a head.
    pub head_dim: usize,
    /// Token i sees tokens 0..=i only (CLIP's text tower).
    pub causal: bool,
    /// Scores fall with the distance of the two tokens, in each head by its own slope (Jina-CLIP's text tower).
    pub alibi: bool,
}

impl Attention {
    /// f32 elements of working memory that one thread needs.
    ///
    /// # Panics
    /// If there are more than a `usize` holds.
    pub const fn scratch_len(&self) -> usize {
        let (keys, values) = (padded_n(self.tokens), padded_n(self.head_dim));
        // At least `keys·head_dim + values·keys + MR_MAX·(head_dim + keys + values)`.
        let columns = values.checked_add(MR_MAX).expect(TOO_LARGE);
        let per_key = columns.checked_add(self.head_dim).expect(TOO_LARGE);
        let per_query = values.checked_mul(2 * MR_MAX).expect(TOO_LARGE);
        keys.checked_mul(per_key).expect(TOO_LARGE).checked_add(per_query).expect(TOO_LARGE)
    }

    /// Multiply-accumulates of all items; `u64::MAX` if there are more.
    pub const fn macs(&self) -> u64 {
        (2 * self.heads as u64)
            .saturating_mul(self.queries as u64)
            .saturating_mul(self.tokens as u64)
            .saturating_mul(self.head_dim as u64)
    }
}

const TOO_LARGE: &str = "the attention fits memory";

impl Kernels {
    /// The query rows of `items` among the `heads × queries` rows of the result.
    ///
    /// # Panics
    /// If `shape` has no queries.
    pub fn attention_rows(&self, shape: &Attention, items: Range<usize>) -> Range<usize> {
        let row_groups = shape.queries.div_ceil(self.table.gemm_f32.mr);
        let row = |item: usize| {
            item / row_groups * shape.queries
                + (item % row_groups * self.table.gemm_f32.mr).min(shape.queries)
        };
        row(items.start)..row(items.end)
    }

    /// How many items `shape` has.
    ///
    /// # Panics
    /// If there are more than a `usize` holds.
    pub fn attention_items(&self, shape: &Attention) -> usize {
        shape.heads.checked_mul(shape.queries.div_ceil(self.table.gemm_f32.mr)).expect(TOO_LARGE)
    }

    /// Computes the rows of `items` into `out`.
    ///
    /// `qkv`: `3·heads·head_dim` columns, queries, then keys, then values, of which the `tokens` rows from `first_token`
    /// on are this image's. `out`: the rows that [`attention_rows`](Self::attention_rows) names, `head_dim` each.
    ///
    /// # Panics
    /// If a length does not fit `shape`, or `shape` has no queries, no channels, or more queries than tokens.
    pub fn attention(
        &self,
        shape: &Attention,
        qkv: &Mat<'_>,
        first_token: usize,
        items: Range<usize>,
        out: &mut [f32],
        scratch: &mut [f32],
    ) {
        let Attention { tokens, queries, heads, head_dim, causal, alibi } = *shape;
        let width = heads.checked_mul(head_dim).filter(|&width| width > 0);
        assert!(
            (1..=tokens).contains(&queries) && width.is_some(),
            "{queries} queries, {tokens} tokens, {heads} heads of {head_dim} channels"
        );
        assert!(
            qkv.cols().is_multiple_of(3) && width == Some(qkv.cols() / 3),
            "qkv of {} columns",
            qkv.cols()
        );
        assert!(
            first_token <= qkv.rows() && tokens <= qkv.rows() - first_token,
            "{tokens} tokens from {first_token} of {}",
            qkv.rows()
        );
        assert!(items.start <= items.end && items.end <= self.attention_items(shape), "items {items:?}");
        let rows = self.attention_rows(shape, items.clone());
        assert_eq!(rows.len().checked_mul(head_dim), Some(out.len()), "attention output");
        assert!(scratch.len() >= shape.scratch_len(), "attention scratch of {}", scratch.len());
        let step = self.table.gemm_f32.mr;
        let (keys, values) = (padded_n(tokens), padded_n(head_dim));
        let (k_panels, rest) = scratch.split_at_mut(keys * head_dim);
        let (v_panels, rest) = rest.split_at_mut(values * keys);
        let (q, rest) = rest.split_at_mut(step * head_dim);
        let (scores, rest) = rest.split_at_mut(step * keys);
        let sums = &mut rest[..step * values];
        let scale = 1.0 / libm::sqrtf(head_dim as f32);
        let row_groups = queries.div_ceil(step);
        let mut packed = None;
        for item in items.clone() {
            let (head, first) = (item / row_groups, item % row_groups * step);
            if packed != Some(head) {
                pack_keys(qkv, first_token, shape, head, k_panels);
                pack_values(qkv, first_token, shape, head, v_panels);
                packed = Some(head);
            }
            let count = step.min(queries - first);
            for (i, q) in q.chunks_exact_mut(head_dim).take(count).enumerate() {
                qkv.copy_row(first_token + first + i, head * head_dim, q);
            }
            scores.fill(0.0);
            self.table.gemm_f32.multiply_all(
                head_dim,
                q,
                head_dim,
                count,
                k_panels,
                head_dim * NR,
                scores,
                keys,
            );
            let mut inverses = [0.0; MR_MAX];
            for (i, row) in scores.chunks_exact_mut(keys).take(count).enumerate() {
                // What is not seen, and what only fills the last panel, counts for nothing.
                let seen = if causal { first + i + 1 } else { tokens };
                if alibi {
                    alibi::bias(head, heads, scale, first + i, &mut row[..seen]);
                }
                row[seen..].fill(f32::NEG_INFINITY);
                inverses[i] = 1.0 / self.softmax(row, scale);
            }
            sums.fill(0.0);
            self.table.gemm_f32.multiply_all(tokens, scores, keys, count, v_panels, keys * NR, sums, values);
            let start = (head * queries + first - rows.start) * head_dim;
            let out = &mut out[start..][..count * head_dim];
            for ((out, sums), inverse) in
                out.chunks_exact_mut(head_dim).zip(sums.chunks_exact(values)).zip(inverses)
            {
                out.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum * inverse);
            }
        }
    }
}

/// Kᵀ of one head as panels `[tokens/16][head_dim][16]`; tokens past the end are zero.
fn pack_keys(qkv: &Mat<'_>, first_token: usize, shape: &Attention, head: usize, panels: &mut [f32]) {
    let Attention { tokens, heads, head_dim, .. } = *shape;
    let first = (heads + head) * head_dim;
    if !tokens.is_multiple_of(NR) {
        panels[tokens / NR * NR * head_dim..].fill(0.0);
    }
    for (channel, len, rows) in qkv.col_pieces(first_token..first_token + tokens, first..first + head_dim) {
        for (token, row) in rows.enumerate() {
            let panel = &mut panels[(token / NR * head_dim + channel) * NR..][..len * NR];
            for (value, to) in row.iter().zip(panel.as_chunks_mut::<NR>().0) {
                to[token % NR] = *value;
            }
        }
    }
}

/// V of one head as panels `[head_dim/16][tokens][16]`; channels past the end are zero.
fn pack_values(qkv: &Mat<'_>, first_token: usize, shape: &Attention, head: usize, panels: &mut [f32]) {
    let Attention { tokens, heads, head_dim, .. } = *shape;
    let first = (2 * heads + head) * head_dim;
    for (p, panel) in panels.chunks_exact_mut(padded_n(tokens) * NR).enumerate() {
        let lanes = NR.min(head_dim - p * NR);
        let cols = first + p * NR..first + p * NR + lanes;
        let panel = &mut panel.as_chunks_mut::<NR>().0[..tokens];
        if lanes < NR {
            panel.fill([0.0; NR]);
        }
        for (lane, len, rows) in qkv.col_pieces(first_token..first_token + tokens, cols) {
            for (row, to) in rows.zip(&mut *panel) {
                match row.as_array::<NR>() {
                    // A fixed length compiles to a few vector instructions.
                    Some(row) => *to = *row,
                    None => to[lane..lane + len].copy_from_slice(row),
                }
            }
        }
    }
}
