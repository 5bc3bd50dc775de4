//! int8 micro-kernels and conversions: exact, to the bit.

use super::Failures;
use crate::pack::{LhsCodes, MR, NR};
use crate::scalar;
use crate::table::{AccI8, KC_I8, MicroKernelI8, ORDER_BYTES, QuantizeBy, REPACKED_BYTES, RunI8, RunI8Rows};
use crate::testing::{Rng, each_isa};
use half::f16;
use std::format;
use std::vec;
use std::vec::Vec;

/// What the codes of an operand of a tile look like.
#[derive(Clone, Copy, Debug)]
enum Fill {
    Random,
    /// The largest magnitude everywhere, one sign: the largest sums there are.
    Peak,
    /// The largest magnitude, random signs: the largest partial sums of a pairwise add.
    Signs,
    /// The largest magnitude in the first two of every eight: the largest pair in a sum that is small.
    Pairs,
    /// Small, but for one in forty: what trained weights look like.
    Tails,
}

impl Fill {
    fn codes(self, rng: &mut Rng, n: usize, max: i8) -> Vec<i8> {
        let max = i64::from(max);
        let code = |rng: &mut Rng, at: usize| match self {
            Fill::Random => rng.int(-max..max + 1),
            Fill::Peak => max,
            Fill::Pairs if at % 8 >= 2 => 0,
            Fill::Pairs => max,
            Fill::Signs => (rng.int(0..2) * 2 - 1) * max,
            Fill::Tails if rng.int(0..40) == 0 => (rng.int(0..2) * 2 - 1) * max,
            Fill::Tails => rng.int(-max / 8..max / 8 + 1),
        };
        (0..n).map(|at| code(rng, at) as i8).collect()
    }
}

/// Distance of rows of `k` that lie one after the other.
fn stride(k: usize) -> usize {
    k.next_multiple_of(64) + 16
}

/// An LHS panel in `format`, from row-major codes.
fn panel_bytes(format: LhsCodes, codes: &[i8], k: usize) -> Vec<u8> {
    let group = format.group();
    let len = if format == LhsCodes::S8Rows { (MR - 1) * stride(k) + k } else { MR * k * format.bytes() };
    let mut tile = vec![0; len];
    for (at, &code) in codes.iter().enumerate() {
        let (row, i) = (at / k, at % k);
        let to = (i / group * MR + row) * group + i % group;
        match format {
            LhsCodes::S8Rows => tile[row * stride(k) + i] = code as u8,
            LhsCodes::S8K4 | LhsCodes::S8K8 | LhsCodes::S8K16 => tile[to] = code as u8,
            LhsCodes::U8K4 => tile[to] = (i32::from(code) + 128) as u8,
            // 16 k of six rows one way, then the other.
            LhsCodes::BothK4 => {
                tile[to / 96 * 192 + to % 96] = (i32::from(code) + 128) as u8;
                tile[to / 96 * 192 + 96 + to % 96] = code as u8;
            }
        }
    }
    tile
}

/// The codes of one panel as the file holds them, from `NR` channels of `k`.
fn panel(codes: &[i8], k: usize) -> Vec<i8> {
    let mut panel = vec![0; NR * k];
    for (at, &code) in codes.iter().enumerate() {
        let (channel, i) = (at / k, at % k);
        panel[i / 4 * 64 + channel * 4 + i % 4] = code;
    }
    panel
}

