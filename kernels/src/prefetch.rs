//! Cache lines asked for before they are needed. Only hints: any address will do, none ever faults.

/// Bytes of a cache line.
pub(crate) const LINE: usize = 64;

/// Brings the line at `address` into L1, to be written or read at once.
#[inline(always)]
pub(crate) fn soon<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 CPU has the instruction.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a hint that changes no register and no memory.
    unsafe {
        core::arch::asm!("prfm pstl1keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}

/// Memory that will be read after what is read now, brought into L2 bit by bit: weights come from far away, and x86-64
/// CPUs guess what comes next only within a page. On AArch64 it is left to the CPU: there the instructions are what counts.
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "nothing is asked for there"))]
pub(crate) struct Ahead<'a> {
    rest: &'a [u8],
    /// Bytes of a part.
    part: usize,
}

impl<'a> Ahead<'a> {
    /// All of `next` in so many parts.
    pub(crate) fn new<T: bytemuck::Pod>(next: &'a [T], parts: usize) -> Ahead<'a> {
        let rest: &[u8] = bytemuck::cast_slice(next);
        Ahead { rest, part: rest.len().div_ceil(LINE).div_ceil(parts.max(1)) * LINE }
    }

    /// Asks for the next part.
    pub(crate) fn part(&mut self) {
        self.part_but(0);
    }

    /// Asks for the next part, but leaves its first `first` bytes, from the address that is returned on, to the caller: who
    /// asks for many lines at once waits for them.
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables, reason = "nothing is asked for there"))]
    pub(crate) fn part_but(&mut self, first: usize) -> *const u8 {
        let address = self.rest.as_ptr();
        #[cfg(target_arch = "x86_64")]
        {
            use core::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
            let (now, rest) = self.rest.split_at(self.part.min(self.rest.len()));
            for line in now.chunks(LINE).skip(first.div_ceil(LINE)) {
                // SAFETY: every x86-64 CPU has the instruction.
                unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
            }
            self.rest = rest;
        }
        address
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn everything_is_asked_for_in_the_given_parts() {
        for (len, parts) in [(0, 3), (1, 1), (64, 4), (1000, 3), (12_288, 17), (65, 1)] {
            let bytes = std::vec![0u8; len];
            let mut ahead = Ahead::new(&bytes, parts);
            (0..parts).for_each(|_| ahead.part());
            assert!(ahead.rest.is_empty(), "{} of {len} left after {parts}", ahead.rest.len());
        }
    }
}
