//! The text tower, top to bottom.

use crate::format::{Pooling, TextConfig};
use crate::model::TextWeights;
use crate::nn::{Course, Forward, Observer, Shape, Stage, block, mean, show};
use crate::profile::{Op, Work};
use ocelli_kernels::Remainders;

/// The text tower's buffers: residual stream, working memory, pooled vector.
pub(crate) struct TextBuffers<'a> {
    pub(crate) x: &'a mut [f32],
    pub(crate) work: &'a mut [f32],
    pub(crate) pooled: &'a mut [f32],
}

/// The position whose vector stands for the text, unless the mean of all does.
fn pooled_token(config: &TextConfig, pooling: Pooling, ids: &[u32]) -> usize {
    let last = ids.len().saturating_sub(1);
    match pooling {
        Pooling::FirstEos => ids.iter().position(|&id| id == config.eos).unwrap_or(last),
        // The first of equal maxima: CLIP pads with its end token, which has the largest id.
        Pooling::ArgMax => {
            let max = ids.iter().copied().max().unwrap_or(0);
            ids.iter().position(|&id| id == max).unwrap_or(last)
        }
        Pooling::Class => 0,
        _ => last,
    }
}

/// The token of `ids` whose vector stands for the text; `None` where the mean of all does.
pub(crate) fn read_token(config: &TextConfig, ids: &[u32]) -> Option<usize> {
    let pooling = Pooling::from_stored(config.tower.pooling).unwrap_or(Pooling::Last);
    (pooling != Pooling::MeanAll).then(|| pooled_token(config, pooling, ids))
}

/// Encodes texts of the same number of tokens, of which the same one is read ([`read_token`]), into `out`,
/// [texts, embed_dim], not normalised.
///
/// `ids`, [texts, tokens], are in range; `shape` has both numbers. Texts run at their own length where padding behind the
/// end would change nothing: with causal attention (CLIP), or where the library masks it (BERT).
#[expect(clippy::too_many_arguments, reason = "texts, their shape, where they go, and who watches")]
pub(crate) fn encode(
    forward: &mut Forward<'_>,
    weights: &TextWeights<'_>,
    shape: &Shape,
    ids: &[u32],
    config: &TextConfig,
    buffers: TextBuffers<'_>,
    out: &mut [f32],
    mut observer: Option<Observer<'_>>,
) {
    let TextBuffers { x, work, pooled } = buffers;
    let Shape { images: texts, tokens, width, eps, .. } = *shape;
    let (profile, x) = (&mut *forward.profile, &mut x[..texts * tokens * width]);
    let position_bytes = weights.position.map_or(0, |table| table.row_bytes());
    let moved = texts * tokens * (weights.token_embed.row_bytes() + position_bytes);
    profile.time(Op::TokenEmbed, Work::moved(moved + size_of_val(x)), || {
        for (i, (&id, x)) in ids.iter().zip(x.chunks_exact_mut(width)).enumerate() {
            weights.token_embed.row_into(id as usize, x);
            let Some(table) = &weights.position else { continue };
            // The working memory is free here; one row of it holds the position.
            let position = &mut work[..width];
            table.row_into(i % tokens, position);
            x.iter_mut().zip(position).for_each(|(x, position)| *x += *position);
        }
    });
    show(&mut observer, Stage::Embeddings, x);
    if let Some(norm) = &weights.pre_norm {
        forward.norm_rows(norm, eps, x);
        show(&mut observer, Stage::PreNorm, x);
    }
    // Where only the first token is read in the end, the others need not go past the last block's attention.
    let first_alone =
        Pooling::from_stored(config.tower.pooling) == Some(Pooling::Class) && observer.is_none();
    let read = read_token(config, &ids[..tokens]);
    forward.remainders = Remainders { count: read.map_or(0, |_| texts), row: read.unwrap_or(0) };
    let mut queries = tokens;
    for (i, of_block) in weights.blocks.iter().enumerate() {
        if first_alone && i + 1 == weights.blocks.len() {
            queries = 1;
        }
        block(forward, of_block, shape, Course { rotations: None, queries, merge: None }, x, work);
        show(&mut observer, Stage::Block(i), &x[..texts * queries * width]);
    }
    let pooled = &mut pooled[..texts * width];
    if let Some(token) = read {
        for (x, pooled) in x.chunks_exact(queries * width).zip(pooled.chunks_exact_mut(width)) {
            pooled.copy_from_slice(&x[token * width..][..width]);
        }
        if let Some(norm) = &weights.final_norm {
            forward.norm_rows(norm, eps, pooled);
        }
    } else {
        if let Some(norm) = &weights.final_norm {
            forward.norm_rows(norm, eps, x);
        }
        mean(shape, 0, &[], x, pooled);
    }
    forward.remainders = Remainders { count: texts, row: 0 };
    forward.pooler(weights.projection.pooler.as_ref(), pooled, work);
    show(&mut observer, Stage::Pooled, pooled);
    forward.project(&weights.projection, pooled, work, out);
    show(&mut observer, Stage::Projected, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;

    #[test]
    fn the_pooled_token_follows_the_models_rule() {
        let config = TextConfig { eos: 9, ..TextConfig::zeroed() };
        let pooled = |pooling, ids: &[u32]| pooled_token(&config, pooling, ids);
        // An end token, the padding that CLIP makes of it, and a larger id behind.
        let ids = [8, 3, 9, 9, 9, 11];
        assert_eq!(pooled(Pooling::FirstEos, &ids), 2);
        assert_eq!(pooled(Pooling::ArgMax, &ids), 5);
        assert_eq!(pooled(Pooling::ArgMax, &ids[..5]), 2);
        assert_eq!(pooled(Pooling::Last, &ids), 5);
        assert_eq!(pooled(Pooling::Class, &ids), 0);
        // Without an end token the last one counts.
        assert_eq!(pooled(Pooling::FirstEos, &ids[..2]), 1);
        assert_eq!(pooled(Pooling::ArgMax, &ids[..1]), 0);
    }
}
