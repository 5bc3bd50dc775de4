//! The element-wise operations of every instruction set against f64.

use crate::kernels::Kernels;
use crate::pack::{MR, NR};
use crate::table::{Activation, RowRange};
use crate::testing::{Rng, each_isa};
use std::vec::Vec;

/// Largest error of `exp` where the result is a normal number.
const EXP_ULP: f64 = 1.0;
/// Results below this may be 0: the smallest normal f32.
const EXP_TINY: f64 = f32::MIN_POSITIVE as f64;
/// Softmax: relative error of an entry against the exact function of the rounded argument, and of the sum.
const SOFTMAX_RELATIVE: f64 = 2e-6;
/// LayerNorm: error in units of the largest output.
const NORM_RELATIVE: f64 = 1e-6;
/// Activations: absolute error, plus a relative one for large inputs.
const ACT_ABSOLUTE: f64 = 5e-7;
const ACT_RELATIVE: f64 = 4e-7;

/// Lengths around every vector edge, and widths of real models.
fn lengths() -> impl Iterator<Item = usize> {
    (1..=70).chain([192, 197, 768, 1280])
}

/// The distance between neighbouring f32 at `x`.
fn ulp(x: f64) -> f64 {
    let x = x as f32;
    f64::from(f32::from_bits(x.to_bits() + 1)) - f64::from(x)
}

/// `eˣ` for every argument, through softmax: the row's largest entry is 0, and scale −1 reaches positive arguments.
fn exp(kernels: &Kernels, arguments: &[f32]) -> Vec<f32> {
    let (scale, sign) = if arguments[0] <= 0.0 { (1.0, 1.0) } else { (-1.0, -1.0) };
    let mut row: Vec<f32> = arguments.iter().map(|x| x * sign).collect();
    row.push(0.0);
    kernels.softmax(&mut row, scale);
    row.pop();
    row
}

#[test]
fn exp_is_within_its_budget_over_the_whole_range() {
    for kernels in each_isa() {
        let mut worst = 0f64;
        for sign in [-1.0, 1.0] {
            let limit = if sign < 0.0 { 110.0 } else { 88.0 };
            // Every magnitude: equal steps of the argument, then of its exponent.
            let linear = (0..=200_000).map(|i| limit * i as f32 / 200_000.0);
            let tiny = (0..2000).map(|i| f32::from_bits(i * 500_000)).filter(|&x| x <= limit);
            let arguments: Vec<f32> = linear.chain(tiny).map(|x| x * sign).filter(|&x| x != 0.0).collect();
            for (x, y) in arguments.iter().zip(exp(&kernels, &arguments)) {
                let exact = f64::from(*x).exp();
                if exact < EXP_TINY {
                    assert!((0.0..=2.0 * EXP_TINY).contains(&f64::from(y)), "{kernels:?}: exp({x}) = {y}");
                    continue;
                }
                let error = (f64::from(y) - exact).abs() / ulp(exact);
                assert!(error <= EXP_ULP, "{kernels:?}: exp({x}) = {y}, {error} ULP off");
                worst = worst.max(error);
            }
        }
        assert!(worst > 0.4, "{kernels:?}: {worst} ULP is better than rounding: the test tests nothing");
    }
}

#[test]
fn exp_at_the_ends() {
    for kernels in each_isa() {
        for x in [-1e4, -104.0, -3e38] {
            assert_eq!(exp(&kernels, &[x]), [0.0], "{kernels:?} at {x}");
        }
        assert!(exp(&kernels, &[88.0])[0].is_finite());
        let mut row = [1.0, f32::NAN, 2.0];
        kernels.softmax(&mut row, 1.0);
        assert!(row[1].is_nan(), "{kernels:?}");
    }
}

#[test]
fn softmax_agrees_with_f64() {
    let mut rng = Rng::new(1);
    for kernels in each_isa() {
        for n in lengths() {
            for (amplitude, scale) in [(1.0, 0.125), (40.0, 1.0), (1e-3, 1.0), (1.0, 0.0)] {
                // Far below zero too: padding lanes must not count as the largest entry.
                let x: Vec<f32> = rng.floats(n, amplitude).iter().map(|x| x - 2.0 * amplitude).collect();
                let max = x.iter().fold(f32::NEG_INFINITY, |max, &x| max.max(x));
                let exact: Vec<f64> = x.iter().map(|x| f64::from((x - max) * scale).exp()).collect();
                let mut y = x.clone();
                let sum = f64::from(kernels.softmax(&mut y, scale));
                for (y, exact) in y.iter().zip(&exact) {
                    assert!((f64::from(*y) - exact).abs() <= SOFTMAX_RELATIVE * exact, "{kernels:?}, n {n}");
                }
                let exact: f64 = exact.iter().sum();
                assert!(
                    (sum - exact).abs() <= SOFTMAX_RELATIVE * exact,
                    "{kernels:?}, n {n}: {sum} for {exact}"
                );
            }
        }
        assert_eq!(kernels.softmax(&mut [], 1.0), 0.0);
    }
}

