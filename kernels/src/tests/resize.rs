//! The loops of the resize: every instruction set equals a naive sum to the bit.

use crate::isa::Isa;
use crate::kernels::Kernels;
use crate::resample::{Pass, Resampling, Window};
use crate::testing::{Rng, each_isa};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::vec;
use std::vec::Vec;

const PASS: Pass = Pass { taps: 37, precision: 14 };

/// A row's windows of 0 to `taps` pixels with coefficients that sum to about 1, and how many pixels they cover.
fn windows(rng: &mut Rng, count: usize) -> (Vec<Window>, Vec<i32>, usize) {
    let mut start = 5;
    let (mut windows, mut coefficients) = (Vec::new(), Vec::new());
    let mut end = start;
    for _ in 0..count {
        let len = (rng.int(0..PASS.taps as i64 + 1) as u32).max(end - start);
        windows.push(Window { start, len });
        end = start + len;
        coefficients.extend((0..PASS.taps).map(|_| rng.int(-2000..4000) as i32 * 8 / len.max(1) as i32));
        start += rng.int(0..4).min(i64::from(len)) as u32;
    }
    (windows, coefficients, end as usize - 5)
}

fn clamped(sum: i64) -> u8 {
    ((sum + (1 << (PASS.precision - 1))) >> PASS.precision).clamp(0, 255) as u8
}

#[test]
fn both_passes_are_exact() {
    let mut rng = Rng::new(31);
    for count in [1, 2, 17, 64] {
        let (windows, coefficients, covered) = windows(&mut rng, count);
        let source: Vec<u8> = (0..covered * 3).map(|_| rng.next() as u8).collect();
        let axis = Resampling { windows: &windows, coefficients: &coefficients, pass: PASS };
        let mut right = Vec::new();
        for (i, window) in windows.iter().enumerate() {
            for channel in 0..3 {
                let level = |j: usize| i64::from(source[(window.start as usize - 5 + j) * 3 + channel]);
                let terms =
                    (0..window.len as usize).map(|j| i64::from(coefficients[i * PASS.taps + j]) * level(j));
                right.push(clamped(terms.sum()));
            }
        }
        assert_eq!(axis.span(), 5..5 + covered);
        let rows: Vec<&[u8]> = source.chunks(source.len() / 3 + 1).collect();
        let len = rows[rows.len() - 1].len();
        let factors = [9000, -3000, 8000];
        let down = |i: usize| clamped(rows.iter().zip(factors).map(|(row, by)| i64::from(row[i]) * by).sum());
        for kernels in each_isa() {
            let mut out = vec![0; count * 3];
            kernels.resize_row(&axis, &source, &mut out);
            assert_eq!(out, right, "{kernels:?}");
            let mut sums = vec![PASS.half(); len];
            for (row, by) in rows.iter().zip(factors) {
                kernels.resize_add(&mut sums, row, by as i32);
            }
            let mut out = vec![0; len];
            kernels.resize_round(&sums, PASS, &mut out);
            assert!(out.iter().enumerate().all(|(i, &level)| level == down(i)), "{kernels:?}");
        }
    }
}

#[test]
fn windows_outside_are_refused() {
    let kernels = Kernels::new(Isa::SCALAR);
    let windows = [Window { start: 2, len: 2 }, Window { start: 3, len: u32::MAX }];
    let axis =
        Resampling { windows: &windows[..1], coefficients: &[1, 1], pass: Pass { taps: 2, precision: 1 } };
    let refused = |axis: &Resampling<'_>, source: &[u8], out: usize| {
        catch_unwind(AssertUnwindSafe(|| kernels.resize_row(axis, source, &mut vec![0; out]))).is_err()
    };
    assert!(!refused(&axis, &[9; 6], 3));
    assert!(refused(&axis, &[9; 5], 3) && refused(&axis, &[9; 6], 6));
    assert!(refused(&Resampling { coefficients: &[1], ..axis }, &[9; 6], 3));
    assert!(refused(&Resampling { windows: &windows, ..axis }, &[9; 60], 6));
    assert!(refused(&Resampling { windows: &[], ..axis }, &[9; 60], 3));
}
