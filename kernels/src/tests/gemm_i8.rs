//! int8 GEMMs of every size that occurs, against sums in i64: equal to the bit on every instruction set.
//!
//! Scales are powers of two, and from its lowest to its highest value, 0 included, each row spans 253: as many steps as
//! quantization makes, so that it and dequantization are exact and only a wrong sum can make a difference. A row's result
//! does not depend on the rows beside it: the right sums of the most rows serve for fewer.

use super::Failures;
use crate::gemm::{Epilogue, Gemm, GemmScratch};
use crate::matrix::{Mat, MatMut};
use crate::pack::{LhsMut, Weights, WeightsI8, pack_i8, packed_len, padded_k, panels};
use crate::testing::{Rng, each_isa};
use crate::{Remainders, RowScale};
use bytemuck::Zeroable;
use std::format;
use std::vec;
use std::vec::Vec;

/// Three panels, the last of them not full.
const N: usize = 40;
const SCALE: f32 = 0.25;

struct Case {
    k: usize,
    /// Rows of `padded_k(k)`.
    x: Vec<f32>,
    codes: Vec<i8>,
    sums: Vec<i32>,
    bias: Vec<f32>,
    /// Rows of `N`.
    right: Vec<f32>,
}

impl Case {
    fn new(rng: &mut Rng, rows: usize, k: usize) -> Case {
        let width = padded_k(k);
        let mut x = vec![0i16; rows * k];
        for (r, row) in x.chunks_exact_mut(k).enumerate() {
            // Zero points anywhere, at both ends too.
            let low = [-126, 0, -253, -40, -200][r % 5];
            // Every seventh row has the largest sums there are.
            let largest = if low < -126 { low } else { low + 253 };
            row.fill_with(|| if r % 7 == 5 { largest } else { rng.int(low..low + 254) } as i16);
            if k == 1 {
                row[0] = if r % 2 == 0 { 253 } else { -253 };
            } else {
                (row[r % k], row[(r + 1) % k]) = (low as i16, low as i16 + 253);
            }
        }
        let mut w = vec![0i8; N * k];
        for (c, w) in w.chunks_exact_mut(k).enumerate() {
            // Also −128, which no packer writes.
            w.fill_with(|| if c % 5 == 3 { 127 } else { rng.int(-128..128) as i8 });
        }
        let mut codes = vec![0; packed_len(N, k)];
        pack_i8(&w, 0, k, &mut codes);
        let mut sums: Vec<i32> = w.chunks_exact(k).map(|w| w.iter().map(|&w| i32::from(w)).sum()).collect();
        let mut bias: Vec<f32> = (0..N).map(|_| rng.int(-64..64) as f32).collect();
        sums.resize(panels(N) * 16, 0);
        bias.resize(panels(N) * 16, 0.0);
        let mut right = Vec::new();
        for x in x.chunks_exact(k) {
            for (w, bias) in w.chunks_exact(k).zip(&bias) {
                let sum: i64 = x.iter().zip(w).map(|(&x, &w)| i64::from(i32::from(x) * i32::from(w))).sum();
                right.push(sum as f32 * SCALE + bias);
            }
        }
        let mut padded = vec![0.0; rows * width];
        for (padded, x) in padded.chunks_exact_mut(width).zip(x.chunks_exact(k)) {
            padded.iter_mut().zip(x).for_each(|(padded, &x)| *padded = f32::from(x));
        }
        Case { k, x: padded, codes, sums, bias, right }
    }

