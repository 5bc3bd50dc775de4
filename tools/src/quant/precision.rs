//! How the weights of a model are stored.

use ocelli::format::{Dtype, Kind};
use serde::Serialize;

/// How the weights of a model are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// int8 where it keeps embeddings close to those of fp32, repaired and raised to fp16 where it does not
    Auto,
    /// int8, codes up to 127
    Int8,
    /// int8, codes up to 96: on AVX2 without VNNI between the other two in speed and accuracy
    #[serde(rename = "int8-96")]
    Int8To96,
    /// int8, codes up to 64: the fast multiply of AVX2 without VNNI is exact there
    Int8w7,
    /// half precision
    Fp16,
    /// single precision
    Fp32,
}

impl Precision {
    /// All of them.
    pub const ALL: [Precision; 6] = [
        Precision::Auto,
        Precision::Int8,
        Precision::Int8To96,
        Precision::Int8w7,
        Precision::Fp16,
        Precision::Fp32,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Auto => "auto",
            Precision::Int8 => "int8",
            Precision::Int8To96 => "int8-96",
            Precision::Int8w7 => "int8w7",
            Precision::Fp16 => "fp16",
            Precision::Fp32 => "fp32",
        }
    }

    /// What it means, for help texts.
    pub fn meaning(self) -> &'static str {
        match self {
            Precision::Auto => {
                "int8 where it keeps embeddings close to those of fp32, repaired and raised to fp16 where it does not"
            }
            Precision::Int8 => "int8, codes up to 127",
            Precision::Int8To96 => {
                "int8, codes up to 96: on AVX2 without VNNI between the other two in speed and accuracy"
            }
            Precision::Int8w7 => {
                "int8, codes up to 64: the fast multiply of AVX2 without VNNI is exact there"
            }
            Precision::Fp16 => "half precision",
            Precision::Fp32 => "single precision",
        }
    }

    /// The element type of a tensor; for `auto`, before any repair. int8 models keep patch embedding and projection in
    /// half precision: their errors reach the embedding directly, and they are a few per cent of the work. With `auto`
    /// the patch embedding is int8 where it is more than that: `costly_patches`.
    pub(super) fn dtype(self, name: &str, kind: Kind, costly_patches: bool) -> Dtype {
        let in_block = name.contains(".block.");
        match (kind, self) {
            (Kind::Vector | Kind::Positions, _) | (_, Precision::Fp32) => Dtype::F32,
            (_, Precision::Fp16) => Dtype::F16,
            (Kind::Matrix, Precision::Auto) if costly_patches && name.ends_with("patch_embed.weight") => {
                Dtype::I8
            }
            (Kind::Matrix, _) if !in_block => Dtype::F16,
            _ => Dtype::I8,
        }
    }

    /// Largest code of an int8 tensor. Tables are only looked up, never multiplied, so they always use the full range.
    pub(super) fn magnitude(self, kind: Kind) -> i8 {
        match (self, kind) {
            (Precision::Int8To96, Kind::Matrix) => 96,
            (Precision::Int8w7, Kind::Matrix) => ocelli_kernels::pack::W7_MAX,
            _ => ocelli_kernels::pack::W8_MAX,
        }
    }
}
