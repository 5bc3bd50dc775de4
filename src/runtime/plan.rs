//! What lies where in the arena.
//!
//! Buffers are described once, by a function that takes them one after the other from a [`Place`]. It runs twice: with
//! a [`Plan`], which only adds the sizes up under their names, and with a [`Carver`], which cuts the allocated block.

use super::arena::ALIGN;
use bytemuck::Pod;
use core::fmt;
use std::vec::Vec;

/// Where buffers come from.
pub(crate) trait Place<'a> {
    /// The next buffer, `len` elements of `T` that start at a multiple of [`ALIGN`]; empty while planning.
    fn take<T: Pod>(&mut self, name: &'static str, len: usize) -> &'a mut [T];
}

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

/// The buffers of an encoder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    buffers: Vec<Buffer>,
}

impl Plan {
    /// Size of the arena in bytes; `usize::MAX`, which no allocator has, if it does not fit.
    pub fn bytes(&self) -> usize {
        let end = self.buffers.last().map_or(0, |last| last.offset.saturating_add(last.bytes));
        end.checked_next_multiple_of(ALIGN).unwrap_or(usize::MAX)
    }

    /// The buffers, in order.
    pub fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }
}

impl<'a> Place<'a> for Plan {
    fn take<T: Pod>(&mut self, name: &'static str, len: usize) -> &'a mut [T] {
        self.buffers.push(Buffer { name, offset: self.bytes(), bytes: len.saturating_mul(size_of::<T>()) });
        &mut []
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

/// Cuts an arena into buffers, first to last.
#[derive(Debug)]
pub(crate) struct Carver<'a> {
    rest: &'a mut [u8],
}

impl<'a> Carver<'a> {
    /// Starts at the beginning of `arena`, which has room for everything that was planned.
    pub(crate) fn new(arena: &'a mut [u8]) -> Carver<'a> {
        Carver { rest: arena }
    }
}

impl<'a> Place<'a> for Carver<'a> {
    fn take<T: Pod>(&mut self, _: &'static str, len: usize) -> &'a mut [T] {
        let bytes = len * size_of::<T>();
        let (buffer, rest) = core::mem::take(&mut self.rest).split_at_mut(bytes.next_multiple_of(ALIGN));
        self.rest = rest;
        bytemuck::cast_slice_mut(&mut buffer[..bytes])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Arena;

    struct Four<'a>(&'a mut [f32], &'a mut [u8], &'a mut [u16], &'a mut [f32]);

    fn four<'a>(place: &mut impl Place<'a>) -> Four<'a> {
        Four(place.take("a", 1), place.take("b", 0), place.take("c", 65), place.take("d", 16))
    }

    #[test]
    fn buffers_are_aligned_and_apart() {
        let mut plan = Plan::default();
        four(&mut plan);
        assert_eq!(plan.bytes(), 64 + 192 + 64);
        let offsets: Vec<_> = plan.buffers().iter().map(|buffer| (buffer.name, buffer.offset)).collect();
        assert_eq!(offsets, [("a", 0), ("b", 64), ("c", 64), ("d", 256)]);
        let mut arena = Arena::new(plan.bytes()).unwrap();
        let start = arena.bytes_mut().as_ptr().addr();
        let Four(a, b, c, d) = four(&mut Carver::new(arena.bytes_mut()));
        assert_eq!((a.len(), b.len(), c.len(), d.len()), (1, 0, 65, 16));
        let starts = [a.as_ptr().addr(), c.as_ptr().addr(), d.as_ptr().addr()];
        assert_eq!(starts.map(|at| at - start), [0, 64, 256]);
    }

    #[test]
    fn sizes_that_do_not_fit_are_no_small_arena() {
        let mut plan = Plan::default();
        let _: &mut [f32] = plan.take("a", usize::MAX / 2);
        let _: &mut [u8] = plan.take("b", 64);
        assert_eq!(plan.bytes(), usize::MAX);
        assert!(Arena::new(plan.bytes()).is_err());
    }
}
