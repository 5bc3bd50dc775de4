//! From the last block's tokens to one vector.

use super::pool_head::{head_shape, pool_by_attention};
use crate::format::Pooling;
use crate::model::VisionWeights;
use crate::nn::{Forward, Shape};

/// One vector per image, `pooled`: [images, width], from its normed tokens, `x`: [images, tokens, width].
pub(crate) fn pool(
    forward: &mut Forward<'_>,
    weights: &VisionWeights<'_>,
    shape: &Shape,
    pooling: Pooling,
    x: &[f32],
    work: &mut [f32],
    pooled: &mut [f32],
) {
    let Shape { images, tokens, width, eps, .. } = *shape;
    match pooling {
        Pooling::MeanPatches => mean(shape, weights.prefix_tokens(width), x, pooled),
        Pooling::MeanAll => mean(shape, 0, x, pooled),
        Pooling::AttentionHead => {
            let head = weights.head.as_ref().expect("a file has the head that its pooling names");
            pool_by_attention(forward, head, &head_shape(head, shape), x, work, pooled);
        }
        _ => {
            for (x, pooled) in x.chunks_exact(tokens * width).zip(pooled.chunks_exact_mut(width)) {
                pooled.copy_from_slice(&x[..width]);
            }
        }
    }
    if let Some(norm) = &weights.pool_norm {
        let before = &mut work[..images * width];
        before.copy_from_slice(pooled);
        for (pooled, before) in pooled.chunks_exact_mut(width).zip(before.chunks_exact(width)) {
            forward.kernels.layer_norm(before, norm.gamma, norm.beta, eps, pooled);
        }
    }
}

/// Channels that are summed at once.
const CHUNK: usize = 64;

/// `pooled[i]` = mean of tokens `first..` of image i, summed in f64. `x`: [images, tokens, width].
fn mean(shape: &Shape, first: usize, x: &[f32], pooled: &mut [f32]) {
    let Shape { tokens, width, .. } = *shape;
    for (x, pooled) in x.chunks_exact(tokens * width).zip(pooled.chunks_exact_mut(width)) {
        for (chunk, pooled) in pooled.chunks_mut(CHUNK).enumerate() {
            let mut sums = [0.0f64; CHUNK];
            for token in x[first * width..].chunks_exact(width) {
                let values = &token[chunk * CHUNK..][..pooled.len()];
                sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += f64::from(*value));
            }
            pooled
                .iter_mut()
                .zip(sums)
                .for_each(|(pooled, sum)| *pooled = (sum / (tokens - first) as f64) as f32);
        }
    }
}
