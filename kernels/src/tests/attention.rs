//! Attention against a naive f64 softmax(Q·Kᵀ/√d)·V, with ALiBi softmax(Q·Kᵀ/√d − slope · distance)·V.

use super::Failures;
use crate::alibi;
use crate::attention::Attention;
use crate::matrix::{Mat, MatMut};
use crate::testing::{Rng, each_isa};
use std::format;
use std::vec;
use std::vec::Vec;

/// How far a weighted mean of values of at most 1 may be off, with scores of up to about ten.
const BUDGET: f64 = 1e-5;

/// The slopes as the paper's own program finds them: those of a power of two are a geometric sequence, and heads beyond
/// the largest such number take every other one of the next.
fn alibi_slopes(heads: usize) -> Vec<f64> {
    let power = 1 << heads.ilog2();
    let start = (-8.0 / power as f64).exp2();
    let mut slopes: Vec<f64> = (1..=power).map(|i| start.powi(i)).collect();
    if heads > power as usize {
        slopes.extend(alibi_slopes(2 * power as usize).into_iter().step_by(2));
    }
    slopes.truncate(heads);
    slopes
}

/// `[head][query][head_dim]` for every query.
fn naive(shape: &Attention, qkv: &[f32]) -> Vec<f64> {
    let Attention { tokens, queries, heads, head_dim, causal, alibi } = *shape;
    let part = |token: usize, part: usize, head: usize| {
        &qkv[((token * 3 + part) * heads + head) * head_dim..][..head_dim]
    };
    let mut out = Vec::new();
    for head in 0..heads {
        let slope = if alibi { alibi_slopes(heads)[head] } else { 0.0 };
        for query in 0..queries {
            let seen = if causal { query + 1 } else { tokens };
            let score = |key: usize| {
                let terms = part(query, 0, head).iter().zip(part(key, 1, head));
                let product = terms.map(|(&q, &k)| f64::from(q) * f64::from(k)).sum::<f64>();
                product / (head_dim as f64).sqrt() - slope * query.abs_diff(key) as f64
            };
            let scores: Vec<f64> = (0..seen).map(score).collect();
            let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
            let total: f64 = weights.iter().sum();
            let mut mean = vec![0.0; head_dim];
            for (key, weight) in weights.iter().enumerate() {
                for (mean, &v) in mean.iter_mut().zip(part(key, 2, head)) {
                    *mean += weight * f64::from(v);
                }
            }
            out.extend(mean.iter().map(|sum| sum / total));
        }
    }
    out
}

/// The rows of `qkv`, one row of others' on either ops, in blocks.
fn blocks(qkv: &[f32], cols: usize, block: usize) -> Vec<f32> {
    let rows = qkv.len() / cols + 2;
    let mut out = vec![f32::NAN; rows * cols];
    let mut mat = MatMut::blocks(&mut out, rows, cols, block);
    for (row, values) in qkv.chunks_exact(cols).enumerate() {
        for (i, values) in values.chunks_exact(block).enumerate() {
            mat.row_mut(row + 1, i * block..(i + 1) * block).copy_from_slice(values);
        }
    }
    out
}

#[test]
#[cfg_attr(miri, ignore = "libm's square root is assembly")]
fn attention_matches_the_naive_formula_and_its_shares_the_whole() {
    let mut failures = Failures::default();
    let mut rng = Rng::new(6);
    let isas = each_isa();
    for head_dim in [8, 12, 64, 72, 80] {
        for tokens in [1, 5, 16, 17, 50, 197] {
            let heads = if tokens > 100 { 1 } else { 3 };
            // Queries are larger than the rest: some scores stand out, as trained ones do.
            let width = heads * head_dim;
            let mut qkv = rng.floats(tokens * 3 * width, 1.0);
            qkv.chunks_exact_mut(3 * width).for_each(|row| row[..width].iter_mut().for_each(|q| *q *= 3.0));
            for (causal, queries, alibi) in [
                (false, tokens, false),
                (false, 1, false),
                (true, tokens, false),
                (false, tokens, true),
                (true, 1, true),
            ] {
                let shape = Attention { tokens, queries, heads, head_dim, causal, alibi };
                let right = naive(&shape, &qkv);
                // Alone and row-major, and in narrow blocks between the tokens of others.
                let row_major = (qkv.clone(), 0, tokens, 3 * width);
                let in_blocks = (blocks(&qkv, 3 * width, 4), 1, tokens + 2, 4);
                for (kernels, (values, first, all, block)) in
                    isas.iter().flat_map(|isa| [(isa, &row_major), (isa, &in_blocks)])
                {
                    let (qkv, first) = (Mat::new(values, *all, 3 * width, *block), *first);
                    // NaN shows whatever is read before it is written.
                    let mut scratch = vec![f32::NAN; shape.scratch_len()];
                    let items = kernels.attention_items(&shape);
                    let mut whole = vec![f32::NAN; right.len()];
                    kernels.attention(&shape, &qkv, first, 0..items, &mut whole, &mut scratch);
                    let error = |(&got, &right): (&f32, &f64)| (f64::from(got) - right).abs();
                    // `total_cmp` ranks NaN above everything.
                    let worst = whole.iter().zip(&right).map(error).max_by(f64::total_cmp).expect("some");
                    failures.check(worst <= BUDGET, || format!("{} {shape:?}: {worst:e} off", kernels.isa()));
                    let mut split = Vec::new();
                    for part in 0..3 {
                        let items = items * part / 3..items * (part + 1) / 3;
                        let mut rows =
                            vec![f32::NAN; kernels.attention_rows(&shape, items.clone()).len() * head_dim];
                        scratch.fill(f32::NAN);
                        kernels.attention(&shape, &qkv, first, items, &mut rows, &mut scratch);
                        split.extend(rows);
                    }
                    let same =
                        whole.iter().zip(&split).all(|(whole, split)| whole.to_bits() == split.to_bits());
                    failures.check(same && whole.len() == split.len(), || {
                        format!("{} {shape:?}: three shares differ from the whole", kernels.isa())
                    });
                }
            }
        }
    }
    failures.report();
}

#[test]
fn alibi_slopes_are_the_papers() {
    let slope = |head, heads| f64::from(alibi::slope(head, heads));
    // Section 3 of arXiv 2108.12409: eight heads have 1/2, 1/4 ... 1/256.
    (0..8).for_each(|head| assert_eq!(slope(head, 8), (-1.0 - head as f64).exp2()));
    for heads in 1..=40 {
        for (head, right) in alibi_slopes(heads).into_iter().enumerate() {
            assert!((slope(head, heads) / right - 1.0).abs() < 1e-7, "{head} of {heads}: {right}");
        }
    }
}