    fn check(&self, row_counts: impl Iterator<Item = usize> + Clone, failures: &mut Failures) {
        let (k, width) = (self.k, padded_k(self.k));
        let scales = [SCALE; 48];
        let weights = WeightsI8::new(N, k, &self.codes, &scales, &self.sums).expect("fits");
        let mut scratch = GemmScratch::zeroed();
        for kernels in each_isa() {
            let mut order = vec![0; panels(N) * kernels.order_bytes(&weights)];
            kernels.find_order(&weights, 0..panels(N), &mut order);
            for (i, rows) in row_counts.clone().enumerate() {
                // Where the kernel takes weights in an order, with that found before, and every third time without.
                let weights = Weights::I8(if i % 3 == 2 { weights } else { weights.with_order(&order) });
                let format = kernels.lhs_format(&weights);
                let mut bytes = vec![0x5a5a_5a5au32; format.bytes(rows, k).div_ceil(4)];
                let mut scales = vec![RowScale::default(); rows];
                let mut lhs = LhsMut::new(format, rows, k, bytemuck::cast_slice_mut(&mut bytes), &mut scales);
                kernels.pack_lhs(&mut lhs, &Mat::new(&self.x[..rows * width], rows, width, width));
                let gemm = Gemm {
                    lhs: lhs.as_lhs(),
                    weights,
                    bias: &self.bias,
                    epilogue: Epilogue::Store,
                    remainders: Remainders::default(),
                };
                let mut out = vec![f32::NAN; rows * N];
                kernels.gemm(&gemm, 0..panels(N), &mut MatMut::new(&mut out, rows, N), &mut scratch);
                let wrong =
                    out.iter().zip(&self.right).position(|(got, right)| got.to_bits() != right.to_bits());
                failures.check(wrong.is_none(), || {
                    let at = wrong.expect("failed");
                    let (row, col, got, right) = (at / N, at % N, out[at], self.right[at]);
                    format!("{} {rows}x{N}x{k}: ({row}, {col}) is {got}, not {right}", kernels.isa())
                });
            }
        }
    }
}

#[test]
fn every_number_of_rows_is_exact() {
    let mut failures = Failures::default();
    let most = if cfg!(miri) { 14 } else { 600 };
    Case::new(&mut Rng::new(21), most, 1).check(1..=most, &mut failures);
    failures.report();
}

#[test]
fn any_order_is_safe() {
    let mut rng = Rng::new(23);
    for (n, k) in [(16, 16), (40, 768), (32, 769), (16, 3072)] {
        let codes: Vec<i8> = (0..packed_len(n, k)).map(|_| rng.int(-128..128) as i8).collect();
        let (scales, sums) = (vec![1.0; panels(n) * 16], vec![0; panels(n) * 16]);
        let weights = WeightsI8::new(n, k, &codes, &scales, &sums).expect("fits");
        for kernels in each_isa() {
            let len = panels(n) * kernels.order_bytes(&weights);
            let noise: Vec<u8> = (0..len).map(|_| rng.int(0..256) as u8).collect();
            // Also too long and too short.
            for order in [&noise[..], &vec![0xff; len], &vec![0xff; len + 1], &noise[..len / 2]] {
                let weights = Weights::I8(weights.with_order(order));
                let format = kernels.lhs_format(&weights);
                let mut bytes = vec![0u32; format.bytes(7, k).div_ceil(4)];
                let mut rows = vec![RowScale::default(); 7];
                let mut lhs = LhsMut::new(format, 7, k, bytemuck::cast_slice_mut(&mut bytes), &mut rows);
                let x = vec![1.0; 7 * padded_k(k)];
                kernels.pack_lhs(&mut lhs, &Mat::new(&x, 7, padded_k(k), padded_k(k)));
                let gemm = Gemm {
                    lhs: lhs.as_lhs(),
                    weights,
                    bias: &[],
                    epilogue: Epilogue::Store,
                    remainders: Remainders::default(),
                };
                let mut out = vec![0.0; 7 * n];
                kernels.gemm(
                    &gemm,
                    0..panels(n),
                    &mut MatMut::new(&mut out, 7, n),
                    &mut GemmScratch::zeroed(),
                );
            }
        }
    }
}

/// Widths of real models and of their hidden layers, at rows around every edge: of a panel, of two, of a block (252), and
/// the most.
#[test]
#[cfg_attr(miri, ignore = "hundreds of millions of products")]
fn every_width_is_exact() {
    let mut failures = Failures::default();
    let mut rng = Rng::new(22);
    for (k, rows) in [
        (
            768,
            &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 50, 197, 251, 252, 253, 258, 264, 504, 505, 600][..],
        ),
        // Not a multiple of 64: what remains is multiplied apart where tile registers are.
        (592, &[1, 6, 15, 16, 17, 31, 32, 33, 48, 49, 64, 65, 197, 252, 253]),
        (1024, &[1, 6, 7, 12, 13, 257, 600]),
        (3072, &[1, 5, 13, 197, 253]),
        (4096, &[1, 12, 19, 264]),
        (8192, &[1, 7, 50]),
    ] {
        Case::new(&mut rng, rows[rows.len() - 1], k).check(rows.iter().copied(), &mut failures);
    }
    failures.report();
}
