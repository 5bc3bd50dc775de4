//! Plain loops compiled for each instruction set.

use crate::table::Vectorized;
use crate::testing::{Rng, each_isa};
use std::vec::Vec;

/// A dot product of u8 by i32.
struct Dot<'a>(&'a [u8], &'a [i32]);

impl Vectorized for Dot<'_> {
    type Output = i32;

    #[inline(always)]
    fn run(self) -> i32 {
        self.0.iter().zip(self.1).map(|(&a, b)| i32::from(a) * b).sum()
    }
}

#[test]
fn work_gives_the_same_on_every_instruction_set() {
    let mut rng = Rng::new(41);
    for n in [0, 1, 31, 1000] {
        let a: Vec<u8> = (0..n).map(|_| rng.next() as u8).collect();
        let b: Vec<i32> = (0..n).map(|_| rng.int(-4000..4000) as i32).collect();
        let right: i64 = a.iter().zip(&b).map(|(&a, &b)| i64::from(a) * i64::from(b)).sum();
        for kernels in each_isa() {
            assert_eq!(i64::from(kernels.vectorized(Dot(&a, &b))), right, "{kernels:?}, n {n}");
        }
    }
}
