//! Picture files: decoded, then made into a frame exactly and fast.

use ocelli::format::{Alpha, CropRounding, Filter, PreprocessConfig, Resampler, ResizeMode};
use ocelli::preprocess::decode::decode_bytes;
use ocelli::preprocess::fast::resize_fast;
use ocelli::preprocess::{FrameSpec, PixelView, ResizePlan, Resizer, Tables, Window};

/// The file's length chooses how it is resized.
pub fn run(data: &[u8]) {
    if let Ok(image) = decode_bytes(data) {
        frames(&image.view(), data.len() as u32);
    }
}

/// Resizes a picture both ways, as the bits of `how` say.
pub fn frames(view: &PixelView<'_>, how: u32) {
    let pick = |bit: u32| how >> bit & 1 == 0;
    let crop = pick(0);
    let side = |shift: u32| [8, 33, 57, 224][(how >> shift & 3) as usize];
    let (height, width) = (side(5), side(7));
    let config = PreprocessConfig {
        mode: if crop { ResizeMode::ShortestCrop } else { ResizeMode::Squash } as u32,
        filter: if pick(1) { Filter::Bicubic } else { Filter::Bilinear } as u32,
        resampler: if pick(2) { Resampler::Pillow } else { Resampler::Torchvision } as u32,
        crop_rounding: if pick(3) { CropRounding::Down } else { CropRounding::HalfEven } as u32,
        alpha: if pick(4) { Alpha::White } else { Alpha::Drop } as u32,
        shortest: if crop { height.max(width) + (how >> 9) % 16 } else { 0 },
        mean: [0.5; 3],
        std: [0.5; 3],
        reserved: [0; 8],
    };
    let spec = FrameSpec::new(&config, height, width).expect("known names");
    let mut frame = vec![0; spec.frame_len()];
    exact(spec, view, &mut frame);
    let _ = resize_fast(&spec, view, &mut frame);
}

/// The exact resize, with memory exactly as large as its plan says.
fn exact(spec: FrameSpec, view: &PixelView<'_>, frame: &mut [u8]) {
    let plan = ResizePlan::new(spec, view.width().max(view.height())).expect("a picture's size");
    let mut coefficients = vec![0; plan.coefficients_len()];
    let mut windows = vec![Window::default(); plan.windows_len()];
    let mut scratch = vec![0; plan.scratch_len()];
    let mut tables = Tables { coefficients: &mut coefficients, windows: &mut windows };
    let mut resizer = Resizer::new(plan);
    resizer.prepare(view, &mut tables).expect("it was planned for");
    let rows = 0..spec.height as usize;
    resizer.resize_rows(view, &tables, rows, &mut scratch, frame).expect("it was planned for");
}
