//! What this machine could reach: loops of the kernels' instructions that touch registers only.
//!
//! Timed by the caller, they give the peak against which a kernel's multiply-accumulates (MACs) per second are read.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
use aarch64 as arch;
#[cfg(target_arch = "x86_64")]
use x86_64 as arch;

use crate::isa::Isa;
use crate::table::Kernels;
use core::hint::black_box;

/// A loop over registers.
#[derive(Clone, Copy)]
struct Peak {
    name: &'static str,
    /// MACs of one iteration.
    macs: u64,
    /// Runs for so many iterations, at least one; needs the features for which it was chosen.
    run: unsafe fn(iterations: u64),
}

/// Elements of a scalar iteration.
const LANES: usize = 64;

const SCALAR_I8: Peak = Peak { name: "i8 scalar", macs: LANES as u64, run: scalar_i8 };
const SCALAR_F32: Peak = Peak { name: "f32 scalar", macs: LANES as u64, run: scalar_f32 };

fn scalar_i8(iterations: u64) {
    let (mut sums, mut a, mut b) = ([0i32; LANES], [3i8; LANES], [5i8; LANES]);
    for _ in 0..iterations {
        (a, b) = (black_box(a), black_box(b));
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum = sum.wrapping_add(i32::from(a) * i32::from(b));
        }
    }
    black_box(sums);
}

fn scalar_f32(iterations: u64) {
    let (mut sums, mut a, mut b) = ([0f32; LANES], [0.5; LANES], [0.25; LANES]);
    for _ in 0..iterations {
        (a, b) = (black_box(a), black_box(b));
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    black_box(sums);
}

/// The loops of int8 and f32 arithmetic for `isa`.
fn choose(isa: Isa) -> (Peak, Peak) {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    let (i8, f32) = arch::choose(isa);
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let (i8, f32) = {
        let _ = isa;
        (None::<Peak>, None::<Peak>)
    };
    (i8.unwrap_or(SCALAR_I8), f32.unwrap_or(SCALAR_F32))
}

impl Peak {
    fn run(self, iterations: u64) -> u64 {
        let iterations = iterations.max(1);
        // SAFETY: `choose` names only loops whose features the `Isa` proves.
        unsafe { (self.run)(iterations) };
        self.macs * iterations
    }
}

impl Kernels {
    /// Runs the int8 instructions of this instruction set on registers, `iterations` (at least 1) times a few dozen
    /// instructions. Returns the MACs done.
    pub fn peak_i8(&self, iterations: u64) -> u64 {
        choose(self.isa).0.run(iterations)
    }

    /// Likewise for f32.
    pub fn peak_f32(&self, iterations: u64) -> u64 {
        choose(self.isa).1.run(iterations)
    }

    /// The instructions of [`peak_i8`](Self::peak_i8).
    pub fn peak_i8_name(&self) -> &'static str {
        choose(self.isa).0.name
    }

    /// The instructions of [`peak_f32`](Self::peak_f32).
    pub fn peak_f32_name(&self) -> &'static str {
        choose(self.isa).1.name
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::each_isa;
    use std::time::{Duration, Instant};

    #[test]
    fn macs_grow_with_the_iterations() {
        for kernels in each_isa() {
            for peak in [super::Kernels::peak_i8, super::Kernels::peak_f32] {
                let one = peak(&kernels, 1);
                assert!(one > 0, "{kernels:?}");
                assert_eq!(peak(&kernels, 0), one);
                assert_eq!(peak(&kernels, 1000), 1000 * one, "{kernels:?}");
            }
        }
    }

    #[test]
    fn the_work_is_really_done() {
        let time = |run: &dyn Fn()| {
            (0..5).map(|_| (Instant::now(), run()).0.elapsed()).min().unwrap_or(Duration::MAX)
        };
        for kernels in each_isa() {
            for peak in [super::Kernels::peak_i8, super::Kernels::peak_f32] {
                let (short, long) =
                    (time(&|| _ = peak(&kernels, 1000)), time(&|| _ = peak(&kernels, 100_000)));
                assert!(long > 20 * short, "{kernels:?}: {short:?}, then {long:?} for 100 times the work");
            }
        }
    }
}
