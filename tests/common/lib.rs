//! What the integration tests share: fixtures, conversion, comparison, programs.

mod limits;
mod process;

pub use limits::{Limits, Tower, limits};
pub use process::{program, under_shell, usage};

use ocelli::format::Limits as Costs;
use ocelli::{ImageEncoder, ImageOptions, Model, Runtime, RuntimeOptions, TextEncoder};
use ocelli_kernels::{Feature, Isa};
use ocelli_tools::{ConvertOptions, Precision, convert};
use safetensors::{Dtype, SafeTensors};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The fixtures with an image and a text tower.
pub const PAIRS: [&str; 20] = [
    "clip-hf",
    "clip-hf-gelu-p14",
    "clip-hf-outliers",
    "clip-openclip",
    "clip-openai",
    "siglip-hf",
    "siglip2-fixres",
    "dual-dinov2-bert",
    "dual-vit-xlmr",
    "chinese-clip",
    "jina-clip-v1",
    "openclip-xlmr",
    "openclip-nllb",
    "open-clip-siglip",
    "open-clip-siglip2",
    "open-clip-eva02",
    "open-clip-pe",
    "open-clip-mobileclip",
    "open-clip-clipa",
    "open-clip-worldwide",
];

/// The fixtures with an image tower alone.
pub const VISION: [&str; 7] =
    ["vit-hf", "mae-hf", "timm-vit", "simplevit", "dinov2-hf", "dinov3-hf", "timm-eva02"];

/// The fixtures that have no tokenizer use that of `clip-hf`.
const WITHOUT_TOKENIZER: [&str; 6] = [
    "clip-hf-outliers",
    "clip-openclip",
    "clip-openai",
    "open-clip-eva02",
    "open-clip-pe",
    "open-clip-mobileclip",
];

/// All precisions.
pub const PRECISIONS: [Precision; 4] = [Precision::Fp32, Precision::Fp16, Precision::Int8, Precision::Int8w7];

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The small checkpoints with reference outputs.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// A small CLIP that was trained on CIFAR-10: ten kinds of things at 32 x 32 pixels (`fixtures/README.md`).
pub fn cifar10() -> PathBuf {
    repository().join("tests/fixtures/cifar10/cifar10.ocelli")
}

/// A fixture converted into `directory`.
pub fn packed(directory: &Path, fixture: &str, precision: Precision) -> PathBuf {
    let tokenizer = if WITHOUT_TOKENIZER.contains(&fixture) { "clip-hf" } else { fixture };
    packed_with(directory, fixture, tokenizer, precision)
}

/// A fixture with the tokenizer of another folder, converted into `directory`.
pub fn packed_with(
    directory: &Path,
    fixture: &str,
    tokenizer: impl AsRef<Path>,
    precision: Precision,
) -> PathBuf {
    let output = directory.join(format!("{fixture}-{precision:?}.ocelli"));
    let mut options = ConvertOptions::new(fixtures().join(fixture), &output, precision);
    options.model.tokenizer = Some(fixtures().join(tokenizer));
    convert(&options).unwrap_or_else(|error| panic!("{fixture} {precision:?}: {error}"));
    output
}

/// Scalar, each feature of this CPU with what it builds on, the default, and all together.
pub fn isas() -> Vec<Isa> {
    let mut isas = vec![Isa::SCALAR];
    isas.extend(Feature::ALL.iter().filter_map(|feature| Isa::select(feature.name()).ok()));
    isas.extend([Isa::detect(), Isa::available()]);
    isas.dedup();
    isas
}

/// Threads and kernels.
pub fn runtime(isa: Isa, threads: usize) -> Runtime {
    Runtime::new(&RuntimeOptions::default().isa(isa).threads(threads)).unwrap()
}

/// The image tower of `model`, one image at a time.
pub fn image_encoder(model: &Arc<Model>, isa: Isa, threads: usize) -> ImageEncoder {
    ImageEncoder::new(model, &runtime(isa, threads), &ImageOptions::default()).unwrap()
}

/// The image tower of `model` for batches, at another image size if one is given.
pub fn batch_encoder(
    model: &Arc<Model>,
    isa: Isa,
    threads: usize,
    batch: usize,
    image_size: Option<(u32, u32)>,
) -> ImageEncoder {
    let options = ImageOptions::default().batch(batch).image_size(image_size);
    ImageEncoder::new(model, &runtime(isa, threads), &options).unwrap()
}

