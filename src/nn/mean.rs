//! Pooling by the mean.

use super::Shape;

/// Channels that are summed at once.
const CHUNK: usize = 64;

/// `pooled[i]` = mean of tokens `first..` of image i, summed in f64. `x`: [images, tokens, width].
pub(crate) fn mean(shape: &Shape, first: usize, x: &[f32], pooled: &mut [f32]) {
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