/// Memory for a repacked RHS panel.
#[derive(Clone)]
#[repr(align(64))]
struct Line(#[expect(dead_code, reason = "only written by kernels")] [i8; 64]);

/// Bytes with one element ahead of them: a kernel may not count on more than an element's alignment.
fn led<T: Default + Clone>(lead: usize, data: Vec<T>) -> Vec<T> {
    [vec![T::default(); lead], data].concat()
}

/// A sum that is there already.
const THERE: i32 = 1_000_000;

type FindOrder = unsafe fn(k: usize, b: *const i8, order: &mut [u8]);

/// The sums of two LHS panels by two RHS panels of `k` steps: one tile at a time, in each order where the kernel knows
/// several, and all at once where it can.
fn sums(kernel: &MicroKernelI8, k: usize, a: &[i8], b: &[i8]) -> Vec<[AccI8; 4]> {
    let (run, run_2x2) = match kernel.run {
        RunI8::Tile(run) => (run, None),
        RunI8::Tiles2x2(run, run_2x2) => (run, Some(run_2x2)),
        RunI8::Rows(run) => return vec![sums_of_rows(run, k, a, b, false), sums_of_rows(run, k, a, b, true)],
    };
    let a: Vec<_> = a.chunks(MR * k).map(|a| led(1, panel_bytes(kernel.lhs, a, k))).collect();
    let b: Vec<_> = b.chunks(NR * k).map(|b| led(1, panel(b, k))).collect();
    let [a0, a1] = [&a[0][1..], &a[1][1..]].map(<[u8]>::as_ptr);
    let [b0, b1] = [&b[0][1..], &b[1][1..]].map(<[i8]>::as_ptr);
    let fresh = [[i32::MIN; MR * NR]; 4];
    let by_tiles = |find: Option<FindOrder>| {
        let mut results = fresh;
        for (acc, (a, b)) in results.iter_mut().zip([(a0, b0), (a0, b1), (a1, b0), (a1, b1)]) {
            let mut repacked = vec![Line([0x5a; 64]); REPACKED_BYTES / 64];
            let mut order = vec![0; kernel.order.map_or(0, |order| (order.bytes)(k))];
            assert!(order.len() <= ORDER_BYTES);
            // SAFETY: both panels hold `k` steps, `repacked` as many bytes as `repack` may write, `order` as many as it
            // must have; `each_isa` makes only tables that this CPU runs.
            unsafe {
                if let Some(find) = find {
                    find(k, b, &mut order);
                }
                match kernel.repack {
                    None => run(k, a, b, acc),
                    Some(repack) => {
                        repack(k, b, &order, repacked.as_mut_ptr().cast());
                        run(k, a, repacked.as_ptr().cast(), acc);
                    }
                }
            }
        }
        results
    };
    let mut results = match kernel.order {
        Some(order) => vec![by_tiles(Some(order.find)), by_tiles(Some(order.find_soon))],
        None => vec![by_tiles(None)],
    };
    if let Some(run_2x2) = run_2x2 {
        let mut acc = fresh;
        // SAFETY: as above.
        unsafe { run_2x2(k, [a0, a1], [b0, b1], [a0, a1], false, &mut acc) };
        results.push(acc);
        let mut acc = [[THERE; MR * NR]; 4];
        // SAFETY: as above.
        unsafe { run_2x2(k, [a0, a1], [b0, b1], [a0, a1], true, &mut acc) };
        results.push(acc.map(|acc| acc.map(|sum| sum - THERE)));
    }
    results
}

/// The same of all rows at once, added to what is there or not.
fn sums_of_rows(run: RunI8Rows, k: usize, a: &[i8], b: &[i8], add: bool) -> [AccI8; 4] {
    // What lies between the rows takes no part.
    let mut rows = vec![0x55u8; 1 + 2 * MR * stride(k)];
    for (row, a) in rows[1..].chunks_exact_mut(stride(k)).zip(a.chunks_exact(k)) {
        row.iter_mut().zip(a).for_each(|(row, &code)| *row = code as u8);
    }
    let b: Vec<_> = b.chunks(NR * k).map(|b| led(1, panel(b, k))).collect();
    let mut sums = [[THERE; 2 * MR * NR]; 2];
    let [first, second] = &mut sums;
    // SAFETY: so many rows with so much between them, panels of `k` steps, and sums of each row; `each_isa` makes only tables
    // that this CPU runs.
    unsafe {
        let (b, sums) = ([b[0][1..].as_ptr(), b[1][1..].as_ptr()], [first.as_mut_ptr(), second.as_mut_ptr()]);
        run(k, rows[1..].as_ptr(), stride(k), 2 * MR, b, b.map(<*const i8>::cast), add, sums);
    }
    core::array::from_fn(|at| {
        let from = &sums[at % 2][at / 2 * MR * NR..][..MR * NR];
        core::array::from_fn(|i| if add { from[i] - THERE } else { from[i] })
    })
}

/// The first (row, channel) whose sum is wrong, with both sums.
fn wrong_sum(kernel: &MicroKernelI8, k: usize, a: &[i8], b: &[i8]) -> Option<(usize, usize, i64, i64)> {
    let results = sums(kernel, k, a, b);
    for (row, a) in a.chunks_exact(k).enumerate() {
        for (channel, b) in b.chunks_exact(k).enumerate() {
            let offset = i64::from(kernel.offset);
            let right: i64 = a.iter().zip(b).map(|(&a, &b)| (i64::from(a) + offset) * i64::from(b)).sum();
            for acc in &results {
                let acc = &acc[row / MR * 2 + channel / NR];
                let got = i64::from(acc[row % MR * NR + channel % NR]);
                if got != right {
                    return Some((row, channel, got, right));
                }
            }
        }
    }
    None
}

#[test]
fn int8_micro_kernels_are_exact() {
    let mut failures = Failures::default();
    let mut rng = Rng::new(1);
    for k in [16, 32, 48, 64, 592, KC_I8] {
        for fill in [Fill::Random, Fill::Peak, Fill::Signs, Fill::Pairs, Fill::Tails] {
            // 64 and 32 are the most that AVX2 multiplies in a shorter way.
            for magnitude in [127, 65, 64, 33, 32] {
                let a = fill.codes(&mut rng, 2 * MR * k, 127);
                let b = fill.codes(&mut rng, 2 * NR * k, magnitude);
                for kernels in each_isa() {
                    let kernel = &kernels.table.gemm_i8;
                    let wrong = wrong_sum(kernel, k, &a, &b);
                    failures.check(wrong.is_none(), || {
                        format!(
                            "{} w{magnitude} k={k} {fill:?}: row, channel, got, right {wrong:?}",
                            kernel.name
                        )
                    });
                }
            }
        }
    }
    failures.report();
}

/// By the definition, in f64 but for the product, which is rounded to f32.
fn code(x: f32, by: &QuantizeBy) -> i8 {
    (f64::from(x * by.inverse).round_ties_even() + f64::from(by.zero_point)).clamp(-127.0, 127.0) as i8
}

#[test]
fn panels_are_quantized_to_the_bit() {
    let mut failures = Failures::default();
    let mut rng = Rng::new(2);
    for k in [16, 32, 48, 64, 80, 768] {
        for rows in 1..=MR {
            // Ties, then random values up to the largest code, then zeros.
            let inverses = [1.0, 127.0 / 3.0, 0.0, 1.0, 254.0 / 3.0, 42.0];
            let by: [QuantizeBy; MR] = core::array::from_fn(|row| QuantizeBy {
                inverse: inverses[row],
                zero_point: [0, 0, 5, -127, -127, 1][row],
            });
            let mut x = rng.floats(rows * k, 3.0);
            for (row, x) in x.chunks_exact_mut(k).enumerate() {
                match row {
                    0 => (0..k).for_each(|i| x[i] = ((i as f32 - k as f32 / 2.0) * 0.5).clamp(-127.0, 127.0)),
                    2 => x.fill(0.0),
                    // Beside zero to one side only: codes from one end to the other.
                    4 => x.iter_mut().for_each(|x| *x = x.abs().min(3.0)),
                    _ => (x[k / 2], x[k / 3], x[k - 1]) = (3.0, -3.0, -0.0),
                }
            }
            let codes: Vec<i8> = (0..rows * k).map(|at| code(x[at], &by[at / k])).collect();
            for format in [
                LhsCodes::S8K4,
                LhsCodes::S8K8,
                LhsCodes::S8K16,
                LhsCodes::U8K4,
                LhsCodes::S8Rows,
                LhsCodes::BothK4,
            ] {
                let right = panel_bytes(format, &codes, k);
                // Codes of missing rows are arbitrary: compared are those of the others.
                let present = panel_bytes(format, &vec![1; rows * k], k);
                let missing = panel_bytes(format, &[], k);
                let same = |out: &[u8]| {
                    let there = present.iter().zip(&missing).map(|(present, missing)| present != missing);
                    out.iter().zip(&right).zip(there).all(|((out, right), there)| !there || out == right)
                };
                let mut reference = vec![0xaa; right.len()];
                // SAFETY: `x` has `rows` rows of `k`, the LHS panel room for `k` steps.
                unsafe {
                    scalar::quantize_panel(format, x.as_ptr(), k, rows, &by, &mut reference, stride(k))
                };
                failures.check(same(&reference), || format!("scalar {format:?} {rows}x{k}"));
                for kernels in each_isa() {
                    let mut out = vec![0xaa; right.len()];
                    kernels.quantize_panel(format, &x, k, &by, &mut out, stride(k));
                    failures.check(same(&out), || format!("{} {format:?} {rows}x{k}", kernels.isa()));
                }
            }
        }
    }
    failures.report();
}

#[test]
fn half_precision_converts_to_the_bit() {
    let mut failures = Failures::default();
    let mut rng = Rng::new(3);
    let all: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
    let mut singles: Vec<f32> = (0..20_000).map(|_| f32::from_bits(rng.next() as u32)).collect();
    for pair in all.windows(2).filter(|pair| pair[0].is_finite() && pair[1].is_finite()) {
        // The value itself, the tie with its neighbour, and what lies just beside the tie.
        let tie = pair[0].to_f32() / 2.0 + pair[1].to_f32() / 2.0;
        singles.extend([pair[0].to_f32(), tie, tie.next_down(), tie.next_up()]);
    }
    for kernels in each_isa() {
        let mut wide = vec![0.0; all.len()];
        kernels.widen_f16(&all, &mut wide);
        for (from, to) in all.iter().zip(&wide) {
            let right = from.to_f32();
            failures.check(to.to_bits() == right.to_bits() || (to.is_nan() && right.is_nan()), || {
                format!("{} widens {:#x} to {to}", kernels.isa(), from.to_bits())
            });
        }
        let mut narrow = vec![f16::ZERO; singles.len()];
        kernels.narrow_f16(&singles, &mut narrow);
        for (from, to) in singles.iter().zip(&narrow) {
            let right = f16::from_f32(*from);
            failures.check(to.to_bits() == right.to_bits() || (to.is_nan() && right.is_nan()), || {
                format!("{} narrows {from:e} to {to}, not {right}", kernels.isa())
            });
        }
        // Every length of tail, and not an element past it.
        for n in 0..40 {
            let mut wide = [7.0; 41];
            kernels.widen_f16(&all[15_000..][..n], &mut wide[..n]);
            let mut narrow = [f16::NEG_ONE; 41];
            kernels.narrow_f16(&wide[..n], &mut narrow[..n]);
            let same = narrow[..n] == all[15_000..][..n] && wide[n] == 7.0 && narrow[n] == f16::NEG_ONE;
            failures.check(same, || format!("{}: conversion of {n} elements", kernels.isa()));
        }
    }
    failures.report();
}
