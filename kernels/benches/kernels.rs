//! Kernels of one ViT-B/16 block on one thread, for every tier of this CPU, against the peak measured in the same run.
//!
//! `cargo bench -p ocelli-kernels [-- FILTER]`

use criterion::{BenchmarkId, Criterion, Throughput};
use half::f16;
use ocelli_kernels::gemm::macs;
use ocelli_kernels::pack::MR;
use ocelli_kernels::pack::{W7_MAX, W8_MAX, packed_len, padded_k, padded_n, panels};
use ocelli_kernels::{
    Attention, Epilogue, Gemm, GemmScratch, Isa, Kernels, LhsMut, Mat, MatMut, Operands, Remainders,
    RowScale, Tokens, Weights, WeightsFloat, WeightsI8,
};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Tokens of ViT-B/16 at 224 × 224.
const TOKENS: usize = 197;
const WIDTH: usize = 768;
/// (k, n) of the four linear layers: QKV, projection, MLP up, MLP down.
const SHAPES: [(usize, usize); 4] = [(768, 2304), (768, 768), (768, 3072), (3072, 768)];

/// Random numbers that repeat: a linear congruential generator.
struct Values(u32);

impl Values {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.0 >> 8
    }

    fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.next() as f32 / (1 << 23) as f32 - 1.0).collect()
    }

    /// Bell-shaped as weights are, bounded by 1, which is 3.3 standard deviations: the time of AVX2's int8 kernel
    /// depends on how many weights are large.
    fn weights(&mut self, n: usize) -> Vec<f32> {
        // The sum of eight, each of variance 1/3.
        let scale = 1.0 / (3.3 * (8.0f32 / 3.0).sqrt());
        self.floats(8 * n).chunks(8).map(|x| (x.iter().sum::<f32>() * scale).clamp(-1.0, 1.0)).collect()
    }
}

/// The packed weights of one layer, in each type.
struct Layer {
    n: usize,
    k: usize,
    w7: Vec<i8>,
    w8: Vec<i8>,
    f16: Vec<f16>,
    f32: Vec<f32>,
    scales: Vec<f32>,
    sums: Vec<i32>,
}

impl Layer {
    fn new(k: usize, n: usize) -> Layer {
        let mut values = Values(1);
        let f32 = values.weights(packed_len(n, k));
        let codes = |max: i8| f32.iter().map(|x| (x * f32::from(max)).round() as i8).collect();
        Layer {
            n,
            k,
            w7: codes(W7_MAX),
            w8: codes(W8_MAX),
            f16: f32.iter().map(|&x| f16::from_f32(x)).collect(),
            scales: vec![1e-3; padded_n(n)],
            sums: vec![0; padded_n(n)],
            f32,
        }
    }

    fn weights(&self) -> [(&'static str, Weights<'_>); 4] {
        let Layer { n, k, .. } = *self;
        let i8 = |codes| WeightsI8::new(n, k, codes, &self.scales, &self.sums).expect("packed");
        [
            ("i8w7", Weights::I8(i8(&self.w7))),
            ("i8w8", Weights::I8(i8(&self.w8))),
            ("f16", Weights::F16(WeightsFloat::new(n, k, &self.f16).expect("packed"))),
            ("f32", Weights::F32(WeightsFloat::new(n, k, &self.f32).expect("packed"))),
        ]
    }
}

/// Peak MACs per second: the best of many runs of less than a millisecond, so that some fall between interruptions.
fn peak(run: impl Fn(u64) -> u64) -> f64 {
    const ITERATIONS: u64 = 100_000;
    let rate = || {
        let start = Instant::now();
        let done = run(black_box(ITERATIONS));
        done as f64 / start.elapsed().as_secs_f64()
    };
    (0..200).map(|_| rate()).fold(0.0, f64::max)
}

/// One tier with its peaks, and the measurements that are to be compared with them.
struct Tier {
    kernels: Kernels,
    peak_i8: f64,
    peak_f32: f64,
    report: Vec<String>,
}

