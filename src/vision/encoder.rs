//! The image tower, top to bottom.

use super::layer::Layer;
use super::patch_embed::{ImageInput, patch_embed};
use super::pool::{Normed, pool};
use crate::format::Pooling;
use crate::model::VisionWeights;
use crate::nn::rope::Rotations;
use crate::nn::{Course, Forward, Merger, Observer, Shape, Stage, block, show};
use ocelli_kernels::Remainders;

/// The image tower's buffers: residual stream, working memory, pooled vectors, and the result.
pub(crate) struct EncoderBuffers<'a> {
    pub(crate) x: &'a mut [f32],
    pub(crate) work: &'a mut [f32],
    pub(crate) pooled: &'a mut [f32],
    pub(crate) out: &'a mut [f32],
    /// Merges tokens on the way, if they are to be: every layer but that of the patches can be had then.
    pub(crate) merger: Option<Merger<'a>>,
}

/// What to compute, and from which tables.
pub(crate) struct Task<'a> {
    /// [tokens, width]
    pub(crate) positions: &'a [f32],
    pub(crate) rotations: Option<Rotations<'a>>,
    pub(crate) pooling: Pooling,
    pub(crate) layer: Layer,
}

/// Encodes `input` into `buffers.out`, for each image what `task.layer` says, not normalised.
///
/// With an observer every token is carried through the last block too, so that every stage can be shown.
pub(crate) fn encode(
    forward: &mut Forward<'_>,
    weights: &VisionWeights<'_>,
    shape: &Shape,
    input: &ImageInput<'_>,
    task: &Task<'_>,
    buffers: EncoderBuffers<'_>,
    mut observer: Option<Observer<'_>>,
) {
    let EncoderBuffers { x, work, pooled, out, mut merger } = buffers;
    let Shape { images, tokens, width, .. } = *shape;
    let observed = observer.is_some();
    let stream = images * tokens * width;

    forward.remainders = Remainders::default();
    patch_embed(forward, weights, shape, input, task.positions, x, work);
    show(&mut observer, Stage::Embeddings, &x[..stream]);
    if let Some(norm) = &weights.pre_norm {
        forward.norm_rows(norm, shape.eps, &mut x[..stream]);
        show(&mut observer, Stage::PreNorm, &x[..stream]);
    }
    // Where only the class token is read in the end, the others need not go past the last block's attention.
    let class_alone = match task.layer {
        Layer::Patch => false,
        Layer::Class => true,
        Layer::Pooled | Layer::Projected => task.pooling == Pooling::Class,
    };
    if class_alone {
        forward.remainders.count = images;
    }
    let mut queries = tokens;
    for (i, of_block) in weights.blocks.iter().enumerate() {
        let shape = Shape { tokens: queries, ..*shape };
        if i + 1 == weights.blocks.len() && class_alone && !observed {
            queries = 1;
        }
        let merge = merger.as_mut().map(|merger| (merger, i));
        let course = Course { rotations: task.rotations.as_ref(), queries, merge };
        queries = block(forward, of_block, &shape, course, x, work);
        show(&mut observer, Stage::Block(i), &x[..images * queries * width]);
    }
    let x = &mut x[..images * queries * width];
    if let Some(norm) = &weights.final_norm {
        forward.norm_rows(norm, shape.eps, x);
    }
    show(&mut observer, Stage::FinalNorm, x);

    let x = &*x;
    let of_image = |i: usize| &x[i * queries * width..][..queries * width];
    match task.layer {
        Layer::Patch => {
            let prefix = weights.prefix_tokens(width);
            for (i, out) in out.chunks_exact_mut((tokens - prefix) * width).enumerate() {
                out.copy_from_slice(&of_image(i)[prefix * width..]);
            }
        }
        Layer::Class => {
            out.chunks_exact_mut(width)
                .enumerate()
                .for_each(|(i, out)| out.copy_from_slice(&of_image(i)[..width]));
        }
        Layer::Pooled | Layer::Projected => {
            let pooled = &mut pooled[..images * width];
            let shape = Shape { tokens: queries, ..*shape };
            let rows = images * queries;
            let merger = merger.as_ref();
            let tokens = Normed {
                x,
                sizes: merger.map_or(&[], |merger| merger.sizes(rows)),
                key_bias: merger.map_or(&[], |merger| merger.key_bias(rows)),
            };
            pool(forward, weights, &shape, task.pooling, &tokens, work, pooled);
            show(&mut observer, Stage::Pooled, pooled);
            match task.layer {
                Layer::Projected => {
                    forward.remainders.count = images;
                    forward.project(&weights.projection, pooled, work, out);
                }
                _ => out.copy_from_slice(pooled),
            }
            show(&mut observer, Stage::Projected, out);
        }
    }
}
