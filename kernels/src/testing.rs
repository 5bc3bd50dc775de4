//! What the tests of every kernel share: a generator, the instruction sets of this machine, and references that share
//! no code with what they check.

use crate::isa::{Feature, Isa};
use crate::kernels::Kernels;
use core::ops::Range;
use std::vec::Vec;

/// xorshift64*: small, seeded, the same everywhere.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Uniform in [-1, 1).
    pub(crate) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub(crate) fn int(&mut self, range: Range<i64>) -> i64 {
        range.start + (self.next() % (range.end - range.start) as u64) as i64
    }

    pub(crate) fn floats(&mut self, n: usize, amplitude: f32) -> Vec<f32> {
        (0..n).map(|_| self.unit() * amplitude).collect()
    }
}

/// Kernels for every combination of features worth testing on this machine: scalar, each feature alone with its base,
/// and all together; and what each has for a Cortex-A55.
pub(crate) fn each_isa() -> Vec<Kernels> {
    let mut isas = std::vec![Isa::SCALAR];
    isas.extend(Feature::ALL.iter().filter_map(|f| Isa::select(f.name()).ok()));
    isas.extend([Isa::detect(), Isa::available()]);
    isas.dedup();
    let mut all: Vec<Kernels> = isas.into_iter().map(Kernels::new).collect();
    for kernels in all.clone() {
        let other = kernels.for_cortex_a55();
        if other.table.gemm_i8.name != kernels.table.gemm_i8.name {
            all.push(other);
        }
    }
    all
}