impl Tier {
    fn new(isa: Isa) -> Tier {
        let kernels = Kernels::new(isa);
        Tier {
            kernels,
            peak_i8: peak(|iterations| kernels.peak_i8(iterations)),
            peak_f32: peak(|iterations| kernels.peak_f32(iterations)),
            report: Vec::new(),
        }
    }

    /// Benchmarks `run`, which does `macs` multiply-accumulates, and notes its best rate against `peak`.
    fn measure(
        &mut self,
        c: &mut Criterion,
        group: &str,
        shape: &str,
        macs: u64,
        peak: f64,
        mut run: impl FnMut(),
    ) {
        let mut best = f64::INFINITY;
        let mut group_of_isas = c.benchmark_group(format!("{group}/{shape}"));
        group_of_isas.throughput(Throughput::Elements(macs));
        group_of_isas.bench_function(BenchmarkId::from_parameter(self.kernels.isa()), |bencher| {
            bencher.iter_custom(|iterations| {
                let start = Instant::now();
                for _ in 0..iterations {
                    let start = Instant::now();
                    run();
                    best = best.min(start.elapsed().as_secs_f64());
                }
                start.elapsed()
            });
        });
        group_of_isas.finish();
        // Infinite where the filter left the benchmark out.
        if best.is_finite() {
            let rate = macs as f64 / best;
            let percent = 100.0 * rate / peak;
            self.report.push(format!(
                "{group:14} {shape:14} {:9.1} us {:8.2} GMAC/s {percent:5.1} % of peak",
                best * 1e6,
                rate / 1e9
            ));
        }
    }

    fn gemms(&mut self, c: &mut Criterion, layers: &[Layer]) {
        for layer in layers {
            for (name, weights) in layer.weights() {
                let order = self.order(c, name, &weights);
                match weights {
                    Weights::I8(codes) if !order.is_empty() => {
                        self.gemm(c, &format!("gemm/{name}"), Weights::I8(codes.with_order(&order)));
                        self.gemm(c, &format!("gemm/{name} first"), weights);
                    }
                    _ => self.gemm(c, &format!("gemm/{name}"), weights),
                }
            }
        }
    }

    /// The order of `weights`, empty where they have none. The MACs of finding it are those of a GEMM.
    fn order(&mut self, c: &mut Criterion, name: &str, weights: &Weights<'_>) -> Vec<u8> {
        let Weights::I8(codes) = weights else { return Vec::new() };
        let (kernels, n, k) = (self.kernels, weights.n(), weights.k());
        let mut order = vec![0; panels(n) * kernels.order_bytes(codes)];
        if !order.is_empty() {
            let shape = format!("{k}x{n}");
            self.measure(c, &format!("order/{name}"), &shape, macs(TOKENS, n, k), self.peak_i8, || {
                kernels.find_order(codes, 0..panels(n), black_box(&mut order));
            });
            kernels.find_order(codes, 0..panels(n), &mut order);
        }
        order
    }

    fn gemm(&mut self, c: &mut Criterion, name: &str, weights: Weights<'_>) {
        let (kernels, n, k) = (self.kernels, weights.n(), weights.k());
        let mut scratch: GemmScratch = bytemuck::Zeroable::zeroed();
        let mut out = vec![0f32; TOKENS * n];
        let x = Values(2).floats(TOKENS * padded_k(k));
        let x = Mat::new(&x, TOKENS, padded_k(k), padded_k(k));
        let format = kernels.lhs_format(&weights);
        let mut bytes = vec![0f32; format.bytes(TOKENS, k).div_ceil(4)];
        let mut scales = vec![RowScale::default(); TOKENS];
        let mut rows = LhsMut::new(format, TOKENS, k, bytemuck::cast_slice_mut(&mut bytes), &mut scales);
        kernels.pack_lhs(&mut rows, &x);
        let gemm = Gemm {
            lhs: rows.as_lhs(),
            weights,
            bias: &[],
            epilogue: Epilogue::Store,
            remainders: Remainders::default(),
        };
        let peak = if matches!(weights, Weights::I8(_)) { self.peak_i8 } else { self.peak_f32 };
        let shape = format!("{TOKENS}x{k}x{n}");
        // As the runtime has it: wide outputs in blocks, the residual stream row-major.
        let block = if n > k { kernels.block_cols() } else { n };
        self.measure(c, name, &shape, macs(TOKENS, n, k), peak, || {
            let mut out = MatMut::blocks(&mut out, TOKENS, n, block);
            kernels.gemm(&gemm, 0..panels(n), &mut out, &mut scratch);
        });
    }

