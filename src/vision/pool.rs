//! From the last block's tokens to one vector.

use super::pool_head::{head_shape, pool_by_attention};
use crate::format::Pooling;
use crate::model::VisionWeights;
use crate::nn::{Forward, Shape, mean};

/// The tokens behind the last norm.
#[derive(Clone, Copy)]
pub(crate) struct Normed<'a> {
    /// [images, tokens, width]
    pub(crate) x: &'a [f32],
    /// How many patches each stands for, and the logarithm of that; empty where none was merged.
    pub(crate) sizes: &'a [f32],
    pub(crate) key_bias: &'a [f32],
}

/// One vector per image, `pooled`: [images, width], from its tokens. A merged token counts as the patches that it stands for.
pub(crate) fn pool(
    forward: &mut Forward<'_>,
    weights: &VisionWeights<'_>,
    shape: &Shape,
    pooling: Pooling,
    tokens: &Normed<'_>,
    work: &mut [f32],
    pooled: &mut [f32],
) {
    let (Shape { width, eps, .. }, Normed { x, sizes, key_bias }) = (*shape, *tokens);
    match pooling {
        Pooling::MeanPatches => mean(shape, weights.prefix_tokens(width), sizes, x, pooled),
        Pooling::MeanAll => mean(shape, 0, sizes, x, pooled),
        Pooling::AttentionHead => {
            let head = weights.head.as_ref().expect("a file has the head that its pooling names");
            pool_by_attention(forward, head, &head_shape(head, shape), key_bias, x, work, pooled);
        }
        _ => {
            for (x, pooled) in x.chunks_exact(shape.tokens * width).zip(pooled.chunks_exact_mut(width)) {
                pooled.copy_from_slice(&x[..width]);
            }
        }
    }
    if let Some(norm) = &weights.pool_norm {
        forward.norm_rows(norm, eps, pooled);
    }
    forward.pooler(weights.projection.pooler.as_ref(), pooled, work);
}
