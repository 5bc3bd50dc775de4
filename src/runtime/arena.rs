//! The one block of memory that an encoder works in.

use crate::error::{Error, Result};
use core::ptr::NonNull;
use std::alloc::{Layout, alloc_zeroed, dealloc};

/// Alignment of the arena and of every buffer in it: a cache line.
pub(super) const ALIGN: usize = 64;

/// A zeroed, cache-line-aligned block, allocated once.
#[derive(Debug)]
pub(crate) struct Arena {
    first: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the arena owns its block alone, like a `Box<[u8]>`.
unsafe impl Send for Arena {}
// SAFETY: shared access is read-only, like `&Box<[u8]>`.
unsafe impl Sync for Arena {}

impl Arena {
    /// `bytes` zeroed bytes. Large blocks come from the system untouched: pages cost memory when they are first used.
    ///
    /// # Errors
    /// If there is no such block.
    pub(crate) fn new(bytes: usize) -> Result<Arena> {
        let none = || Error::OutOfMemory { purpose: "the encoder's buffers", bytes: bytes as u64 };
        let layout = Layout::from_size_align(bytes.max(ALIGN), ALIGN).map_err(|_| none())?;
        // SAFETY: the size is not zero.
        let first = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(none)?;
        Ok(Arena { first, layout })
    }

    /// All of it.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the block is `size` initialised bytes that this arena owns, and `&mut self` excludes other access.
        unsafe { core::slice::from_raw_parts_mut(self.first.as_ptr(), self.layout.size()) }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.first.as_ptr(), self.layout) }
    }
}
