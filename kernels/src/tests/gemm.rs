//! Whole GEMMs against a naive f64 product, at sizes around the edges of tiles and panels.

use super::{Failures, UNIT};
use crate::gemm::{Epilogue, Gemm, GemmScratch, group_panels, groups};
use crate::kernels::Kernels;
use crate::matrix::{Mat, MatMut};
use crate::pack::{LhsFormat, LhsMut, NR, Weights, WeightsFloat, WeightsI8, padded_k, padded_n, panels};
use crate::table::Activation;
use crate::testing::{Rng, each_isa};
use crate::{Remainders, RowScale};
use bytemuck::Zeroable;
use half::f16;
use std::format;
use std::string::String;
use std::vec;
use std::vec::Vec;

/// Unit roundoff of f16, and its smallest step.
const UNIT_F16: f64 = 1.0 / (1u64 << 11) as f64;
const STEP_F16: f64 = 1.0 / (1u64 << 24) as f64;
/// What half-precision arithmetic may lose of Σ|x·w|: rounding x, and short sums of products, whose errors partly
/// cancel.
const HALF_SUMS: f64 = 4.0 * UNIT_F16;
/// int8 sums are exact; the way out rounds to f32, multiplies by two scales and adds a bias.
const DEQUANT: f64 = 4.0 * UNIT;
/// An activation function of |y| ≤ 1, or relative to y beyond.
const ACTIVATE: f64 = 4e-6;

const EPILOGUES: [Epilogue; 7] = [
    Epilogue::Store,
    Epilogue::Add,
    Epilogue::Activate(Activation::QuickGelu),
    Epilogue::Activate(Activation::Gelu),
    Epilogue::Activate(Activation::GeluTanh),
    Epilogue::Activate(Activation::Silu),
    Epilogue::Activate(Activation::Relu),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    W8,
    W7,
    F16,
    F32,
}

/// One linear layer with its input, packed, and what it must give.
struct Case {
    kind: Kind,
    rows: usize,
    n: usize,
    k: usize,
    /// `rows` × `padded_k`
    x: Vec<f32>,
    codes: Vec<i8>,
    scales: Vec<f32>,
    sums: Vec<i32>,
    halves: Vec<f16>,
    singles: Vec<f32>,
    bias: Vec<f32>,
    /// `rows` × `n`: x·Wᵀ without bias, and Σ|x·w|, which scales the error.
    product: Vec<f64>,
    size: Vec<f64>,
}

impl Case {
    fn new(rng: &mut Rng, kind: Kind, rows: usize, n: usize, k: usize) -> Case {
        let (k_pad, n_pad) = (padded_k(k), padded_n(n));
        let max = if kind == Kind::W7 { 64 } else { 127 };
        let mut case = Case {
            kind,
            rows,
            n,
            k,
            x: vec![0.0; rows * k_pad],
            codes: vec![0; n_pad * k_pad],
            scales: vec![0.0; n_pad],
            sums: vec![0; n_pad],
            halves: vec![f16::ZERO; n_pad * k_pad],
            singles: vec![0.0; n_pad * k_pad],
            bias: vec![0.0; n_pad],
            product: vec![0.0; rows * n],
            size: vec![0.0; rows * n],
        };
        for (r, row) in case.x.chunks_exact_mut(k_pad).enumerate() {
            // Multiples of a power of two that span the 253 steps of quantization: it finds exactly these codes. Row 3 is
            // all zeros.
            row[..k].fill_with(|| rng.int(-126..128) as f32 / 32.0);
            (row[(r + 1) % k], row[r % k]) = (-126.0 / 32.0, 127.0 / 32.0);
            if k == 1 {
                row[0] = 253.0 / 32.0;
            }
            if r == 3 {
                row.fill(0.0);
            }
        }
        let mut w = vec![0.0; n * k];
        for (j, w) in w.chunks_exact_mut(k).enumerate() {
            case.bias[j] = rng.unit();
            case.scales[j] = (1.5 + rng.unit()) / 4096.0;
            for (i, w) in w.iter_mut().enumerate() {
                let code = rng.int(-max..max + 1);
                let float = (rng.unit() / 16.0) as f64;
                let panel = j / NR * NR * k_pad;
                let at = panel + i * NR + j % NR;
                *w = match kind {
                    Kind::W8 | Kind::W7 => {
                        case.codes[panel + i / 4 * 4 * NR + j % NR * 4 + i % 4] = code as i8;
                        case.sums[j] += code as i32;
                        code as f64 * f64::from(case.scales[j])
                    }
                    Kind::F16 => {
                        case.halves[at] = f16::from_f64(float);
                        case.halves[at].to_f64()
                    }
                    Kind::F32 => {
                        case.singles[at] = float as f32;
                        float
                    }
                };
            }
        }
        for (r, x) in case.x.chunks_exact(k_pad).enumerate() {
            for (j, w) in w.chunks_exact(k).enumerate() {
                let terms = x.iter().zip(w).map(|(&x, &w)| f64::from(x) * w);
                let (product, size) = terms.fold((0.0, 0.0), |(sum, size), t| (sum + t, size + t.abs()));
                case.product[r * n + j] = product;
                case.size[r * n + j] = size;
            }
        }
        case
    }

