//! Token merging (ToMe, arXiv 2210.09461): patches that look alike go on as one.
//!
//! ```text
//! after attention, of each image's tokens of patches:
//!   k = mean over the heads of the keys, of length 1
//!   every other token (even) finds the one among the rest (odd) whose k has the largest product with its own
//!   the `count` even tokens with the largest products go into theirs: x = Σ size · x / Σ size
//! afterwards each key's scores get ln(size): a token of n patches attracts as n of them would
//! ```
//!
//! Tokens keep their order. Class token and registers are never merged.

use super::block::Shape;
use super::forward::Forward;
use crate::format::Merging;
use crate::model::Linear;
use crate::profile::Op;
use ocelli_kernels::pack::{pack_float, packed_len};
use ocelli_kernels::{Epilogue, Mat, Weights, WeightsFloat};

/// How many tokens are merged where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MergePlan {
    pub(crate) merging: Merging,
    /// Patches of an image, and of one of the model's own size.
    pub(crate) patches: (usize, usize),
    /// Tokens before the patches.
    pub(crate) prefix: usize,
    pub(crate) depth: usize,
}

/// The memory in which tokens are merged.
pub(crate) struct MergeBuffers<'a> {
    /// Of every token: how many patches it stands for, and the logarithm of that.
    pub(crate) sizes: &'a mut [f32],
    pub(crate) logs: &'a mut [f32],
    /// Keys, those of the odd tokens packed, and products, of one image.
    pub(crate) work: &'a mut [f32],
    /// Of every even token: the odd one that is most like it.
    pub(crate) nearest: &'a mut [u32],
    /// The product of their keys.
    pub(crate) alike: &'a mut [f32],
    /// The even tokens, most alike first.
    pub(crate) order: &'a mut [u32],
}

impl MergeBuffers<'_> {
    /// The same for a shorter time.
    pub(crate) fn reborrow(&mut self) -> MergeBuffers<'_> {
        let MergeBuffers { sizes, logs, work, nearest, alike, order } = self;
        MergeBuffers { sizes, logs, work, nearest, alike, order }
    }
}

impl MergePlan {
    /// f32 elements of working memory for heads of `head_dim`.
    pub(crate) fn work_len(&self, head_dim: usize) -> usize {
        let (even, odd) = halves(self.patches.0);
        self.patches.0 * head_dim + packed_len(odd.max(1), head_dim) + even * odd
    }

    /// Even tokens of an image.
    pub(crate) fn even(&self) -> usize {
        halves(self.patches.0).0
    }
}

/// Of `patches` tokens how many have an even and how many an odd place.
const fn halves(patches: usize) -> (usize, usize) {
    (patches.div_ceil(2), patches / 2)
}

/// Merges the tokens of one batch from block to block.
pub(crate) struct Merger<'a> {
    plan: MergePlan,
    buffers: MergeBuffers<'a>,
    merged: bool,
}

