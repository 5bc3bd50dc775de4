//! Attention with linear biases (ALiBi, arXiv 2108.12409), in both directions: a score loses the distance of its two tokens
//! times a slope, which differs between heads. Nothing of it is stored.

/// The slope of head `head` of `heads`: `2^(−8·(head + 1)/n)` of the first n heads, the largest power of two; the heads
/// beyond take every other slope that 2n heads would have.
pub(crate) fn slope(head: usize, heads: usize) -> f32 {
    let power = 1usize << heads.ilog2();
    // Halves of a step between the slopes of n heads.
    let halves = if head < power { 2 * (head + 1) } else { 2 * (head - power) + 1 };
    libm::exp2(-4.0 * halves as f64 / power as f64) as f32
}

/// Takes the bias of query `query` from `scores`, one for each key from the first on, which are multiplied by `scale`
/// later: the bias is divided by it here.
pub(crate) fn bias(head: usize, heads: usize, scale: f32, query: usize, scores: &mut [f32]) {
    let slope = slope(head, heads) / scale;
    for (key, score) in scores.iter_mut().enumerate() {
        *score -= slope * query.abs_diff(key) as f32;
    }
}
