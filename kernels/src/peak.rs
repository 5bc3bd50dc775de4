//! What this machine could reach: loops of the kernels' instructions that touch registers only.
//!
//! Timed by the caller, they give the peak against which a kernel's multiply-accumulates (MACs) per second are read.

use crate::kernels::Kernels;
use crate::table::Peak;

impl Peak {
    fn run(self, iterations: u64) -> u64 {
        let iterations = iterations.max(1);
        // SAFETY: the table holds only loops whose features its `Isa` proves; there is one iteration at least.
        unsafe { (self.run)(iterations) };
        self.macs.saturating_mul(iterations)
    }
}

impl Kernels {
    /// Runs the int8 instructions of this instruction set on registers, `iterations` (at least 1) times a few dozen
    /// instructions. Returns the MACs done.
    pub fn peak_i8(&self, iterations: u64) -> u64 {
        self.table.peak_i8.run(iterations)
    }

    /// Likewise for f32.
    pub fn peak_f32(&self, iterations: u64) -> u64 {
        self.table.peak_f32.run(iterations)
    }

    /// The instructions of [`peak_i8`](Self::peak_i8).
    pub fn peak_i8_name(&self) -> &'static str {
        self.table.peak_i8.name
    }

    /// The instructions of [`peak_f32`](Self::peak_f32).
    pub fn peak_f32_name(&self) -> &'static str {
        self.table.peak_f32.name
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::each_isa;

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
}
