//! What a frame costs, on one thread and two: preprocessing, the whole image tower and scoring of the demo model, and
//! opening it. With `OCELLI_BENCH_MODEL=FILE.ocelli` also that model's opening and tower.
//!
//! `cargo bench -p ocelli --bench encoder [-- FILTER]`

use criterion::{BenchmarkId, Criterion, Throughput};
use ocelli::preprocess::decode::{self, decode_file};
use ocelli::runtime::Peaks;
use ocelli::score::{Scored, normalize, score as score_labels};
use ocelli::vision::Layer;
use ocelli::{ImageEncoder, ImageOptions, Input, Model, Runtime, RuntimeOptions, knobs};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

const THREADS: [usize; 2] = [1, 2];

fn image_encoder(model: &Arc<Model>, threads: usize) -> ImageEncoder {
    let isa = knobs::isa().expect("OCELLI_ISA names instruction sets of this CPU");
    let runtime = Runtime::new(&RuntimeOptions::default().threads(threads).isa(isa)).expect("threads");
    ImageEncoder::new(model, &runtime, &ImageOptions::default()).expect("an image tower and enough memory")
}

/// The image tower, from a frame to an embedding; its best rate goes to `report`, next to the peak of this machine.
fn encoder(c: &mut Criterion, name: &str, model: &Arc<Model>, report: &mut Vec<String>) {
    let tower = &model.file().config().vision.tower;
    let mut group = c.benchmark_group(format!("encoder/{name}/{}x{}", tower.depth, tower.width));
    let weights = model.file().tensor("vision.block.0.qkv.weight").expect("every tower has it");
    for threads in THREADS {
        let mut encoder = image_encoder(model, threads);
        let mut embedding = vec![0.0; encoder.embed_dim()];
        let mut encode = |encoder: &mut ImageEncoder| {
            let out = black_box(&mut embedding);
            encoder.encode(Input::Frames(1), Layer::Projected, out).expect("planned for one frame");
        };
        encode(&mut encoder);
        let work = encoder.profile_mut().work();
        let mut best = f64::INFINITY;
        group.throughput(Throughput::Elements(work.macs()));
        group.bench_function(BenchmarkId::from_parameter(format!("{threads} threads")), |bencher| {
            bencher.iter_custom(|iterations| {
                let all = Instant::now();
                for _ in 0..iterations {
                    let start = Instant::now();
                    encode(&mut encoder);
                    best = best.min(start.elapsed().as_secs_f64());
                }
                all.elapsed()
            });
        });
        // Infinite where the filter left the benchmark out.
        if best.is_finite() {
            let peaks =
                Peaks::measure(encoder.runtime(), model.file().data()).expect("nobody else has the threads");
            report.push(format!(
                "encoder/{name}, {} weights, {threads} threads, {}: best {:.2} ms, {:.1} GMAC/s, {:.1} % of the peaks of \
                 {:.1} (int8) and {:.1} (f32)",
                weights.dtype().name(),
                encoder.runtime().kernels().isa(),
                best * 1e3,
                work.macs() as f64 / best / 1e9,
                100.0 * peaks.compute(&work) / best,
                peaks.macs_i8 / 1e9,
                peaks.macs_f32 / 1e9,
            ));
        }
    }
    group.finish();
}

/// A decoded photo to the model's frame.
fn preprocess(c: &mut Criterion, model: &Arc<Model>) {
    let photo = decode_file(
        concat!(env!("CARGO_MANIFEST_DIR"), "/examples/astronaut.jpg"),
        &decode::Options::default(),
    );
    let photo = photo.expect("the photo is part of the project");
    let view = photo.view();
    let vision = &model.file().config().vision;
    let shape = format!("{}x{} to {}x{}", view.height(), view.width(), vision.height, vision.width);
    let mut group = c.benchmark_group(format!("preprocess/{shape}"));
    for threads in THREADS {
        let mut encoder = image_encoder(model, threads);
        group.bench_function(BenchmarkId::from_parameter(format!("{threads} threads")), |bencher| {
            bencher.iter(|| encoder.preprocess(black_box(&[view])).expect("planned for one photo"));
        });
    }
    group.finish();
}

/// An embedding against the model's labels.
fn score(c: &mut Criterion, model: &Model) {
    let bank = model.file().bank().expect("the demo model carries labels");
    let mut embedding = bank.embeddings()[..bank.dim()].to_vec();
    normalize(&mut embedding);
    let mut scored = vec![Scored::default(); bank.len()];
    c.bench_function(&format!("score/{} labels x {}", bank.len(), embedding.len()), |bencher| {
        bencher.iter(|| {
            score_labels(&model.config().score, black_box(&embedding), &bank, &mut scored);
        });
    });
}

fn main() {
    let mut c = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .sample_size(10)
        .configure_from_args();
    let mut report = Vec::new();
    let open_demo = || {
        Model::open(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/cifar10/cifar10.ocelli"))
            .expect("the small model is valid")
    };
    c.bench_function("open/demo", |bencher| bencher.iter(open_demo));
    let demo = open_demo();
    preprocess(&mut c, &demo);
    encoder(&mut c, "demo", &demo, &mut report);
    score(&mut c, &demo);
    if let Some(path) = std::env::var_os("OCELLI_BENCH_MODEL") {
        let open = || Model::open(&path).unwrap_or_else(|error| panic!("OCELLI_BENCH_MODEL: {error}"));
        c.bench_function("open/OCELLI_BENCH_MODEL", |bencher| bencher.iter(open));
        encoder(&mut c, "OCELLI_BENCH_MODEL", &open(), &mut report);
    }
    c.final_summary();
    report.iter().for_each(|line| eprintln!("{line}"));
}
