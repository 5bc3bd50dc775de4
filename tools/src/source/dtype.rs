//! Element types of checkpoints.

use half::{bf16, f16};

/// A type that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceType {
    /// Single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
}

impl SourceType {
    /// The type for a safetensors one, if it can be read.
    pub fn new(dtype: safetensors::Dtype) -> Option<SourceType> {
        match dtype {
            safetensors::Dtype::F32 => Some(SourceType::F32),
            safetensors::Dtype::F16 => Some(SourceType::F16),
            safetensors::Dtype::BF16 => Some(SourceType::Bf16),
            _ => None,
        }
    }

    /// Bytes of an element.
    pub fn size(self) -> usize {
        match self {
            SourceType::F32 => 4,
            SourceType::F16 | SourceType::Bf16 => 2,
        }
    }

    /// Little-endian `bytes`, of any alignment, as f32: exact for every type.
    ///
    /// # Panics
    /// If `bytes` are not `out.len()` elements.
    pub fn widen(self, bytes: &[u8], out: &mut [f32]) {
        assert_eq!(bytes.len(), out.len() * self.size(), "whole elements");
        match self {
            SourceType::F32 => each(bytes, out, f32::from_le_bytes),
            SourceType::F16 => each(bytes, out, |bytes| f16::from_le_bytes(bytes).to_f32()),
            SourceType::Bf16 => each(bytes, out, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        }
    }
}

fn each<const N: usize>(bytes: &[u8], out: &mut [f32], read: impl Fn([u8; N]) -> f32) {
    for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *out = read(*bytes);
    }
}
