//! int8 micro-kernels and conversions: exact, to the bit.

use super::Failures;
use crate::activations::{I8Format, TILE_ROWS};
use crate::layout::NR;
use crate::scalar;
use crate::table::TileI8;
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
}

impl Fill {
    fn codes(self, rng: &mut Rng, n: usize, max: i8) -> Vec<i8> {
        let max = i64::from(max);
        let code = |rng: &mut Rng| match self {
            Fill::Random => rng.int(-max..max + 1),
            Fill::Peak => max,
            Fill::Signs => (rng.int(0..2) * 2 - 1) * max,
        };
        (0..n).map(|_| code(rng) as i8).collect()
    }
}

/// A tile of activations in `format`, from row-major codes.
fn tile_bytes(format: I8Format, codes: &[i8], k: usize) -> Vec<u8> {
    let (group, bytes) = (format.group(), format.bytes());
    let mut tile = vec![0; TILE_ROWS * k * bytes];
    for (at, &code) in codes.iter().enumerate() {
        let (row, i) = (at / k, at % k);
        let to = ((i / group * TILE_ROWS + row) * group + i % group) * bytes;
        match format {
            I8Format::S8K4 | I8Format::S8K8 => tile[to] = code as u8,
            I8Format::U8K4 => tile[to] = (i32::from(code) + 128) as u8,
            I8Format::S16K4 => tile[to..to + 2].copy_from_slice(&i16::from(code).to_ne_bytes()),
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

/// Runs one tile; the first (row, channel) whose sum is wrong, with both sums.
fn wrong_sum(tile: &TileI8, k: usize, a: &[i8], b: &[i8]) -> Option<(usize, usize, i64, i64)> {
    // One element ahead of the data: a kernel may not count on more than an element's alignment.
    let lead = tile.format.bytes();
    let a_bytes = [vec![0; lead], tile_bytes(tile.format, a, k)].concat();
    let mut b_codes = [vec![0; 1], panel(b, k)].concat();
    let mut acc = [i32::MIN; TILE_ROWS * NR];
    // SAFETY: tile and panel hold `k` steps, and `prepared` twice as much; `each_isa` makes only tables that this CPU
    // runs.
    unsafe {
        if let Some(prepare) = tile.prepare {
            let mut prepared = vec![0; 1 + 2 * NR * k];
            prepare(k, b_codes[1..].as_ptr(), prepared[1..].as_mut_ptr());
            b_codes = prepared;
        }
        (tile.run)(k, a_bytes[lead..].as_ptr(), b_codes[1..].as_ptr(), &mut acc);
    }
    for (row, a) in a.chunks_exact(k).enumerate() {
        for (channel, b) in b.chunks_exact(k).enumerate() {
            let offset = i64::from(tile.format.offset());
            let right: i64 = a.iter().zip(b).map(|(&a, &b)| (i64::from(a) + offset) * i64::from(b)).sum();
            let got = i64::from(acc[row * NR + channel]);
            if got != right {
                return Some((row, channel, got, right));
            }
        }
    }
    None
}

#[test]
fn int8_tiles_are_exact() {
    let mut failures = Failures::default();
    let mut rng = Rng::new(1);
    for k in [16, 32, 48, 64, 592, 768, 3072] {
        for fill in [Fill::Random, Fill::Peak, Fill::Signs] {
            for magnitude in [127, 64] {
                let a = fill.codes(&mut rng, TILE_ROWS * k, 127);
                let b = fill.codes(&mut rng, NR * k, magnitude);
                for kernels in each_isa() {
                    let tile = if magnitude == 127 { kernels.tile_w8 } else { kernels.tile_w7 };
                    let wrong = wrong_sum(&tile, k, &a, &b);
                    failures.check(wrong.is_none(), || {
                        format!(
                            "{} w{magnitude} k={k} {fill:?}: row, channel, got, right {wrong:?}",
                            tile.name
                        )
                    });
                }
            }
        }
    }
    failures.report();
}

#[test]
fn rows_are_quantized_to_the_bit() {
    let mut failures = Failures::default();
    let mut rng = Rng::new(2);
    for k in [16, 32, 48, 64, 80, 768] {
        let ties: Vec<f32> = (0..k).map(|i| (i as f32 - k as f32 / 2.0) * 0.5).collect();
        let mut random = rng.floats(k, 3.0);
        random[k / 2] = 3.0;
        random[k / 3] = -3.0;
        random[k - 1] = -0.0;
        let rows = [("ties", ties, 1.0), ("random", random, 127.0 / 3.0), ("zeros", vec![0.0; k], 0.0)];
        for (what, values, inverse) in rows {
            let values: Vec<f32> = values.iter().map(|v| v.clamp(-127.0, 127.0)).collect();
            for format in [I8Format::S8K4, I8Format::S8K8, I8Format::U8K4, I8Format::S16K4] {
                let bytes = (TILE_ROWS * k - (TILE_ROWS - 1) * format.group()) * format.bytes();
                let mut right = vec![0xaa; bytes];
                for (i, value) in values.iter().enumerate() {
                    let code = (value * inverse).round_ties_even() as i8;
                    let to = (i / format.group() * TILE_ROWS * format.group() + i % format.group())
                        * format.bytes();
                    match format {
                        I8Format::S8K4 | I8Format::S8K8 => right[to] = code as u8,
                        I8Format::U8K4 => right[to] = (i32::from(code) + 128) as u8,
                        I8Format::S16K4 => {
                            right[to..to + 2].copy_from_slice(&i16::from(code).to_ne_bytes());
                        }
                    }
                }
                let mut reference = vec![0xaa; bytes];
                scalar::quantize_row(format, &values, inverse, &mut reference);
                failures.check(reference == right, || format!("scalar {format:?} k={k} {what}"));
                for kernels in each_isa() {
                    let mut out = vec![0xaa; bytes];
                    kernels.quantize_row(format, &values, inverse, &mut out);
                    failures.check(out == right, || {
                        let at = out.iter().zip(&right).position(|(out, right)| out != right);
                        format!("{} {format:?} k={k} {what}: byte {at:?}", kernels.isa())
                    });
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
