//! Images whose aspect ratio is kept, at most so many patches each (SigLIP 2 NaFlex, arXiv 2502.14786).

#![forbid(unsafe_code)]

use super::resize_plan::ResizeMemory;
use super::{MAX_SIDE, Window};
use crate::format::Filter;

/// Rows and columns of patches of `patch` pixels that a picture of `width` × `height` is resized to: the largest scale
/// at which both sides, rounded up to whole patches, make at most `max_patches`.
///
/// As transformers' `get_image_size_for_max_num_patches` finds it: by halving (1e-6, 100) until less than 1e-5 is left.
pub fn fit(width: u32, height: u32, patch: u32, max_patches: u32) -> (usize, usize) {
    let patches = |side: u32, scale: f64| (f64::from(side) * scale / f64::from(patch)).ceil().max(1.0);
    let (mut least, mut most) = (1e-6, 100.0);
    while most - least >= 1e-5 {
        let scale = (least + most) / 2.0;
        if patches(height, scale) * patches(width, scale) <= f64::from(max_patches) {
            least = scale;
        } else {
            most = scale;
        }
    }
    (patches(height, least) as usize, patches(width, least) as usize)
}

/// Enough memory to resize any picture so.
pub(crate) fn memory(filter: Filter, patch: u32, max_patches: u32) -> ResizeMemory {
    let (source, side) = (MAX_SIDE as usize, max_patches as usize * patch as usize);
    let reach = if filter == Filter::Bilinear { 2 } else { 4 };
    // An axis of n pixels has at most reach · source / n + 3 coefficients each. The ring holds so many rows of the
    // frame; as both axes shrink alike, that is reach · width of the source, and what rounding up to a patch adds.
    ResizeMemory {
        coefficients: 2 * (reach * source + 4 * side),
        windows: 2 * side,
        scratch: 3 * (source + 2 * reach * source + 8 * side),
    }
}

const _: () = assert!(size_of::<Window>() == 8);

#[cfg(test)]
mod tests {
    use super::super::{FrameSpec, ResizePlan};
    use super::*;
    use crate::format::{Alpha, CropRounding, Resampler, ResizeMode};

    #[test]
    fn the_memory_is_enough_for_every_shape() {
        let sides = [1, 2, 3, 15, 16, 17, 100, 333, 1000, 4032, 20_000, 65_535];
        for filter in [Filter::Bilinear, Filter::Bicubic] {
            for (patch, max_patches) in [(16, 256), (14, 1024), (16, 1), (16, 22), (32, 7)] {
                let memory = memory(filter, patch, max_patches);
                for (width, height) in sides.into_iter().flat_map(|w| sides.map(|h| (w, h))) {
                    let (rows, columns) = fit(width, height, patch, max_patches);
                    assert!(rows >= 1 && columns >= 1 && rows * columns <= max_patches as usize);
                    let spec = FrameSpec {
                        mode: ResizeMode::Naflex,
                        filter,
                        resampler: Resampler::Torchvision,
                        crop_rounding: CropRounding::Down,
                        alpha: Alpha::Drop,
                        shortest: patch,
                        height: rows as u32 * patch,
                        width: columns as u32 * patch,
                    };
                    let needed = ResizePlan::for_picture(spec, width, height).unwrap().memory();
                    assert!(
                        needed.coefficients <= memory.coefficients
                            && needed.windows <= memory.windows
                            && needed.scratch <= memory.scratch,
                        "{width}x{height}, {patch}, {max_patches}: {needed:?} of {memory:?}"
                    );
                }
            }
        }
    }
}
