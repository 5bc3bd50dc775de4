//! How large a picture may be, checked from its header before memory is taken for it.

use std::format;
use std::vec::Vec;

use super::too_large;
use crate::{Error, Result};

/// What decoding a picture may cost.
///
/// ```
/// use ocelli::preprocess::decode::Limits;
///
/// assert_eq!(Limits::default().memory(), 640_000_000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Most pixels, width · height. The memory that decoding may take follows from it ([`Limits::memory`]).
    pub max_pixels: u64,
}

impl Limits {
    /// The default of [`Limits::max_pixels`], 64 megapixels.
    pub const DEFAULT_MAX_PIXELS: u64 = 64_000_000;

    /// Limits for pictures of up to `max_pixels`, width · height.
    pub const fn new(max_pixels: u64) -> Limits {
        Limits { max_pixels }
    }

    /// Most bytes that decoding may take at any moment, the decoder's working memory and the picture together: ten a
    /// pixel of the largest picture. A file may have as many bytes.
    pub const fn memory(&self) -> u64 {
        self.max_pixels.saturating_mul(10)
    }

    /// Refuses a picture of `width` × `height` for whose decoding `bytes` would be taken.
    pub(super) fn check(&self, width: u32, height: u32, bytes: u64) -> Result<()> {
        let (pixels, most) = (u64::from(width) * u64::from(height), self.max_pixels);
        if pixels > most {
            return Err(too_large(format!(
                "the picture of {width} x {height} pixels is above the limit of {most} pixels: scale it down or raise \
                 the limit ({})",
                crate::knobs::MAX_PIXELS.name
            )));
        }
        if bytes > self.memory() {
            return Err(too_large(format!(
                "the picture of {width} x {height} pixels would take {} MB to decode, more than the {} MB that the \
                 limit of {most} pixels allows: scale it down or raise the limit ({})",
                bytes.div_ceil(1_000_000),
                self.memory() / 1_000_000,
                crate::knobs::MAX_PIXELS.name
            )));
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::new(Limits::DEFAULT_MAX_PIXELS)
    }
}

/// `len` zero bytes, or an error where the system has no memory for them.
pub(super) fn zeros(len: usize) -> Result<Vec<u8>> {
    let mut data = Vec::new();
    data.try_reserve_exact(len).map_err(|_| out_of_memory(len as u64))?;
    data.resize(len, 0);
    Ok(data)
}

pub(super) fn out_of_memory(bytes: u64) -> Error {
    Error::OutOfMemory { purpose: "decoding the picture", bytes }
}
