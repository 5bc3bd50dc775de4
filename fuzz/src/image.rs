//! Picture files: decoded whole and at a fraction of their size, then made into a frame.

use ocelli::format::{Alpha, CropRounding, Filter, PreprocessConfig, Resampler, ResizeMode};
use ocelli::preprocess::decode::{Limits, Options, decode};
use ocelli::preprocess::{FrameSpec, PixelView, ResizePlan, Resizer, Tables, Window};

/// Largest picture: enough to be interesting, and quick.
const MAX_PIXELS: u64 = 1 << 22;

/// The file's length chooses how it is resized.
pub fn run(data: &[u8]) {
    let spec = spec(data.len() as u32);
    let mut options = Options::default();
    options.limits = Limits::new(MAX_PIXELS);
    for fast_for in [None, Some(spec)] {
        options.fast_for = fast_for;
        if let Ok(image) = decode(data, &options) {
            exact(spec, &image.view(), &mut vec![0; spec.frame_len()]);
        }
    }
}

/// Resizes a picture as the bits of `how` say.
pub fn frames(view: &PixelView<'_>, how: u32) {
    let spec = spec(how);
    exact(spec, view, &mut vec![0; spec.frame_len()]);
}

/// What the bits of `how` say.
fn spec(how: u32) -> FrameSpec {
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
    FrameSpec::new(&config, height, width).expect("known names")
}

/// The exact resize, with memory exactly as large as its plan says.
fn exact(spec: FrameSpec, view: &PixelView<'_>, frame: &mut [u8]) {
    let plan = ResizePlan::new(spec, view.width().max(view.height())).expect("a picture's size");
    let mut coefficients = vec![0; plan.coefficients_len()];
    let mut windows = vec![Window::default(); plan.windows_len()];
    let mut scratch = vec![0; plan.scratch_len()];
    let mut tables = Tables { coefficients: &mut coefficients, windows: &mut windows };
    let mut resizer = Resizer::new(plan, ocelli_kernels::Kernels::new(ocelli_kernels::Isa::detect()));
    resizer.prepare(view, &mut tables).expect("it was planned for");
    let rows = 0..spec.height as usize;
    resizer.resize_rows(view, &tables, rows, &mut scratch, frame).expect("it was planned for");
}