#[test]
fn layer_norm_agrees_with_f64() {
    let mut rng = Rng::new(2);
    for kernels in each_isa() {
        for n in lengths() {
            for (offset, amplitude) in [(0.0, 1.0), (3.0, 0.5), (-100.0, 20.0)] {
                let x: Vec<f32> = rng.floats(n, amplitude).iter().map(|x| x + offset).collect();
                let (gamma, beta) = (rng.floats(n, 2.0), rng.floats(n, 1.0));
                let eps = 1e-5f32;
                let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / n as f64;
                let variance = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n as f64;
                let inverse = 1.0 / (variance + f64::from(eps)).sqrt();
                let mut y = std::vec![f32::NAN; n];
                kernels.layer_norm(&x, &gamma, &beta, eps, &mut y);
                // The rounding errors of the sum, a random walk, shift the mean and with it every deviation.
                let walk = (n as f64).sqrt() * f64::from(f32::EPSILON);
                let shift = walk * f64::from(offset.abs() + amplitude) * inverse;
                for i in 0..n {
                    let exact = (f64::from(x[i]) - mean) * inverse * f64::from(gamma[i]) + f64::from(beta[i]);
                    let budget = NORM_RELATIVE * (1.0 + exact.abs()) + shift * f64::from(gamma[i].abs());
                    let error = (f64::from(y[i]) - exact).abs();
                    assert!(error <= budget, "{kernels:?}, n {n}, {i}: {} for {exact}", y[i]);
                }
            }
        }
    }
}

fn exact(act: Activation, x: f64) -> f64 {
    match act {
        Activation::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
        Activation::Gelu => 0.5 * x * libm::erfc(-x * core::f64::consts::FRAC_1_SQRT_2),
        Activation::GeluTanh => {
            0.5 * x * (1.0 + (core::f64::consts::FRAC_2_PI.sqrt() * (x + 0.044715 * x * x * x)).tanh())
        }
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Relu => x.max(0.0),
    }
}

#[test]
fn activations_agree_with_f64() {
    const ACTS: [Activation; 5] =
        [Activation::QuickGelu, Activation::Gelu, Activation::GeluTanh, Activation::Silu, Activation::Relu];
    let mut rng = Rng::new(3);
    for kernels in each_isa() {
        for act in ACTS {
            let dense: Vec<f32> = (-60_000..=60_000).map(|i| i as f32 / 4000.0).collect();
            let far = [-1e4, -300.0, -90.0, -40.0, 40.0, 90.0, 300.0, 1e4].to_vec();
            let rows = lengths().map(|n| rng.floats(n, 6.0)).chain([dense, far]);
            for x in rows {
                let mut y = x.clone();
                kernels.activate(act, &mut y);
                for (x, y) in x.iter().zip(&y) {
                    let exact = exact(act, f64::from(*x));
                    let error = (f64::from(*y) - exact).abs();
                    let budget = ACT_ABSOLUTE + ACT_RELATIVE * exact.abs();
                    assert!(error <= budget, "{kernels:?}: {act:?}({x}) = {y}, not {exact}");
                }
            }
            let mut nan = [f32::NAN; 9];
            kernels.activate(act, &mut nan);
            assert!(nan.iter().all(|y| y.is_nan()), "{kernels:?}: {act:?} hides NaN");
        }
    }
}

#[test]
fn the_ends_of_a_range_are_found_wherever_they_are() {
    let mut rng = Rng::new(4);
    for kernels in each_isa() {
        for width in [16, 48, 64, 768] {
            for rows in 1..=MR {
                let mut x = rng.floats(rows * width, 1.0);
                for col in [0, 17, width - 1].map(|col| col % width) {
                    let at = (rows - 1) * width + col;
                    for end in [-2.5, 2.5] {
                        x[at] = end;
                        let mut ranges = [RowRange::default(); MR];
                        kernels.range_rows(&x, width, x.len(), &mut ranges[..rows]);
                        for (x, range) in x.chunks_exact(width).zip(&ranges) {
                            let low = range.low.iter().fold(0f32, |low, x| low.min(*x));
                            let high = range.high.iter().fold(0f32, |high, x| high.max(*x));
                            assert_eq!(
                                low,
                                x.iter().fold(0f32, |low, x| low.min(*x)),
                                "{kernels:?}, {rows}x{width}"
                            );
                            assert_eq!(
                                high,
                                x.iter().fold(0f32, |high, x| high.max(*x)),
                                "{kernels:?}, {rows}x{width}"
                            );
                            assert_eq!(range.finite, [0.0; NR]);
                        }
                        let RowRange { low, high, .. } = ranges[rows - 1];
                        assert_eq!(if end < 0.0 { low } else { high }[col % NR], end, "{kernels:?}, at {at}");
                        assert_eq!(ranges[rows..], [RowRange::default(); MR][rows..], "missing rows");
                    }
                    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                        x[at] = bad;
                        let mut ranges = [RowRange::default(); MR];
                        kernels.range_rows(&x, width, x.len(), &mut ranges[..rows]);
                        assert!(
                            ranges[rows - 1].finite[col % NR].is_nan(),
                            "{kernels:?} hides {bad} at {at}"
                        );
                    }
                    x[at] = 0.0;
                }
            }
        }
    }
}

#[test]
fn ranges_follow_rows_through_blocks_and_see_nothing_between() {
    let mut rng = Rng::new(5);
    for kernels in each_isa() {
        for (width, blocks, rows) in [(16, 2, 1), (16, 9, 6), (32, 3, 5), (48, 1, 4)] {
            let stride = rows * width + 5;
            let mut x = std::vec![f32::NAN; (blocks - 1) * stride + rows * width];
            let mut apart = [RowRange::default(); MR];
            for block in x.chunks_mut(stride) {
                block[..rows * width].copy_from_slice(&rng.floats(rows * width, 1.0));
                kernels.range_rows(&block[..rows * width], width, rows * width, &mut apart[..rows]);
            }
            let mut ranges = [RowRange::default(); MR];
            kernels.range_rows(&x, width, stride, &mut ranges[..rows]);
            assert_eq!(ranges, apart, "{kernels:?}, {blocks} blocks of {rows}x{width}");
            assert!(ranges[rows - 1].low.iter().all(|&low| (-1.0..=0.0).contains(&low)), "{kernels:?}");
        }
    }
}
