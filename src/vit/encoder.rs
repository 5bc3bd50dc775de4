//! The image tower, top to bottom.

use super::block::{Shape, block};
use super::forward::Forward;
use super::patch_embed::patch_embed;
use super::pool::project;
use super::{Observer, Stage};
use crate::model::VisionWeights;
use crate::preprocess::Levels;

/// What the image tower starts from.
pub(crate) enum ImageInput<'a> {
    /// Preprocessed frames, [images, height, width, 3] bytes, normalised on the way through `levels`.
    Frames { frames: &'a [u8], height: usize, width: usize, patch: usize, levels: &'a Levels },
    /// Normalised pixels, [images, 3, height, width].
    Planar { pixels: &'a [f32], height: usize, width: usize, patch: usize },
}

impl ImageInput<'_> {
    /// Number of images.
    pub(crate) fn images(&self) -> usize {
        match self {
            ImageInput::Frames { frames, height, width, .. } => frames.len() / (3 * height * width),
            ImageInput::Planar { pixels, height, width, .. } => pixels.len() / (3 * height * width),
        }
    }
}

/// The image tower's buffers: residual stream, working memory, pooled vectors, and the result.
pub(crate) struct EncoderBuffers<'a> {
    pub(crate) x: &'a mut [f32],
    pub(crate) work: &'a mut [f32],
    pub(crate) pooled: &'a mut [f32],
    pub(crate) out: &'a mut [f32],
}

/// Encodes `input` into `buffers.out`, [images, embed_dim], not normalised.
///
/// With an observer every token is carried through the last block too, so that every stage can be shown.
pub(crate) fn encode(
    forward: &mut Forward<'_>,
    weights: &VisionWeights<'_>,
    shape: &Shape,
    input: &ImageInput<'_>,
    positions: &[f32],
    buffers: EncoderBuffers<'_>,
    mut observer: Option<Observer<'_>>,
) {
    let EncoderBuffers { x, work, pooled, out } = buffers;
    let Shape { images, tokens, width, eps, .. } = *shape;
    let observed = observer.is_some();
    let stream = images * tokens * width;

    patch_embed(forward, weights, input, positions, x, work);
    show(&mut observer, Stage::Embeddings, &x[..stream]);
    if let Some(norm) = &weights.pre_norm {
        let embedded = &mut work[..stream];
        embedded.copy_from_slice(&x[..stream]);
        for (x, embedded) in x.chunks_exact_mut(width).zip(embedded.chunks_exact(width)) {
            forward.kernels.layer_norm(embedded, norm.gamma, norm.beta, eps, x);
        }
        show(&mut observer, Stage::PreNorm, &x[..stream]);
    }
    // Only the class token is read in the end: past the last block's attention the others need not go.
    let mut queries = tokens;
    for (i, of_block) in weights.blocks.iter().enumerate() {
        if i + 1 == weights.blocks.len() && !observed {
            queries = 1;
        }
        block(forward, of_block, shape, queries, x, work);
        show(&mut observer, Stage::Block(i), &x[..images * queries * width]);
    }
    let pooled = &mut pooled[..images * width];
    project(
        forward,
        weights.final_norm.as_ref(),
        eps,
        width,
        weights.project.as_ref(),
        x,
        |i| i * queries,
        pooled,
        out,
    );
    show(&mut observer, Stage::Pooled, pooled);
    show(&mut observer, Stage::Projected, out);
}

fn show(observer: &mut Option<Observer<'_>>, stage: Stage, values: &[f32]) {
    if let Some(observer) = observer {
        observer(stage, values);
    }
}
