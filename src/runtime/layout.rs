//! What lies where in the arena.
//!
//! Sizes are declared once, by a function that is run twice: [`Plan`] adds them up under their names before anything
//! is allocated, and [`Carver`] cuts the allocated block into the same pieces in the same order.

use super::arena::ALIGN;
use bytemuck::Pod;
use core::fmt;
use std::vec::Vec;

/// One buffer of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// What it holds.
    pub name: &'static str,
    /// Where it starts in the arena.
    pub offset: usize,
    /// Its size in bytes.
    pub bytes: usize,
}

/// The buffers of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    buffers: Vec<Buffer>,
}

impl Plan {
    /// Adds a buffer of `bytes`; gives its index.
    pub fn add(&mut self, name: &'static str, bytes: usize) -> usize {
        self.buffers.push(Buffer { name, offset: self.bytes(), bytes });
        self.buffers.len() - 1
    }

    /// Size of the arena in bytes.
    pub fn bytes(&self) -> usize {
        self.buffers.last().map_or(0, |last| (last.offset + last.bytes).next_multiple_of(ALIGN))
    }

    /// The buffers, in order.
    pub fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Buffer { name, offset, bytes } in &self.buffers {
            writeln!(f, "{offset:>12}  {bytes:>12}  {name}")?;
        }
        write!(f, "{:>12}  {:>12}  total", "", self.bytes())
    }
}

/// Cuts an arena into the buffers of its plan, first to last.
#[derive(Debug)]
pub struct Carver<'p, 'a> {
    buffers: core::slice::Iter<'p, Buffer>,
    rest: &'a mut [u8],
    offset: usize,
}

impl<'p, 'a> Carver<'p, 'a> {
    /// Starts at the first buffer of `plan`.
    pub fn new(plan: &'p Plan, arena: &'a mut [u8]) -> Carver<'p, 'a> {
        Carver { buffers: plan.buffers.iter(), rest: arena, offset: 0 }
    }

    /// The next buffer, as elements of `T`.
    ///
    /// # Panics
    /// If there is none, or its size is no whole number of `T`.
    pub fn take<T: Pod>(&mut self) -> &'a mut [T] {
        let buffer = self.buffers.next().expect("a buffer that is in the plan");
        let rest = core::mem::take(&mut self.rest);
        let (_, rest) = rest.split_at_mut(buffer.offset - self.offset);
        let (bytes, rest) = rest.split_at_mut(buffer.bytes);
        (self.rest, self.offset) = (rest, buffer.offset + buffer.bytes);
        bytemuck::cast_slice_mut(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Arena;

    #[test]
    fn buffers_are_aligned_and_apart() {
        let mut plan = Plan::default();
        plan.add("a", 4);
        plan.add("b", 0);
        plan.add("c", 130);
        plan.add("d", 64);
        assert_eq!(plan.bytes(), 64 + 192 + 64);
        let mut arena = Arena::new(plan.bytes()).unwrap();
        let mut carver = Carver::new(&plan, arena.bytes_mut());
        let a: &mut [f32] = carver.take();
        let b: &mut [u8] = carver.take();
        let c: &mut [u16] = carver.take();
        let d: &mut [f32] = carver.take();
        assert_eq!((a.len(), b.len(), c.len(), d.len()), (1, 0, 65, 16));
        assert!([a.as_ptr().addr(), c.as_ptr().addr(), d.as_ptr().addr()].iter().all(|p| p % ALIGN == 0));
    }
}
