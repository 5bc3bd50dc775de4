//! Preprocessing against what Pillow, torchvision and transformers make of the same pictures.

mod decode;
mod limits;
mod normalize;
mod orientation;
mod resize;
mod views;

use std::path::{Path, PathBuf};

use ocelli::format::{Alpha, CropRounding, Filter, PreprocessConfig, Resampler, ResizeMode};
use ocelli::preprocess::decode::{self as files, DecodedImage};
use ocelli::preprocess::{FrameSpec, PixelView, ResizePlan, Resizer, Tables, Window};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Decodes `data` as the commands do.
fn decode_bytes(data: &[u8]) -> ocelli::Result<DecodedImage> {
    files::decode(data, &files::Options::default())
}

fn open(name: &str) -> DecodedImage {
    decode_bytes(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// All pixels as RGB without padding.
fn pixels(view: &PixelView<'_>) -> Vec<u8> {
    let width = view.width() as usize;
    let mut out = vec![0; width * view.height() as usize * 3];
    for (y, row) in out.chunks_exact_mut(width * 3).enumerate() {
        view.row_rgb(y, 0..width, Alpha::White, row);
    }
    out
}

fn config(mode: ResizeMode, filter: Filter, resampler: Resampler, shortest: u32) -> PreprocessConfig {
    PreprocessConfig {
        mode: mode as u32,
        filter: filter as u32,
        resampler: resampler as u32,
        crop_rounding: CropRounding::Down as u32,
        alpha: Alpha::White as u32,
        shortest,
        mean: [0.48145466, 0.4578275, 0.40821073],
        std: [0.26862954, 0.261_302_6, 0.275_777_1],
        reserved: [0; 8],
    }
}

fn kernels() -> ocelli_kernels::Kernels {
    ocelli_kernels::Kernels::new(ocelli_kernels::Isa::detect())
}

/// A resizer with memory of its own, exactly as large as its plan says.
struct Bench {
    resizer: Resizer,
    coefficients: Vec<i32>,
    windows: Vec<Window>,
    scratch: Vec<u8>,
}

impl Bench {
    fn new(spec: FrameSpec, max_side: u32) -> Bench {
        let plan = ResizePlan::new(spec, max_side).unwrap();
        Bench {
            coefficients: vec![0; plan.coefficients_len()],
            windows: vec![Window::default(); plan.windows_len()],
            // Whatever scratch holds must not show.
            scratch: vec![0xa5; plan.scratch_len()],
            resizer: Resizer::new(plan, kernels()),
        }
    }

    /// The frame, made in `parts` ranges of rows.
    fn frame(&mut self, view: &PixelView<'_>, parts: usize) -> Vec<u8> {
        let spec = *self.resizer.plan().spec();
        let mut tables = Tables { coefficients: &mut self.coefficients, windows: &mut self.windows };
        self.resizer.prepare(view, &mut tables).unwrap();
        let mut out = vec![0x5a; spec.frame_len()];
        let (height, row) = (spec.height as usize, spec.width as usize * 3);
        for part in 0..parts {
            let rows = height * part / parts..height * (part + 1) / parts;
            let out = &mut out[rows.start * row..rows.end * row];
            self.resizer.resize_rows(view, &tables, rows, &mut self.scratch, out).unwrap();
        }
        out
    }
}

fn frame(spec: FrameSpec, view: &PixelView<'_>) -> Vec<u8> {
    Bench::new(spec, view.width().max(view.height())).frame(view, 1)
}

/// Noise that the generator of `resize_random/cases.txt` makes by the same formula.
fn noise(width: u32, height: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity((width * height * 3) as usize);
    for y in 0..height {
        for x in 0..width {
            for channel in 0..3u32 {
                let mut v = x
                    .wrapping_mul(0x9E37_79B1)
                    .wrapping_add(y.wrapping_mul(0x85EB_CA77))
                    .wrapping_add(channel.wrapping_mul(0xC2B2_AE3D));
                v ^= v >> 15;
                v = v.wrapping_mul(0x2C1B_3C6D);
                v ^= v >> 12;
                out.push(v as u8);
            }
        }
    }
    out
}

/// 64-bit FNV-1a.
fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[track_caller]
fn assert_same(found: &[u8], expected: &[u8], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: length");
    let worst = found.iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).max();
    let first = found.iter().zip(expected).position(|(a, b)| a != b);
    assert_eq!(first, None, "{what}: differs by up to {worst:?} levels");
}
