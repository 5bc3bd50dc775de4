//! Patches to tokens: a linear layer over the pixels of each patch, class token and registers before them, and
//! positions. MobileCLIP-B (arXiv 2311.17049) has three layers instead, convolutions without overlap: over the sixteen
//! squares of a patch, over each four of what they become, and over those four, with GELU between.

use super::position::pyramid;
use crate::format::VisionConfig;
use crate::model::{Norm, VisionWeights};
use crate::nn::{Forward, Shape};
use crate::preprocess::{NormalizationTable, write_patch_row, write_patch_row_planar};
use crate::profile::Op;
use ocelli_kernels::{Activation, Epilogue};

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
    let first = weights.patch_stem.as_ref().map_or(&weights.patch_embed, |[square, _]| square);
    // A stem reads a patch in sixteen squares.
    let squares = if weights.patch_stem.is_some() { 16 } else { 1 };
    let rows = images * patches * squares;
    forward.produce_from(rows * first.weights.k() * value, Op::PatchRows, first, rows, |i, row| {
        let (image, patch) = (i / (patches * squares), i / squares % patches);
        if squares == 1 {
            write_patch(input, images, image, patch, row);
        } else {
            write_square(input, image, patch, i % squares, row);
        }
        if let Some(norm) = &weights.patch_norm {
            norm_in_place(norm, eps, row);
        }
    });
    if let Some([square, four]) = &weights.patch_stem {
        // Four rows after each other are a row of the next layer: so are squares ordered.
        let stem = &mut work[..rows * square.weights.n()];
        forward.multiply(Op::PatchEmbed, square, Epilogue::Activate(Activation::Gelu), stem);
        forward.convert(Op::PatchRows, four, stem);
        let stem = &mut stem[..rows / 4 * four.weights.n()];
        forward.multiply(Op::PatchEmbed, four, Epilogue::Activate(Activation::Gelu), stem);
        forward.convert(Op::PatchRows, &weights.patch_embed, stem);
    }
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

/// Writes the values of a patch.
fn write_patch(input: &ImageInput<'_>, images: usize, image: usize, patch: usize, row: &mut [f32]) {
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
        ImageInput::Patches { patches } => row.copy_from_slice(&patches[patch * row.len()..][..row.len()]),
    }
}

/// Writes the values of square `square`, 0..16, of a patch: those of its upper left quarter first, then those of the
/// upper right, the lower left and the lower right one, and in each quarter in the same order.
fn write_square(input: &ImageInput<'_>, image: usize, patch: usize, square: usize, row: &mut [f32]) {
    let (quarter, part) = (square / 4, square % 4);
    let (down, right) = (quarter / 2 * 2 + part / 2, quarter % 2 * 2 + part % 2);
    // Where the square is among all of the image.
    let index = |width: usize, side: usize| {
        let (columns, across) = (width / side, width / (side / 4));
        (patch / columns * 4 + down) * across + patch % columns * 4 + right
    };
    match input {
        ImageInput::Frames { frames, height, width, patch: side, normalization } => {
            let (size, index) = (3 * height * width, index(*width, *side));
            write_patch_row(&frames[image * size..][..size], *width, side / 4, index, normalization, row);
        }
        ImageInput::Planar { pixels, height, width, patch: side } => {
            let (size, index) = (3 * height * width, index(*width, *side));
            write_patch_row_planar(&pixels[image * size..][..size], *height, *width, side / 4, index, row);
        }
        ImageInput::Pyramid { .. } | ImageInput::Patches { .. } => {
            unreachable!("a file with a patch stem has images of one size")
        }
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
