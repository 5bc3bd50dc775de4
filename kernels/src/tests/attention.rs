//! Attention against a naive f64 softmax(Q·Kᵀ/√d)·V, with ALiBi softmax(Q·Kᵀ/√d − slope · distance)·V.

use super::Failures;
use crate::alibi;
use crate::attention::{Attention, Operands, Tokens};
use crate::isa::Feature;
use crate::kernels::Kernels;
use crate::matrix::{Mat, MatMut};
use crate::testing::{Rng, each_isa};
use std::format;
use std::vec;
use std::vec::Vec;

/// How far a weighted mean of values of at most 1 may be off, with scores of up to about ten.
const BUDGET: f64 = 1e-5;
/// The same in half precision: a score of ten is off by up to 2⁻¹¹ of what its products add up to, and so is a value.
const BUDGET_F16: f64 = 2e-2;

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
    let Attention { tokens, queries, heads, head_dim, causal, alibi, .. } = *shape;
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
                let shape =
                    Attention { tokens, queries, heads, head_dim, causal, alibi, operands: Operands::F32 };
                let right = naive(&shape, &qkv);
                // Alone and row-major, and in narrow blocks between the tokens of others.
                let row_major = (qkv.clone(), 0, tokens, 3 * width);
                let in_blocks = (blocks(&qkv, 3 * width, 4), 1, tokens + 2, 4);
                let layouts = [&row_major, &in_blocks];
                for ((kernels, operands), (values, first, all, block)) in isas
                    .iter()
                    .flat_map(|isa| {
                        [Operands::F32, Operands::F16, Operands::I8].map(|operands| (isa, operands))
                    })
                    .flat_map(|case| layouts.map(|layout| (case, layout)))
                {
                    let (shape, half) = (Attention { operands, ..shape }, half(kernels, operands));
                    if operands != Operands::F32 && !half {
                        continue;
                    }
                    let budget = if half { BUDGET_F16 } else { BUDGET };
                    let qkv = Mat::new(values, *all, 3 * width, *block);
                    let from = Tokens { qkv: &qkv, first: *first, key_bias: &[] };
                    // NaN shows whatever is read before it is written.
                    let mut scratch = vec![f32::NAN; shape.scratch_len()];
                    let items = kernels.attention_items(&shape);
                    let mut whole = vec![f32::NAN; right.len()];
                    kernels.attention(&shape, &from, 0..items, &mut whole, &mut scratch);
                    let error = |(&got, &right): (&f32, &f64)| (f64::from(got) - right).abs();
                    // `total_cmp` ranks NaN above everything.
                    let worst = whole.iter().zip(&right).map(error).max_by(f64::total_cmp).expect("some");
                    failures.check(worst <= budget, || format!("{} {shape:?}: {worst:e} off", kernels.isa()));
                    let mut split = Vec::new();
                    for part in 0..3 {
                        let items = items * part / 3..items * (part + 1) / 3;
                        let mut rows =
                            vec![f32::NAN; kernels.attention_rows(&shape, items.clone()).len() * head_dim];
                        scratch.fill(f32::NAN);
                        kernels.attention(&shape, &from, items, &mut rows, &mut scratch);
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

/// Whether `operands` are multiplied in half precision.
fn half(kernels: &Kernels, operands: Operands) -> bool {
    match operands {
        Operands::F32 | Operands::F16 => false,
        Operands::I8 => kernels.isa().has(Feature::Fp16Attention),
    }
}

/// Keys, values or scores beyond 65504, which half precision cannot hold, change nothing: such rows are f32's to the bit,
/// however they are shared out; and NaN stays NaN.
#[test]
#[cfg_attr(miri, ignore = "libm's square root is assembly")]
fn what_half_precision_cannot_hold_is_computed_in_f32() {
    let (tokens, heads, head_dim) = (40, 2, 16);
    let width = heads * head_dim;
    let shape = Attention {
        tokens,
        queries: tokens,
        heads,
        head_dim,
        causal: false,
        alibi: false,
        operands: Operands::I8,
    };
    let small = Rng::new(7).floats(tokens * 3 * width, 1.0);
    let with = |changes: &[(usize, usize, f32)]| {
        let mut qkv = small.clone();
        changes.iter().for_each(|&(token, col, x)| qkv[token * 3 * width + col] = x);
        qkv
    };
    // A key, a value, and in head 1 one query and key whose score is 10⁶/4; what is not finite stays so.
    let cases = [
        (with(&[(5, width + 3, 1e6)]), true),
        (with(&[(39, 2 * width + 7, -7e4)]), true),
        (with(&[(13, head_dim + 2, 1e3), (21, width + head_dim + 2, 1e3)]), true),
        (with(&[(9, 2 * width, f32::NAN)]), false),
    ];
    for kernels in each_isa() {
        let run = |operands, qkv: &[f32], parts: usize| {
            let shape = Attention { operands, ..shape };
            let qkv = Mat::new(qkv, tokens, 3 * width, 3 * width);
            let (mut out, mut scratch) = (Vec::new(), vec![f32::NAN; shape.scratch_len()]);
            let items = kernels.attention_items(&shape);
            for part in 0..parts {
                let items = items * part / parts..items * (part + 1) / parts;
                let mut rows = vec![0.0; kernels.attention_rows(&shape, items.clone()).len() * head_dim];
                let from = Tokens { qkv: &qkv, first: 0, key_bias: &[] };
                kernels.attention(&shape, &from, items, &mut rows, &mut scratch);
                out.extend(rows);
            }
            out
        };
        for (qkv, finite) in &cases {
            let (right, got) = (run(Operands::F32, qkv, 1), run(Operands::I8, qkv, 1));
            assert_eq!(got.iter().all(|x| x.is_finite()), *finite, "{}", kernels.isa());
            let close = |(got, right): (&f32, &f32)| {
                let scale = right.abs().max(1.0);
                (got - right).abs() <= BUDGET_F16 as f32 * scale || (got.is_nan() && right.is_nan())
            };
            assert!(got.iter().zip(&right).all(close), "{}: {got:?}\n{right:?}", kernels.isa());
            let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&run(Operands::I8, qkv, 3)), bits(&got), "{}: shares", kernels.isa());
        }
        // The query with the large score.
        let row = |out: &[f32]| out[(tokens + 13) * head_dim..][..head_dim].to_vec();
        let qkv = &cases[2].0;
        assert_eq!(row(&run(Operands::I8, qkv, 1)), row(&run(Operands::F32, qkv, 1)), "{}", kernels.isa());
    }
}

