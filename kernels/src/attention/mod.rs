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
//! An *item* is as many query rows of one head as the micro-kernel multiplies at once; a thread takes a run of items. The
//! result is head-major, `[head][query][d]`, so that a run of items is one slice.
//!
//! Behind int8 weights both products are in half precision where the CPU has it: scores,
//! softmax and the sums of blocks stay f32.

mod panels;
mod products;

use crate::kernels::Kernels;
use crate::matrix::Mat;
use crate::pack::{Weights, padded_n};
use crate::table::{MR_MAX, MicroKernelFloat};
use core::ops::Range;
use half::f16;
use products::{Part, State, all_finite};

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
    /// What queries, keys, values and probabilities may be rounded to.
    pub operands: Operands,
}

/// What attends, for one image or one text.
#[derive(Clone, Copy, Debug)]
pub struct Tokens<'a> {
    /// `3·heads·head_dim` columns: queries, then keys, then values.
    pub qkv: &'a Mat<'a>,
    /// The row of `qkv` that holds the first of these tokens.
    pub first: usize,
    /// What is added to every score of a key, one for each token; or empty for nothing. The logarithm of n lets a key count
    /// as n equal ones (proportional attention, arXiv 2210.09461).
    pub key_bias: &'a [f32],
}

/// The weights that made queries, keys and values: what attention multiplies need not be finer than what they round to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operands {
    /// f32 weights: attention is f32 too.
    F32,
    /// f16 weights: attention is f32, since half precision would cost more than they do (cosine 0.99999 on the fixtures).
    F16,
    /// int8 weights: half precision where the CPU has it (`Feature::Fp16Attention`), else f32.
    I8,
}

impl Operands {
    /// Of the weights that make queries, keys and values.
    pub const fn of(weights: &Weights<'_>) -> Operands {
        match weights {
            Weights::I8(_) => Operands::I8,
            Weights::F16(_) => Operands::F16,
            Weights::F32(_) => Operands::F32,
        }
    }
}

impl Attention {
    /// f32 elements of working memory that one thread needs.
    ///
    /// # Panics
    /// If there are more than a `usize` holds.
    pub const fn scratch_len(&self) -> usize {
        let (keys, values) = (padded_n(self.tokens), padded_n(self.head_dim));
        // At least `keys·head_dim + values·keys + MR_MAX·(head_dim + keys + values) + head_dim`; in half precision keys, values
        // and rows take half of that, but rows are as long as there are keys.
        let columns = values.checked_add(MR_MAX).expect(TOO_LARGE);
        let per_key = columns.checked_add(self.head_dim).expect(TOO_LARGE);
        let per_query = values.checked_mul(2 * MR_MAX + 1).expect(TOO_LARGE);
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
        let row_groups = shape.queries.div_ceil(self.attention_step());
        let row = |item: usize| {
            item / row_groups * shape.queries + (item % row_groups * self.attention_step()).min(shape.queries)
        };
        row(items.start)..row(items.end)
    }

    /// How many items `shape` has.
    ///
    /// # Panics
    /// If there are more than a `usize` holds.
    pub fn attention_items(&self, shape: &Attention) -> usize {
        shape.heads.checked_mul(shape.queries.div_ceil(self.attention_step())).expect(TOO_LARGE)
    }

    /// Computes the rows of `items` into `out`.
    ///
    /// `out`: the rows that [`attention_rows`](Self::attention_rows) names, `head_dim` each.
    ///
    /// # Panics
    /// If a length does not fit `shape`, or `shape` has no queries, no channels, or more queries than tokens.
    pub fn attention(
        &self,
        shape: &Attention,
        from: &Tokens<'_>,
        items: Range<usize>,
        out: &mut [f32],
        scratch: &mut [f32],
    ) {
        let Attention { tokens, queries, heads, head_dim, .. } = *shape;
        let Tokens { qkv, first: first_token, key_bias } = *from;
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
        assert!(
            key_bias.is_empty() || key_bias.len() == tokens,
            "{} biases of {tokens} keys",
            key_bias.len()
        );
        assert!(items.start <= items.end && items.end <= self.attention_items(shape), "items {items:?}");
        let rows = self.attention_rows(shape, items.clone());
        assert_eq!(rows.len().checked_mul(head_dim), Some(out.len()), "attention output");
        assert!(scratch.len() >= shape.scratch_len(), "attention scratch of {}", scratch.len());
        let step = self.attention_step();
        let row_groups = queries.div_ceil(step);
        let mut state = State { packed: None, scratch };
        for item in items.clone() {
            let (head, first) = (item / row_groups, item % row_groups * step);
            let part = Part { shape, from, head, queries: first..queries.min(first + step) };
            let start = (head * queries + first - rows.start) * head_dim;
            let out = &mut out[start..][..part.queries.len() * head_dim];
            if let Some(kernel) = self.half_products(shape.operands) {
                self.attend(kernel, &part, out, &mut state);
                if all_finite(out) {
                    continue;
                }
                // What half precision cannot hold is computed again: no model is worse off on a faster CPU.
            }
            self.attend(&self.table.gemm_f32, &part, out, &mut state);
        }
    }

    /// The name of the micro-kernel that multiplies queries, keys and values that `weights` make, by the grammar in the
    /// crate's documentation.
    pub fn attention_name(&self, weights: &Weights<'_>) -> &'static str {
        self.half_products(Operands::of(weights)).map_or(self.table.gemm_f32.name, |kernel| kernel.name)
    }

    /// Query rows of an item: as many as each micro-kernel of attention multiplies at once.
    fn attention_step(&self) -> usize {
        self.table.gemm_f32.mr
    }

    /// The micro-kernel that multiplies `operands` in half precision, if one may and there is one.
    fn half_products(&self, operands: Operands) -> Option<&MicroKernelFloat<f16>> {
        match operands {
            Operands::F32 | Operands::F16 => None,
            Operands::I8 => self.table.attention_f16.as_ref(),
        }
    }
}
