//! Pooling by the mean.

use super::Shape;

/// Channels that are summed at once.
const CHUNK: usize = 64;

/// `pooled[i]` = mean of tokens `first..` of image i, summed in f64. `x`: [images, tokens, width]; `sizes`: how often each
/// token counts, [images, tokens], or empty for once.
pub(crate) fn mean(shape: &Shape, first: usize, sizes: &[f32], x: &[f32], pooled: &mut [f32]) {
    let Shape { tokens, width, .. } = *shape;
    let images = x.chunks_exact(tokens * width).zip(pooled.chunks_exact_mut(width));
    for (image, (x, pooled)) in images.enumerate() {
        let size = |token: usize| sizes.get(image * tokens + token).map_or(1.0, |size| f64::from(*size));
        let total: f64 = (first..tokens).map(size).sum();
        for (chunk, pooled) in pooled.chunks_mut(CHUNK).enumerate() {
            let mut sums = [0.0f64; CHUNK];
            for (i, token) in x.chunks_exact(width).enumerate().skip(first) {
                let size = size(i);
                let values = &token[chunk * CHUNK..][..pooled.len()];
                sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += size * f64::from(*value));
            }
            pooled.iter_mut().zip(sums).for_each(|(pooled, sum)| *pooled = (sum / total) as f32);
        }
    }
}
