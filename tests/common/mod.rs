//! What the integration tests share: fixtures, conversion, comparison.

#![allow(dead_code, reason = "each test file uses its part")]

use ocelli_kernels::{Feature, Isa};
use ocelli_tools::{ConvertOptions, Precision, convert};
use safetensors::{Dtype, SafeTensors};
use std::path::{Path, PathBuf};

/// The CLIP fixtures, and the one whose tokenizer each uses.
pub(crate) const CLIPS: [(&str, &str); 3] =
    [("clip-hf", "clip-hf"), ("clip-hf-gelu-p14", "clip-hf-gelu-p14"), ("clip-hf-outliers", "clip-hf")];

/// All precisions.
pub(crate) const PRECISIONS: [Precision; 4] =
    [Precision::Fp32, Precision::Fp16, Precision::Int8, Precision::Int8w7];

pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// A fixture converted into `directory`.
pub(crate) fn packed(directory: &Path, fixture: &str, precision: Precision) -> PathBuf {
    let tokenizer =
        CLIPS.iter().find(|(name, _)| *name == fixture).map_or(fixture, |(_, tokenizer)| tokenizer);
    let output = directory.join(format!("{fixture}-{precision:?}.ocelli"));
    let mut options = ConvertOptions::new(fixtures().join(fixture), &output, precision);
    options.wishes.tokenizer = Some(fixtures().join(tokenizer));
    convert(&options).unwrap_or_else(|error| panic!("{fixture} {precision:?}: {error}"));
    output
}

/// Scalar, each feature of this CPU with what it builds on, the default, and all together.
pub(crate) fn isas() -> Vec<Isa> {
    let mut isas = vec![Isa::SCALAR];
    isas.extend(Feature::ALL.iter().filter_map(|feature| Isa::select(feature.name()).ok()));
    isas.extend([Isa::detect(), Isa::available()]);
    isas.dedup();
    isas
}

/// The tensors of `expected.safetensors`.
pub(crate) struct Expected(Vec<u8>);

impl Expected {
    pub(crate) fn of(fixture: &str) -> Expected {
        Expected(std::fs::read(fixtures().join(fixture).join("expected.safetensors")).unwrap())
    }

    pub(crate) fn shape(&self, name: &str) -> Vec<usize> {
        SafeTensors::deserialize(&self.0).unwrap().tensor(name).unwrap().shape().to_vec()
    }

    pub(crate) fn f32(&self, name: &str) -> Vec<f32> {
        let tensors = SafeTensors::deserialize(&self.0).unwrap();
        let tensor = tensors.tensor(name).unwrap_or_else(|_| panic!("no {name}"));
        assert_eq!(tensor.dtype(), Dtype::F32, "{name}");
        tensor.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
    }

    pub(crate) fn i64(&self, name: &str) -> Vec<i64> {
        let tensors = SafeTensors::deserialize(&self.0).unwrap();
        let tensor = tensors.tensor(name).unwrap();
        assert_eq!(tensor.dtype(), Dtype::I64, "{name}");
        tensor.data().as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect()
    }

    /// The token ids of every text, without padding.
    pub(crate) fn texts(&self) -> Vec<Vec<u32>> {
        let length = self.shape("input_ids")[1];
        let (ids, mask) = (self.i64("input_ids"), self.i64("attention_mask"));
        let text = |(ids, mask): (&[i64], &[i64])| {
            ids.iter().zip(mask).filter(|(_, mask)| **mask == 1).map(|(id, _)| *id as u32).collect()
        };
        ids.chunks(length).zip(mask.chunks(length)).map(text).collect()
    }
}

/// `max|a − b| / max|b|`
pub(crate) fn relative(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let difference = a
        .iter()
        .zip(b)
        .fold(0f32, |max, (a, b)| if (a - b).is_nan() { f32::NAN } else { max.max((a - b).abs()) });
    difference / b.iter().fold(0f32, |max, b| max.max(b.abs()))
}

pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// The smallest cosine between rows of `a` and `b`.
pub(crate) fn worst_cosine(a: &[f32], b: &[f32], dim: usize) -> f64 {
    assert_eq!(a.len(), b.len());
    a.chunks(dim).zip(b.chunks(dim)).map(|(a, b)| cosine(a, b)).fold(1.0, f64::min)
}
