//! Patches to tokens: a linear layer over the pixels of each patch, class token and registers before them, and
//! positions.

use super::position::pyramid;
use crate::format::VisionConfig;
use crate::model::{Norm, VisionWeights};
use crate::nn::{Forward, Shape};
use crate::preprocess::{NormalizationTable, write_patch_row, write_patch_row_planar};
use crate::profile::Op;
use ocelli_kernels::Epilogue;

/// What the image tower starts from.
pub(crate) enum ImageInput<'a> {
    /// Preprocessed frames, [images, height, width, 3] bytes, normalised on the way by the table.
    Frames {
        frames: &'a [u8],
        height: usize,
        width: usize,
        patch: usize,
        normalization: &'a NormalizationTable,
    },
    /// Normalised pixels, [images, 3, height, width].
    Planar { pixels: &'a [f32], height: usize, width: usize, patch: usize },
    /// The levels of each image's pyramid, one after the other.
    Pyramid { levels: &'a [f32], config: &'a VisionConfig },
    /// Normalised patches of one image, [patches, patch² · 3].
    Patches { patches: &'a [f32] },
}

/// Fills `x`, [images, tokens, width]: class token, registers, then patches, plus `positions`, [tokens, width]. `work`
/// holds the patches on their way.
pub(crate) fn patch_embed(
    forward: &mut Forward<'_>,
    weights: &VisionWeights<'_>,
    shape: &Shape,
    input: &ImageInput<'_>,
    positions: &[f32],
    x: &mut [f32],
    work: &mut [f32],
) {
    let Shape { images, tokens, width, eps, .. } = *shape;
    let prefix = weights.prefix_tokens(width);
    let patches = tokens - prefix;
    let value = if matches!(input, ImageInput::Frames { .. }) { size_of::<u8>() } else { size_of::<f32>() };
    let read = images * patches * weights.patch_embed.weights.k() * value;
    forward.produce_from(read, Op::PatchRows, &weights.patch_embed, images * patches, |i, row| {
        let (image, patch) = (i / patches, i % patches);
        match input {
            ImageInput::Frames { frames, height, width, patch: side, normalization } => {
                let size = 3 * height * width;
                write_patch_row(&frames[image * size..][..size], *width, *side, patch, normalization, row);
            }
            ImageInput::Planar { pixels, height, width, patch: side } => {
                let size = 3 * height * width;
                write_patch_row_planar(&pixels[image * size..][..size], *height, *width, *side, patch, row);
            }
            ImageInput::Pyramid { levels, config } => {
                let size = levels.len() / images;
                pyramid::write_patch_row(config, &levels[image * size..][..size], patch, row);
            }
            ImageInput::Patches { patches } => {
                row.copy_from_slice(&patches[patch * row.len()..][..row.len()])
            }
        }
        if let Some(norm) = &weights.patch_norm {
            norm_in_place(norm, eps, row);
        }
    });
    let embedded = &mut work[..images * patches * width];
    forward.multiply(Op::PatchEmbed, &weights.patch_embed, Epilogue::Store, embedded);
    let kernels = forward.kernels;
    for (image, x) in x[..images * tokens * width].chunks_exact_mut(tokens * width).enumerate() {
        let (before, rest) = x.split_at_mut(prefix * width);
        let (class, registers) = before.split_at_mut(weights.class_token.map_or(0, <[f32]>::len));
        class.copy_from_slice(weights.class_token.unwrap_or_default());
        registers.copy_from_slice(weights.registers.unwrap_or_default());
        let embedded = &embedded[image * patches * width..][..patches * width];
        match &weights.embed_norm {
            None => rest.copy_from_slice(embedded),
            Some(norm) => {
                for (x, embedded) in rest.chunks_exact_mut(width).zip(embedded.chunks_exact(width)) {
                    kernels.layer_norm(embedded, norm.gamma, norm.beta, eps, x);
                }
            }
        }
        x.iter_mut().zip(positions).for_each(|(x, position)| *x += position);
    }
}

/// LayerNorm where the values lie; the kernel's reads one buffer and writes another.
fn norm_in_place(norm: &Norm<'_>, eps: f32, row: &mut [f32]) {
    let count = row.len() as f64;
    let mean = row.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
    let variance = row.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / count;
    let scale = 1.0 / (variance + f64::from(eps)).sqrt();
    for ((value, gamma), beta) in row.iter_mut().zip(norm.gamma).zip(norm.beta) {
        *value = ((f64::from(*value) - mean) * scale) as f32 * gamma + beta;
    }
}