impl<'a> Merger<'a> {
    pub(crate) fn new(plan: MergePlan, buffers: MergeBuffers<'a>) -> Merger<'a> {
        buffers.sizes.fill(1.0);
        buffers.logs.fill(0.0);
        Merger { plan, buffers, merged: false }
    }

    /// Of `rows` tokens how many patches each stands for; empty while each stands for one.
    pub(crate) fn sizes(&self, rows: usize) -> &[f32] {
        if self.merged { &self.buffers.sizes[..rows] } else { &[] }
    }

    /// What is added to the scores of `rows` keys; empty for nothing.
    pub(crate) fn key_bias(&self, rows: usize) -> &[f32] {
        if self.merged { &self.buffers.logs[..rows] } else { &[] }
    }

    /// Merges the tokens `x`, [images, tokens, width], of block number `block`, whose keys are in `qkv`. Returns how many
    /// each image has then.
    pub(crate) fn merge(
        &mut self,
        forward: &mut Forward<'_>,
        shape: &Shape,
        block: usize,
        qkv: &Mat<'_>,
        x: &mut [f32],
    ) -> usize {
        let Shape { images, tokens, width, .. } = *shape;
        let MergePlan { merging, patches, prefix, depth } = self.plan;
        let left = tokens - prefix;
        let count = merging.count(block, depth, patches, left);
        if count == 0 {
            return tokens;
        }
        self.merged = true;
        for image in 0..images {
            let first = image * tokens + prefix;
            self.find_nearest(forward, shape, qkv, first);
            self.join(&mut x[first * width..][..left * width], width, first, count);
        }
        // The tokens that are left move together, all images one after the other.
        let mut to = 0;
        for from in 0..images * tokens {
            if self.buffers.sizes[from] > 0.0 {
                x.copy_within(from * width..(from + 1) * width, to * width);
                self.buffers.sizes.copy_within(from..=from, to);
                to += 1;
            }
        }
        for (log, size) in self.buffers.logs.iter_mut().zip(&*self.buffers.sizes).take(to) {
            *log = f64::from(*size).ln() as f32;
        }
        tokens - count
    }

    /// Finds the nearest odd token of every even one, of the image whose patches start at row `first`. `work` ends with
    /// the products, [even, odd].
    fn find_nearest(&mut self, forward: &mut Forward<'_>, shape: &Shape, qkv: &Mat<'_>, first: usize) {
        let Shape { tokens, heads, head_dim, .. } = *shape;
        let left = tokens - self.plan.prefix;
        let (even, odd) = halves(left);
        let MergeBuffers { work, nearest, alike, .. } = &mut self.buffers;
        let (keys, rest) = work.split_at_mut(left * head_dim);
        let (panels, rest) = rest.split_at_mut(packed_len(odd, head_dim));
        let products = &mut rest[..even * odd];
        // The even tokens' keys, then the odd ones'.
        let moved = 2 * size_of_val(keys) * heads;
        forward.each_row(moved, Op::Merge, keys, head_dim, |i, key, tile| {
            let token = if i < even { 2 * i } else { 2 * (i - even) + 1 };
            let of_head = &mut tile[..head_dim];
            key.fill(0.0);
            for head in 0..heads {
                qkv.copy_row(first + token, (heads + head) * head_dim, of_head);
                key.iter_mut().zip(&*of_head).for_each(|(key, of_head)| *key += of_head);
            }
            let length = key.iter().map(|x| x * x).sum::<f32>().sqrt();
            if length > 0.0 {
                key.iter_mut().for_each(|key| *key /= length);
            }
        });
        let (keys, others) = keys.split_at(even * head_dim);
        panels.fill(0.0);
        pack_float(others, 0, head_dim, panels);
        let weights = WeightsFloat::new(odd, head_dim, panels).expect("as long as packed");
        let linear = Linear { weights: Weights::F32(weights), bias: &[] };
        forward.convert(Op::Merge, &linear, keys);
        forward.multiply(Op::Merge, &linear, Epilogue::Store, products);
        for ((nearest, alike), products) in
            nearest.iter_mut().zip(&mut **alike).zip(products.chunks_exact(odd))
        {
            let larger = |best: usize, i: usize| if products[i] > products[best] { i } else { best };
            let best = (1..odd).fold(0, larger);
            (*nearest, *alike) = (best as u32, products[best]);
        }
    }

    /// Joins the `count` even tokens that are most like their nearest odd one with it. `x`: [left, width], and `sizes` of
    /// these tokens; those that are gone have none.
    fn join(&mut self, x: &mut [f32], width: usize, first: usize, count: usize) {
        let MergeBuffers { sizes, nearest, alike, order, .. } = &mut self.buffers;
        let left = x.len() / width;
        let (sizes, order) = (&mut sizes[first..first + left], &mut order[..left.div_ceil(2)]);
        order.iter_mut().zip(0..).for_each(|(place, i)| *place = i);
        // Of equal ones the first.
        order.sort_unstable_by(|&a, &b| {
            alike[b as usize].total_cmp(&alike[a as usize]).then_with(|| a.cmp(&b))
        });
        for &even in &order[..count] {
            let (from, to) = (2 * even as usize, 2 * nearest[even as usize] as usize + 1);
            let share = sizes[from] / (sizes[from] + sizes[to]);
            let (low, high) = x.split_at_mut(from.max(to) * width);
            let (low, high) = (&mut low[from.min(to) * width..][..width], &mut high[..width]);
            let (from_x, to_x) = if from < to { (&*low, high) } else { (&*high, low) };
            to_x.iter_mut().zip(from_x).for_each(|(to, from)| *to += (from - *to) * share);
            sizes[to] += sizes[from];
            sizes[from] = 0.0;
        }
    }
}