    fn weights(&self) -> Weights<'_> {
        let (n, k) = (self.n, self.k);
        match self.kind {
            Kind::W8 | Kind::W7 => {
                Weights::I8(WeightsI8::new(n, k, &self.codes, &self.scales, &self.sums).expect("fits"))
            }
            Kind::F16 => Weights::F16(WeightsFloat::new(n, k, &self.halves).expect("fits")),
            Kind::F32 => Weights::F32(WeightsFloat::new(n, k, &self.singles).expect("fits")),
        }
    }

    /// The result, computed by `parts` threads' shares, over an output that starts as `before`.
    fn run(&self, kernels: &Kernels, epilogue: Epilogue, before: &[f32], parts: usize) -> Vec<f32> {
        self.run_blocks(kernels, epilogue, before, parts, self.n)
    }

    /// `before` and the result lie in blocks of `block` columns.
    fn run_blocks(
        &self,
        kernels: &Kernels,
        epilogue: Epilogue,
        before: &[f32],
        parts: usize,
        block: usize,
    ) -> Vec<f32> {
        let weights = self.weights();
        let mut bytes: Vec<u32> = vec![0x7fff_7fff; LhsFormat::max_bytes(self.rows, self.k) / 4];
        let mut scales = vec![RowScale::default(); self.rows];
        let format = kernels.lhs_format(&weights);
        let bytes = bytemuck::cast_slice_mut(&mut bytes);
        let mut rows = LhsMut::new(format, self.rows, self.k, bytes, &mut scales);
        let width = padded_k(self.k);
        kernels.pack_lhs(&mut rows, &Mat::new(&self.x, self.rows, width, width));
        let gemm = Gemm {
            lhs: rows.as_lhs(),
            weights,
            bias: &self.bias,
            epilogue,
            remainders: Remainders::default(),
        };
        let mut out = before.to_vec();
        let mut scratch = GemmScratch::zeroed();
        let mut rest = MatMut::blocks(&mut out, self.rows, self.n, block);
        for part in 0..parts {
            // As many parts as panels: one each, also where a block holds two.
            let panels = if parts == panels(self.n) {
                part..part + 1
            } else {
                let end = |part: usize| groups(self.n) * part / parts;
                group_panels(self.n, end(part)..end(part + 1))
            };
            let cols = (panels.end * NR).min(self.n) - (panels.start * NR).min(self.n);
            let (mut part, right) = rest.split_at_col(cols);
            kernels.gemm(&gemm, panels, &mut part, &mut scratch);
            rest = right;
        }
        out
    }

    /// How far element `at` may lie from the exact value, before the epilogue.
    fn budget(&self, kernels: &Kernels, at: usize) -> f64 {
        let size = self.size[at] + f64::from(self.bias[at % self.n].abs());
        match self.kind {
            Kind::W8 | Kind::W7 => DEQUANT * (self.product[at].abs() + size - self.size[at]),
            Kind::F16 if kernels.table.gemm_f16.is_some() => HALF_SUMS * size + self.k as f64 * STEP_F16,
            // Each of k additions rounds a partial sum once.
            Kind::F16 | Kind::F32 => (self.k + 2) as f64 * UNIT * size,
        }
    }

    fn check(&self, kernels: &Kernels, epilogue: Epilogue, rng: &mut Rng, failures: &mut Failures) {
        let before = rng.floats(self.rows * self.n, 2.0);
        let out = self.run(kernels, epilogue, &before, 1);
        let mut worst: Option<(f64, String)> = None;
        for (at, &got) in out.iter().enumerate() {
            let y = self.product[at] + f64::from(self.bias[at % self.n]);
            let budget = self.budget(kernels, at);
            let (right, budget) = match epilogue {
                Epilogue::Store => (y, budget),
                Epilogue::Add => {
                    let sum = y + f64::from(before[at]);
                    (sum, budget + 2.0 * UNIT * sum.abs())
                }
                // No activation function here is steeper than 1.2.
                Epilogue::Activate(act) => (activate(act, y), 1.2 * budget + ACTIVATE * y.abs().max(1.0)),
            };
            let zero_point = (f64::from(got) - right).abs() / budget;
            // `total_cmp` ranks NaN above everything.
            let most = worst.as_ref().map_or(1.0, |(most, _)| *most);
            if zero_point.total_cmp(&most).is_gt() {
                let (row, col) = (at / self.n, at % self.n);
                worst = Some((
                    zero_point,
                    format!("({row}, {col}): {got}, not {right}, {zero_point:.1} budgets off"),
                ));
            }
        }
        failures.check(worst.is_none(), || {
            let (rows, n, k) = (self.rows, self.n, self.k);
            let name = kernels.gemm_name(&self.weights());
            format!("{name} ({}) {rows}x{n}x{k} {epilogue:?} {}", kernels.isa(), worst.expect("failed").1)
        });
    }
}

