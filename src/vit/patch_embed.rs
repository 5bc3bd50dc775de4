//! Patches to tokens: a linear layer over the pixels of each patch, the class token, and positions.

use super::encoder::ImageInput;
use super::forward::Forward;
use crate::model::VisionWeights;
use crate::preprocess::{write_patch_row, write_patch_row_planar};
use crate::profile::Op;
use ocelli_kernels::Epilogue;

/// Fills `x`, [images, 1 + patches, width]: class token, then patches, plus `positions`, [1 + patches, width].
/// `work` holds the patches on their way.
pub(crate) fn patch_embed(
    forward: &mut Forward<'_>,
    weights: &VisionWeights<'_>,
    input: &ImageInput<'_>,
    positions: &[f32],
    x: &mut [f32],
    work: &mut [f32],
) {
    let width = weights.patch_embed.weights.n();
    let tokens = positions.len() / width;
    let patches = tokens - 1;
    let images = input.images();
    forward.produce(Op::PatchRows, &weights.patch_embed, images * patches, |i, row| {
        let (image, patch) = (i / patches, i % patches);
        match input {
            ImageInput::Frames { frames, height, width, patch: side, levels } => {
                let size = 3 * height * width;
                write_patch_row(&frames[image * size..][..size], *width, *side, patch, levels, row);
            }
            ImageInput::Planar { pixels, height, width, patch: side } => {
                let size = 3 * height * width;
                write_patch_row_planar(&pixels[image * size..][..size], *height, *width, *side, patch, row);
            }
        }
    });
    let embedded = &mut work[..images * patches * width];
    forward.multiply(Op::PatchEmbed, &weights.patch_embed, Epilogue::Store, embedded);
    for (image, x) in x[..images * tokens * width].chunks_exact_mut(tokens * width).enumerate() {
        let (class, rest) = x.split_at_mut(width);
        class.copy_from_slice(weights.class_token.expect("only such models run"));
        rest.copy_from_slice(&embedded[image * patches * width..][..patches * width]);
        x.iter_mut().zip(positions).for_each(|(x, position)| *x += position);
    }
}
