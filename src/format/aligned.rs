//! Buffers that start where a packed file must.

use super::header::ALIGN;

/// Puts a file that is compiled in where [`File::parse`](super::File::parse) wants it:
///
/// ```
/// # use ocelli::format::{Aligned, File};
/// # macro_rules! include_bytes { ($path:literal) => { b"" } }
/// static MODEL: &Aligned<[u8]> = &Aligned(*include_bytes!("model.ocelli"));
/// let file = File::parse(&MODEL.0);
/// # assert!(file.is_err());
/// ```
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Aligned<T: ?Sized>(pub T);

const _: () = assert!(align_of::<Aligned<[u8; 1]>>() == ALIGN);

#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Block([u8; ALIGN]);

/// A copy of some bytes on the heap that starts at a multiple of 64.
#[cfg(feature = "std")]
#[derive(Clone, Debug)]
pub struct AlignedBytes {
    blocks: std::vec::Vec<Block>,
    len: usize,
}

#[cfg(feature = "std")]
impl AlignedBytes {
    /// The contents of the file at `path`.
    ///
    /// # Errors
    /// What the operating system says, naming the file.
    pub fn read(path: &std::path::Path) -> crate::Result<AlignedBytes> {
        use std::io::Read;
        let fail = |source| crate::Error::Io { action: "read", source }.in_file(path);
        let mut file = std::fs::File::open(path).map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        if !metadata.is_file() {
            return Err(crate::Error::NotAFile { problem: "not a regular file" }.in_file(path));
        }
        let len = usize::try_from(metadata.len()).map_err(|e| fail(std::io::Error::other(e)))?;
        let mut bytes = AlignedBytes::zeroed(len).map_err(|error| error.in_file(path))?;
        file.read_exact(&mut bytes).map_err(fail)?;
        Ok(bytes)
    }

    /// `len` zeros.
    ///
    /// # Errors
    /// If there is not so much memory.
    pub fn zeroed(len: usize) -> crate::Result<AlignedBytes> {
        let (mut blocks, count) = (std::vec::Vec::new(), len.div_ceil(ALIGN));
        blocks
            .try_reserve_exact(count)
            .map_err(|_| crate::Error::OutOfMemory { purpose: "a whole file", bytes: len as u64 })?;
        blocks.resize(count, Block([0; ALIGN]));
        Ok(AlignedBytes { blocks, len })
    }

    /// A copy of `bytes`.
    pub fn new(bytes: &[u8]) -> AlignedBytes {
        let blocks = bytes
            .chunks(ALIGN)
            .map(|chunk| {
                let mut block = [0; ALIGN];
                block[..chunk.len()].copy_from_slice(chunk);
                Block(block)
            })
            .collect();
        AlignedBytes { blocks, len: bytes.len() }
    }
}

#[cfg(feature = "std")]
impl core::ops::Deref for AlignedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.blocks)[..self.len]
    }
}

#[cfg(feature = "std")]
impl core::ops::DerefMut for AlignedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.blocks)[..self.len]
    }
}
