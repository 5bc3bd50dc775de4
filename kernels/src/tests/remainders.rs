//! Rows that int8 holds in two: nearer to the exact product, the others the same to the bit.

use crate::Kernels;
use crate::gemm::{self, Epilogue, Gemm, GemmScratch, Remainders};
use crate::matrix::{Mat, MatMut};
use crate::pack::{LhsMut, MR, RowScale, Weights, WeightsI8, pack_i8, packed_len, panels};
use crate::table::Activation;
use crate::testing::{Rng, each_isa};
use bytemuck::Zeroable;
use std::vec;
use std::vec::Vec;

/// Two spans.
const K: usize = 1024;
const RHS_SCALE: f32 = 1.0 / 4096.0;

struct Weighed {
    n: usize,
    codes: Vec<i8>,
    packed: Vec<i8>,
    sums: Vec<i32>,
    bias: Vec<f32>,
}

impl Weighed {
    fn new(rng: &mut Rng, n: usize) -> Weighed {
        let codes: Vec<i8> = (0..n * K).map(|_| rng.int(-127..128) as i8).collect();
        let mut packed = vec![0; packed_len(n, K)];
        pack_i8(&codes, 0, K, &mut packed);
        let mut sums: Vec<i32> =
            codes.chunks_exact(K).map(|row| row.iter().map(|&w| i32::from(w)).sum()).collect();
        sums.resize(panels(n) * 16, 0);
        let mut bias = rng.floats(n, 1.0);
        bias.resize(panels(n) * 16, 0.0);
        Weighed { n, codes, packed, sums, bias }
    }

    /// Without rounding of the activations.
    fn exact(&self, x: &[f32], channel: usize) -> f64 {
        let w = &self.codes[channel * K..][..K];
        let sum: f64 = x.iter().zip(w).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
        sum * f64::from(RHS_SCALE) + f64::from(self.bias[channel])
    }

    /// What `start` becomes, [rows, n]: the output lies in blocks of `block` columns, and two threads have their panels.
    fn multiply(
        &self,
        kernels: &Kernels,
        x: &[f32],
        remainders: Remainders,
        epilogue: Epilogue,
        block: usize,
        start: &[f32],
    ) -> Vec<f32> {
        let (rows, n) = (x.len() / K, self.n);
        let scales = [RHS_SCALE; 64];
        let weights = Weights::I8(WeightsI8::new(n, K, &self.packed, &scales, &self.sums).expect("fits"));
        let mut all = x.to_vec();
        for group in 0..remainders.count {
            let mut row = x[(group * rows / remainders.count + remainders.row) * K..][..K].to_vec();
            kernels.rounding_remainder(&mut row);
            all.extend(row);
        }
        let count = all.len() / K;
        let format = kernels.lhs_format(&weights);
        let mut bytes = vec![0u32; format.bytes(count, K).div_ceil(4)];
        let mut row_scales = vec![RowScale::default(); count];
        let mut lhs = LhsMut::new(format, count, K, bytemuck::cast_slice_mut(&mut bytes), &mut row_scales);
        kernels.pack_lhs(&mut lhs, &Mat::new(&all, count, K, K));
        let gemm = Gemm { lhs: lhs.as_lhs(), weights, bias: &self.bias, epilogue, remainders };
        let mut scratch = GemmScratch::zeroed();
        // Into blocks, and back.
        let place = |row: usize, col: usize| col / block * block * rows + row * block + col % block;
        let mut out = vec![0.0; rows * n];
        for (at, start) in start.iter().enumerate() {
            out[place(at / n, at % n)] = *start;
        }
        let mut rest = Some(MatMut::blocks(&mut out, rows, n, block));
        for groups in [0..1, 1..gemm::groups(n)] {
            let panels = gemm::group_panels(n, groups);
            let cols = gemm::channels(n, panels.clone()).len();
            let (mut part, others) = rest.take().expect("put back").split_at_col(cols);
            rest = Some(others);
            kernels.gemm(&gemm, panels, &mut part, &mut scratch);
        }
        (0..rows * n).map(|at| out[place(at / n, at % n)]).collect()
    }
}

#[test]
fn rows_in_two_are_nearly_exact_and_the_others_the_same() {
    let mut rng = Rng::new(31);
    // Two pairs of panels, the last panel not full.
    let n = 56;
    let weighed = Weighed::new(&mut rng, n);
    // Groups of one row, below and around a panel, around two, and past a block of rows.
    for (groups, group) in
        [(1, 1), (5, 1), (1, 2), (3, 5), (1, 6), (2, 7), (1, 12), (3, 13), (1, 50), (1, 257)]
    {
        let rows = groups * group;
        let x = rng.floats(rows * K, 3.0);
        let start = rng.floats(rows * n, 5.0);
        for row in [0, group / 2, group - 1] {
            let remainders = Remainders { count: groups, row };
            for kernels in each_isa() {
                for epilogue in [Epilogue::Store, Epilogue::Add, Epilogue::Activate(Activation::Relu)] {
                    let run = |remainders| weighed.multiply(&kernels, &x, remainders, epilogue, n, &start);
                    let (plain, better) = (run(Remainders::default()), run(remainders));
                    let mut errors = [0.0f64; 2];
                    for (at, (plain, better)) in plain.iter().zip(&better).enumerate() {
                        if (at / n) % group != row {
                            assert_eq!(
                                plain.to_bits(),
                                better.to_bits(),
                                "{kernels:?} {groups}x{group} {epilogue:?}"
                            );
                            continue;
                        }
                        let exact = weighed.exact(&x[at / n * K..][..K], at % n);
                        let right = match epilogue {
                            Epilogue::Store => exact,
                            Epilogue::Add => exact + f64::from(start[at]),
                            Epilogue::Activate(_) => exact.max(0.0),
                        };
                        errors[0] += (f64::from(*plain) - right).powi(2);
                        errors[1] += (f64::from(*better) - right).powi(2);
                    }
                    // A 253rd of the error, but for f32's own rounding.
                    assert!(
                        errors[1].sqrt() < errors[0].sqrt() / 150.0,
                        "{kernels:?} {groups}x{group} row {row} {epilogue:?}: {errors:?}"
                    );
                }
            }
        }
    }
}

/// Where the output lies in blocks, its activation function is applied later.
#[test]
fn blocks_give_the_same_bits() {
    let mut rng = Rng::new(32);
    let weighed = Weighed::new(&mut rng, 64);
    for (groups, group) in [(1, 1), (2, 4), (1, 50), (2, MR)] {
        let rows = groups * group;
        let (x, start) = (rng.floats(rows * K, 3.0), rng.floats(rows * 64, 5.0));
        for kernels in each_isa() {
            for epilogue in [Epilogue::Store, Epilogue::Add, Epilogue::Activate(Activation::Gelu)] {
                let remainders = Remainders { count: groups, row: 0 };
                let run = |block| weighed.multiply(&kernels, &x, remainders, epilogue, block, &start);
                assert_eq!(run(64), run(kernels.block_cols()), "{kernels:?} {groups}x{group} {epilogue:?}");
            }
        }
    }
}