/// A key with a bias of ln 3 attracts as three equal keys do.
#[test]
#[cfg_attr(miri, ignore = "libm's square root is assembly")]
fn a_key_of_three_counts_three_times() {
    let (heads, head_dim) = (2, 24);
    let width = 3 * heads * head_dim;
    let once = Rng::new(11).floats(21 * width, 2.0);
    // Token 8 three times: of the queries only the first five count.
    let thrice = [&once[..9 * width], &once[8 * width..9 * width], &once[8 * width..]].concat();
    let mut key_bias = [0.0; 21];
    key_bias[8] = 3f32.ln();
    for kernels in each_isa() {
        for operands in [Operands::F32, Operands::I8] {
            let run = |values: &[f32], key_bias: &[f32]| {
                let tokens = values.len() / width;
                let shape =
                    Attention { tokens, queries: 5, heads, head_dim, causal: false, alibi: false, operands };
                let qkv = Mat::new(values, tokens, width, width);
                let (mut out, mut scratch) =
                    (vec![0.0; 5 * heads * head_dim], vec![0.0; shape.scratch_len()]);
                let items = 0..kernels.attention_items(&shape);
                let from = Tokens { qkv: &qkv, first: 0, key_bias };
                kernels.attention(&shape, &from, items, &mut out, &mut scratch);
                out
            };
            let (right, got, without) = (run(&thrice, &[]), run(&once, &key_bias), run(&once, &[]));
            let budget = if half(&kernels, operands) { BUDGET_F16 } else { 2.0 * BUDGET } as f32;
            let off =
                |a: &[f32], b: &[f32]| a.iter().zip(b).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
            assert!(off(&got, &right) <= budget, "{} {operands:?}: {}", kernels.isa(), off(&got, &right));
            assert!(off(&without, &right) > 10.0 * budget, "the bias matters: {}", off(&without, &right));
        }
    }
}

#[test]
fn every_product_of_attention_takes_as_many_rows() {
    for kernels in each_isa() {
        let halves = [&kernels.table.gemm_f16, &kernels.table.attention_f16];
        for half in halves.into_iter().flatten() {
            assert_eq!(half.mr, kernels.table.gemm_f32.mr, "{}", half.name);
        }
    }
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
