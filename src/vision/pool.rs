//! From the last block's tokens to one vector.

use super::pool_head::{head_shape, pool_by_attention};
use crate::format::Pooling;
use crate::model::VisionWeights;
use crate::nn::{Forward, Merger, Shape, mean};

/// One vector per image, `pooled`: [images, width], from its normed tokens, `x`: [images, tokens, width]. A merged token counts
/// as the patches that it stands for.
pub(crate) fn pool(
    forward: &mut Forward<'_>,
    weights: &VisionWeights<'_>,
    shape: &Shape,
    pooling: Pooling,
    merger: Option<&Merger<'_>>,
    x: &[f32],
    work: &mut [f32],
    pooled: &mut [f32],
) {
    let Shape { images, tokens, width, eps, .. } = *shape;
    let sizes = || merger.map_or(&[][..], |merger| merger.sizes(images * tokens));
    match pooling {
        Pooling::MeanPatches => mean(shape, weights.prefix_tokens(width), sizes(), x, pooled),
        Pooling::MeanAll => mean(shape, 0, sizes(), x, pooled),
        Pooling::AttentionHead => {
            let head = weights.head.as_ref().expect("a file has the head that its pooling names");
            let key_bias = merger.map_or(&[][..], |merger| merger.key_bias(images * tokens));
            pool_by_attention(forward, head, &head_shape(head, shape), key_bias, x, work, pooled);
        }
        _ => {
            for (x, pooled) in x.chunks_exact(tokens * width).zip(pooled.chunks_exact_mut(width)) {
                pooled.copy_from_slice(&x[..width]);
            }
        }
    }
    if let Some(norm) = &weights.pool_norm {
        forward.norm_rows(norm, eps, pooled);
    }
    forward.pooler(weights.projection.pooler.as_ref(), pooled, work);
}
