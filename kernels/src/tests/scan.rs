//! Scans: exact, to the bit, at sizes around the edges of tiles.

use super::Failures;
use crate::isa::Isa;
use crate::kernels::Kernels;
use crate::testing::{Rng, each_isa};
use std::format;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::vec;
use std::vec::Vec;

/// The sums in i64, in the order of the definition.
fn reference(rows: &[i8], stride: usize, k: usize, queries: &[i8], n: usize) -> Vec<i32> {
    let mut sums = vec![];
    for query in queries.chunks(k) {
        for row in 0..n {
            let row = &rows[row * stride..][..k];
            let sum: i64 = row.iter().zip(query).map(|(&r, &q)| i64::from(r) * i64::from(q)).sum();
            sums.push(i32::try_from(sum).unwrap());
        }
    }
    sums
}

#[test]
fn sums_are_exact_on_every_tier() {
    let mut failures = Failures::default();
    let mut rng = Rng::new(7);
    // Random codes; all at the extremes, of one sign and of both.
    type Code = fn(&mut Rng) -> i8;
    let random: Code = |rng| rng.int(-127..128) as i8;
    let any: Code = |rng| rng.int(-128..128) as i8;
    let most: Code = |_| 127;
    let least: Code = |_| -128;
    let signs: Code = |rng| (rng.int(0..2) * 254 - 127) as i8;
    let fills = [(any, random), (most, most), (least, most), (least, signs), (signs, signs)];
    for k in [16usize, 32, 48, 512, 768, 65_536] {
        for (n, count) in [(0usize, 1usize), (1, 1), (2, 2), (3, 3), (4, 1), (5, 2), (8, 5), (13, 4)] {
            for stride in [k, k + 1, k + 16] {
                for (fill, (row, query)) in fills.into_iter().enumerate() {
                    if k == 65_536 && (stride != k || n > 5) {
                        continue;
                    }
                    // Nothing behind the last row's codes.
                    let rows: Vec<i8> = (0..n * stride).map(|_| row(&mut rng)).collect();
                    let rows = &rows[..(n * stride).saturating_sub(stride - k)];
                    let queries: Vec<i8> = (0..count * k).map(|_| query(&mut rng)).collect();
                    let expected = reference(rows, stride, k, &queries, n);
                    for kernels in each_isa() {
                        let mut sums = vec![7; count * n];
                        kernels.scan_i8(rows, stride, k, &queries, &mut sums);
                        failures.check(sums == expected, || {
                            format!(
                                "{}: {n} rows of {k}, {stride} apart, {count} queries, fill {fill}",
                                kernels.scan_name()
                            )
                        });
                    }
                }
            }
        }
    }
    failures.report();
}

#[test]
fn what_does_not_fit_is_refused() {
    let kernels = Kernels::new(Isa::SCALAR);
    let rows = [0; 64];
    let refused = |stride: usize, k: usize, queries: &[i8], n: usize| {
        let scan = || kernels.scan_i8(&rows, stride, k, queries, &mut vec![0; n]);
        catch_unwind(AssertUnwindSafe(scan)).is_err()
    };
    let query = [0; 32];
    assert!(!refused(16, 16, &query[..16], 4) && !refused(16, 16, &query, 8) && !refused(0, 16, &query, 200));
    assert!(refused(16, 16, &query[..16], 5) && refused(17, 16, &query[..16], 4));
    assert!(refused(16, 0, &query, 1) && refused(16, 15, &query[..15], 1) && refused(16, 16, &[], 1));
    assert!(refused(16, 16, &query[..17], 1) && refused(16, 16, &query, 3));
    assert!(refused(usize::MAX, 16, &query[..16], 3) && refused(usize::MAX - 15, 16, &query[..16], 2));
    assert!(refused(16, 16, &[i8::MIN; 16], 1));
}