fn activate(act: Activation, x: f64) -> f64 {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    match act {
        Activation::QuickGelu => x * sigmoid(1.702 * x),
        Activation::Gelu => 0.5 * x * libm::erfc(-x / 2f64.sqrt()),
        Activation::GeluTanh => {
            let inner = (2.0 / core::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            0.5 * x * (1.0 + inner.tanh())
        }
        Activation::Silu => x * sigmoid(x),
        Activation::Relu => x.max(0.0),
    }
}

#[test]
#[cfg_attr(miri, ignore = "too many products")]
fn gemm_matches_the_naive_product() {
    let mut failures = Failures::default();
    let mut rng = Rng::new(4);
    let isas = each_isa();
    let mut cases = 0;
    for (i, rows) in [1, 5, 6, 7, 12, 13, 50, 197, 198].into_iter().enumerate() {
        for (j, n) in [1, 15, 16, 17, 40, 64].into_iter().enumerate() {
            for (l, k) in [1, 3, 16, 17, 48, 192, 588].into_iter().enumerate() {
                // A third of all combinations, in which every pair of sizes meets.
                if (i + j + l) % 3 != 0 {
                    continue;
                }
                cases += 1;
                for kind in [Kind::W8, Kind::W7, Kind::F16, Kind::F32] {
                    let case = Case::new(&mut rng, kind, rows, n, k);
                    // Few rows go through every epilogue, many through one in turn.
                    let epilogues =
                        if rows <= 7 { &EPILOGUES[..] } else { &EPILOGUES[cases % EPILOGUES.len()..][..1] };
                    for kernels in &isas {
                        for &epilogue in epilogues {
                            case.check(kernels, epilogue, &mut rng, &mut failures);
                        }
                    }
                }
            }
        }
    }
    failures.report();
}

#[test]
fn shares_of_a_gemm_make_the_whole_to_the_bit() {
    let mut failures = Failures::default();
    let mut rng = Rng::new(5);
    let sizes = [(1, 17, 16), (13, 40, 48), (7, 100, 300)];
    for &(rows, n, k) in if cfg!(miri) { &sizes[..1] } else { &sizes } {
        for kind in [Kind::W8, Kind::W7, Kind::F16, Kind::F32] {
            let case = Case::new(&mut rng, kind, rows, n, k);
            let before = rng.floats(rows * n, 2.0);
            for kernels in each_isa() {
                let whole = case.run(&kernels, Epilogue::Add, &before, 1);
                for parts in [2, 3, 4] {
                    let split = case.run(&kernels, Epilogue::Add, &before, parts);
                    failures.check(
                        bytemuck::cast_slice::<_, u8>(&whole) == bytemuck::cast_slice::<_, u8>(&split),
                        || format!("{} {rows}x{n}x{k} in {parts} parts", kernels.gemm_name(&case.weights())),
                    );
                }
            }
        }
    }
    failures.report();
}

/// Also where a micro-kernel computes more columns at once than a block has.
#[test]
fn an_output_in_blocks_holds_the_same_bits() {
    let mut failures = Failures::default();
    let mut rng = Rng::new(6);
    let (rows, n, k) = if cfg!(miri) { (7, 32, 16) } else { (13, 96, 48) };
    for kind in [Kind::W8, Kind::W7, Kind::F16, Kind::F32] {
        let case = Case::new(&mut rng, kind, rows, n, k);
        for kernels in each_isa() {
            for epilogue in [Epilogue::Store, Epilogue::Activate(Activation::QuickGelu)] {
                let before = vec![0.0; rows * n];
                let plain = case.run(&kernels, epilogue, &before, 1);
                let block = kernels.block_cols();
                for parts in [1, 2, panels(n)] {
                    let blocks = case.run_blocks(&kernels, epilogue, &before, parts, block);
                    let (blocks, plain) = (Mat::new(&blocks, rows, n, block), Mat::new(&plain, rows, n, n));
                    let same = (0..rows).all(|row| {
                        let bits = |mat: &Mat<'_>| {
                            mat.pieces(row, 0..n).flatten().map(|y| y.to_bits()).collect::<Vec<_>>()
                        };
                        bits(&blocks) == bits(&plain)
                    });
                    failures.check(same, || {
                        format!("{} {epilogue:?} in {parts} parts", kernels.gemm_name(&case.weights()))
                    });
                }
            }
        }
    }
    failures.report();
}