/// The text tower of `model`.
pub fn text_encoder(model: &Arc<Model>, isa: Isa, threads: usize) -> TextEncoder {
    TextEncoder::new(model, &runtime(isa, threads), &Costs::default()).unwrap()
}

/// The tensors of `expected.safetensors`, or those of `expected_interp.safetensors` for one resolution.
pub struct Expected {
    bytes: Vec<u8>,
    prefix: String,
}

impl Expected {
    /// At the model's own resolution.
    pub fn of(fixture: &str) -> Expected {
        let bytes = std::fs::read(fixtures().join(fixture).join("expected.safetensors")).unwrap();
        Expected { bytes, prefix: String::new() }
    }

    /// At another resolution.
    pub fn at(fixture: &str, height: u32, width: u32) -> Expected {
        let bytes = std::fs::read(fixtures().join(fixture).join("expected_interp.safetensors")).unwrap();
        Expected { bytes, prefix: format!("{height}x{width}.") }
    }

    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The tensor's shape.
    pub fn shape(&self, name: &str) -> Vec<usize> {
        let tensors = SafeTensors::deserialize(&self.bytes).unwrap();
        tensors.tensor(&self.name(name)).unwrap().shape().to_vec()
    }

    fn has(&self, name: &str) -> bool {
        SafeTensors::deserialize(&self.bytes).unwrap().tensor(&self.name(name)).is_ok()
    }

    /// The tensor, if there is one.
    pub fn find(&self, name: &str) -> Option<Vec<f32>> {
        let tensors = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = tensors.tensor(&self.name(name)).ok()?;
        assert_eq!(tensor.dtype(), Dtype::F32, "{name}");
        Some(tensor.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
    }

    /// The tensor, which must be there.
    pub fn f32(&self, name: &str) -> Vec<f32> {
        self.find(name).unwrap_or_else(|| panic!("no {name}"))
    }

    /// The tensor of 64-bit integers, which must be there.
    pub fn i64(&self, name: &str) -> Vec<i64> {
        let tensors = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = tensors.tensor(&self.name(name)).unwrap();
        assert_eq!(tensor.dtype(), Dtype::I64, "{name}");
        tensor.data().as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect()
    }

    /// The token ids of every text as a model reads them: `padded` (SigLIP), or up to the end token.
    pub fn texts(&self, padded: bool) -> Vec<Vec<u32>> {
        let length = self.shape("input_ids")[1];
        let ids: Vec<u32> = self.i64("input_ids").iter().map(|&id| id as u32).collect();
        let mask = self.has("attention_mask").then(|| self.i64("attention_mask"));
        let end = |i: usize, ids: &[u32]| match &mask {
            _ if padded => length,
            Some(mask) => mask[i * length..][..length].iter().sum::<i64>() as usize,
            // CLIP's end token has the largest id; the first of several counts.
            None => ids.iter().position(|id| id == ids.iter().max().unwrap()).unwrap() + 1,
        };
        ids.chunks(length).enumerate().map(|(i, ids)| ids[..end(i, ids)].to_vec()).collect()
    }
}

/// `max|a − b| / max|b|`
pub fn relative(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let difference = a
        .iter()
        .zip(b)
        .fold(0f32, |max, (a, b)| if (a - b).is_nan() { f32::NAN } else { max.max((a - b).abs()) });
    difference / b.iter().fold(0f32, |max, b| max.max(b.abs()))
}

/// Of the angle between `a` and `b`, in f64.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// The smallest cosine between rows of `a` and `b`.
pub fn worst_cosine(a: &[f32], b: &[f32], dim: usize) -> f64 {
    assert_eq!(a.len(), b.len());
    a.chunks(dim).zip(b.chunks(dim)).map(|(a, b)| cosine(a, b)).fold(1.0, f64::min)
}

/// `jpeg` with EXIF that says how it is turned and when it was taken.
pub fn with_exif(jpeg: &[u8], orientation: u8, taken: &str) -> Vec<u8> {
    let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0".to_vec();
    exif.extend_from_slice(&[0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0]);
    // The date lies behind the table: 8 + 2 + 2 · 12 + 4.
    exif.extend_from_slice(&[0x32, 0x01, 2, 0, 20, 0, 0, 0, 38, 0, 0, 0]);
    exif.extend_from_slice(&[0; 4]);
    exif.extend_from_slice(format!("{taken}\0").as_bytes());
    let length = (exif.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat()
}
