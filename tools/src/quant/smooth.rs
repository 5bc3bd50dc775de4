//! Smoothing (SmoothQuant, arXiv 2211.10438): the runtime quantizes each token with one scale, so a channel that is
//! large in every token leaves the others few steps. Dividing that channel by a factor, and multiplying what reads it by
//! the same, changes nothing but that.
//!
//! Factors are powers of two, so that folding them into stored weights rounds nothing: the smoothed f32 model computes
//! the same bits. They go where the path between producer and consumer is linear in each channel:
//!
//! - LayerNorm's gain and offset → the columns of `qkv` or `fc1`,
//! - the rows of v in `qkv` → the columns of `out` (attention averages v, channel by channel), or where a norm stands
//!   between them, that norm → the columns of `out`,
//! - with a gated MLP, the rows of the value half of `fc1` → the columns of `fc2` (the gate multiplies them), or where a
//!   norm stands between them, that norm → the columns of `fc2`.
//!
//! In a post-norm tower what a norm gives is the residual stream itself, which other layers and sums read too: its gain
//! and offset stay as they are.
//!
//! A plain MLP has its activation function between `fc1` and `fc2`; no factor passes through that exactly, and none is
//! put there.

use super::canonical::Canonical;
use super::layer::{Error, product_i8};
use super::observe::Inputs;
use super::recipe::Recipe;
use crate::codes::Codes;
use ocelli::format::feature;
use ocelli_kernels::Kernels;
use std::ops::Range;

/// How much of the difference between channels goes into the weights: factor = peak^α / weight^(1 − α).
const ALPHAS: [f32; 8] = [0.25, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];

/// A place where channels can be rescaled.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// Tensors, and their rows, that are divided by the factors.
    pub producers: Vec<(usize, Range<usize>)>,
    /// The matrix whose columns are multiplied.
    pub consumer: usize,
}

/// Every such place of a model.
pub(super) fn sites(canonical: &Canonical<'_>) -> Vec<Site> {
    let mut sites = Vec::new();
    let config = canonical.config;
    for (tower, features) in [("vision", config.vision.tower.features), ("text", config.text.tower.features)]
    {
        let post_norm = features & feature::POST_NORM != 0;
        for block in 0.. {
            let find = |part: &str| canonical.find(&format!("{tower}.block.{block}.{part}"));
            let Some(qkv) = find("qkv.weight") else { break };
            let mut site = |producers: &[(Option<usize>, Range<usize>)], consumer: Option<usize>| {
                let producers: Vec<_> =
                    producers.iter().filter_map(|(i, rows)| Some(((*i)?, rows.clone()))).collect();
                if let (Some(consumer), false) = (consumer, producers.is_empty()) {
                    sites.push(Site { producers, consumer });
                }
            };
            let (width, rows) = (canonical.demands[qkv].k, canonical.demands[qkv].n);
            let norm = |name: &str| {
                [(find(&format!("{name}.weight")), 0..width), (find(&format!("{name}.bias")), 0..width)]
            };
            if !post_norm {
                site(&norm("norm1"), Some(qkv));
                site(&norm("norm2"), find("fc1.weight"));
            }
            let (v, inner) = (rows / 3 * 2..rows, 0..rows / 3);
            if let Some(gain) = find("attention_norm.weight") {
                let offset = find("attention_norm.bias");
                site(&[(Some(gain), inner.clone()), (offset, inner)], find("out.weight"));
            } else {
                site(&[(Some(qkv), v.clone()), (find("qkv.bias"), v)], find("out.weight"));
            }
            if let (Some(fc1), Some(fc2)) = (find("fc1.weight"), find("fc2.weight")) {
                let (rows, hidden) = (canonical.demands[fc1].n, canonical.demands[fc2].k);
                if let Some(gain) = find("mlp_norm.weight") {
                    site(&[(Some(gain), 0..hidden), (find("mlp_norm.bias"), 0..hidden)], Some(fc2));
                } else if rows == 2 * hidden {
                    site(&[(Some(fc1), hidden..rows), (find("fc1.bias"), hidden..rows)], Some(fc2));
                }
            }
        }
    }
    sites
}

/// The factors for the inputs of a matrix that make its product's error least, or none if every choice makes it
/// worse. `weights`: [n, k] as treated so far; `right`: the product in f32.
pub(super) fn factors(
    kernels: &Kernels,
    inputs: &Inputs,
    weights: &[f32],
    magnitude: i8,
    right: &[f32],
) -> Option<Vec<f32>> {
    let k = inputs.k;
    let mut columns = vec![0f32; k];
    for row in weights.chunks_exact(k) {
        columns.iter_mut().zip(row).for_each(|(peak, value)| *peak = peak.max(value.abs()));
    }
    let plain = product_i8(kernels, &inputs.sample, &Codes::plain(weights, k, magnitude));
    let mut least = Error::between(&plain, right).noise;
    let (mut best, mut tried) = (None, Vec::new());
    for alpha in ALPHAS {
        let candidate = candidate(&inputs.peak, &columns, alpha);
        if tried.contains(&candidate) {
            continue;
        }
        let mut scaled = inputs.clone();
        let inverse: Vec<f32> = candidate.iter().map(|factor| 1.0 / factor).collect();
        scaled.scale(&inverse);
        let mut weights = weights.to_vec();
        for row in weights.chunks_exact_mut(k) {
            row.iter_mut().zip(&candidate).for_each(|(value, factor)| *value *= factor);
        }
        let found = product_i8(kernels, &scaled.sample, &Codes::plain(&weights, k, magnitude));
        let noise = Error::between(&found, right).noise;
        if noise < least {
            (least, best) = (noise, Some(candidate.clone()));
        }
        tried.push(candidate);
    }
    best
}

/// Powers of two nearest to peak^α / weight^(1 − α), relative to their geometric mean. Channels that are always zero, on
/// either side, keep their scale.
fn candidate(peaks: &[f32], columns: &[f32], alpha: f32) -> Vec<f32> {
    let exponent = |(peak, column): (&f32, &f32)| {
        (*peak > 0.0 && *column > 0.0).then(|| alpha * peak.log2() - (1.0 - alpha) * column.log2())
    };
    let exponents: Vec<Option<f32>> = peaks.iter().zip(columns).map(exponent).collect();
    let known: Vec<f32> = exponents.iter().flatten().copied().collect();
    let mean = known.iter().sum::<f32>() / known.len().max(1) as f32;
    let factor =
        |exponent: &Option<f32>| exponent.map_or(1.0, |e| (e - mean).round().clamp(-12.0, 12.0).exp2());
    exponents.iter().map(factor).collect()
}

/// Folds `factors` into the model at `site`: producers divided, consumer multiplied.
pub(super) fn fold(canonical: &Canonical<'_>, site: &Site, factors: &[f32], recipe: &mut Recipe) {
    for (tensor, rows) in &site.producers {
        let n = canonical.demands[*tensor].n;
        recipe.scale_rows(*tensor, n, rows.clone(), factors.iter().map(|factor| 1.0 / factor));
    }
    recipe.scale_columns(site.consumer, factors);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_powers_of_two_and_leave_dead_channels_alone() {
        let factors = candidate(&[100.0, 1.0, 0.0, 1.5], &[0.1, 0.1, 0.1, 0.0], 0.5);
        assert_eq!(factors[2..], [1.0, 1.0]);
        assert!(factors.iter().all(|factor| factor.log2().fract() == 0.0));
        assert!(factors[0] >= 4.0 * factors[1]);
    }
}