    fn attention(&mut self, c: &mut Criterion) {
        let kernels = self.kernels;
        let shape = Attention {
            tokens: TOKENS,
            queries: TOKENS,
            heads: 12,
            head_dim: 64,
            causal: false,
            alibi: false,
            operands: Operands::I8,
        };
        let qkv = Values(3).floats(TOKENS * 3 * WIDTH);
        let qkv = Mat::new(&qkv, TOKENS, 3 * WIDTH, kernels.block_cols());
        let from = Tokens { qkv: &qkv, first: 0, key_bias: &[] };
        let mut out = vec![0f32; TOKENS * WIDTH];
        let mut scratch = vec![0f32; shape.scratch_len()];
        let items = 0..kernels.attention_items(&shape);
        self.measure(c, "attention", &format!("{TOKENS}x12x64"), shape.macs(), self.peak_f32, || {
            kernels.attention(&shape, &from, items.clone(), &mut out, &mut scratch);
        });
    }

    /// LayerNorm and quantization of every token. Counted as one MAC per element, so the rate is elements per second.
    fn norm(&mut self, c: &mut Criterion, layer: &Layer) {
        let kernels = self.kernels;
        let mut values = Values(4);
        let (x, gamma, beta) = (values.floats(TOKENS * WIDTH), values.floats(WIDTH), values.floats(WIDTH));
        let (_, weights) = layer.weights()[0];
        let format = kernels.lhs_format(&weights);
        let mut bytes = vec![0f32; format.bytes(TOKENS, WIDTH).div_ceil(4)];
        let mut scales = vec![RowScale::default(); TOKENS];
        let mut rows = LhsMut::new(format, TOKENS, WIDTH, bytemuck::cast_slice_mut(&mut bytes), &mut scales);
        let mut normed = [0f32; MR * WIDTH];
        let elements = (TOKENS * WIDTH) as u64;
        self.measure(c, "norm+quantize", &format!("{TOKENS}x{WIDTH}"), elements, self.peak_f32, || {
            for (tile, x) in x.chunks(MR * WIDTH).enumerate() {
                for (x, normed) in x.chunks_exact(WIDTH).zip(normed.chunks_exact_mut(WIDTH)) {
                    kernels.layer_norm(x, &gamma, &beta, 1e-5, normed);
                }
                kernels.pack_lhs_panel(&mut rows, tile * MR, &Mat::new(&normed, MR, WIDTH, WIDTH), 0);
            }
        });
    }
}

fn main() {
    let mut c = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .sample_size(10)
        .configure_from_args();
    let layers = SHAPES.map(|(k, n)| Layer::new(k, n));
    let full = Isa::detect();
    let mut isas = vec![full];
    isas.extend(Isa::select("avx2").ok().filter(|&isa| isa != full));
    let mut reports = Vec::new();
    for isa in isas {
        let mut tier = Tier::new(isa);
        tier.gemms(&mut c, &layers);
        tier.attention(&mut c);
        tier.norm(&mut c, &layers[0]);
        reports.push(tier);
    }
    c.final_summary();
    for Tier { kernels, peak_i8, peak_f32, report } in reports {
        let (i8, f32) = (kernels.peak_i8_name(), kernels.peak_f32_name());
        eprintln!(
            "\n{}: peak {:.1} GMAC/s ({i8}), {:.1} GMAC/s ({f32})",
            kernels.isa(),
            peak_i8 / 1e9,
            peak_f32 / 1e9
        );
        report.iter().for_each(|line| eprintln!("{line}"));
    }
}
