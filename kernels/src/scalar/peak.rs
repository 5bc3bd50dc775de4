//! Loops over arrays that the compiler may keep in registers, but not leave out.

use crate::table::Peak;
use core::hint::black_box;

/// Elements of a scalar iteration.
const LANES: usize = 64;

pub(super) const PEAK_I8: Peak = Peak { name: "i8 scalar", macs: LANES as u64, run: scalar_i8 };
pub(super) const PEAK_F32: Peak = Peak { name: "f32 scalar", macs: LANES as u64, run: scalar_f32 };

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
