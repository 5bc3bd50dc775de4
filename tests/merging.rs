//! Token merging: against plain float64 (`oracles/merged_tokens.py`), and what it leaves as it was.

use ocelli::format::{Cost, Limits, Merging};
use ocelli::nn::Stage;
use ocelli::vision::Layer;
use ocelli::{Error, ImageEncoder, ImageOptions, Input, Model, Watch};
use ocelli_tests::{Expected, isas, packed, packed_with, relative, runtime, worst_cosine};
use ocelli_tools::{ConvertOptions, Precision, convert};
use safetensors::SafeTensors;
use std::path::Path;
use std::sync::Arc;

/// Fixtures, and the schedules that the oracle has for them: a class token behind a pre-norm, a class token, an attention
/// head, a mean.
const CASES: [(&str, Merging); 4] = [
    ("clip-hf", Merging { most: 5, first: 0, power: 1 }),
    ("dinov2-hf", Merging { most: 9, first: 0, power: 0 }),
    ("siglip-hf", Merging { most: 6, first: 0, power: 0 }),
    ("simplevit", Merging { most: 7, first: 0, power: 0 }),
];

fn open(directory: &Path, fixture: &str, precision: Precision) -> Arc<Model> {
    let path = if fixture == "clip-hf" || fixture == "siglip-hf" {
        packed(directory, fixture, precision)
    } else {
        packed_with(directory, fixture, "clip-hf", precision)
    };
    Model::open(path).unwrap()
}

fn encoder(model: &Arc<Model>, threads: usize, merging: Option<Merging>) -> ImageEncoder {
    let options = ImageOptions::default().batch(3).merging(merging);
    ImageEncoder::new(model, &runtime(ocelli_tests::isas()[0], threads), &options).unwrap()
}

#[test]
fn every_stage_is_the_oracles() {
    let bytes = std::fs::read(ocelli_tests::fixtures().join("merged/expected.safetensors")).unwrap();
    let oracle = SafeTensors::deserialize(&bytes).unwrap();
    let directory = tempfile::tempdir().unwrap();
    for (fixture, merging) in CASES {
        let pixels = Expected::of(fixture).f32("pixel_values");
        for (precision, limit) in [(Precision::Fp32, 1e-5), (Precision::Int8, 6e-2)] {
            let model = open(directory.path(), fixture, precision);
            for isa in isas() {
                let options = ImageOptions::default().batch(3).merging(Some(merging));
                let mut encoder = ImageEncoder::new(&model, &runtime(isa, 2), &options).unwrap();
                let mut out = vec![0.0; 3 * encoder.embed_dim()];
                let (mut blocks, mut worst) = (0, (0f32, String::new()));
                let mut look = |stage, values: &[f32]| {
                    let name = match stage {
                        Stage::Block(i) => format!("{fixture}.vision.block.{i}"),
                        Stage::FinalNorm => format!("{fixture}.vision.final_norm"),
                        Stage::Pooled => format!("{fixture}.vision.pooled"),
                        _ => return,
                    };
                    blocks += usize::from(matches!(stage, Stage::Block(_)));
                    let right = oracle.tensor(&name);
                    let Ok(right) = right else { return };
                    let right: Vec<f32> =
                        right.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
                    let error = relative(values, &right);
                    if error.is_nan() || error > worst.0 {
                        worst = (error, name);
                    }
                };
                let watch = Watch::stages(&mut look);
                encoder.encode_watched(Input::Planar(&pixels), Layer::Projected, &mut out, watch).unwrap();
                assert_eq!(blocks, model.config().vision.tower.depth as usize);
                assert!(worst.0 <= limit, "{precision:?} on {isa}: {} is off by {:.1e}", worst.1, worst.0);
            }
        }
    }
}

#[test]
fn batches_threads_and_unwatched_passes_give_the_same_bits() {
    let directory = tempfile::tempdir().unwrap();
    for (fixture, merging) in CASES {
        let model = open(directory.path(), fixture, Precision::Int8);
        let pixels = Expected::of(fixture).f32("pixel_values");
        let run = |threads, images: usize, merging| {
            let mut encoder = encoder(&model, threads, merging);
            let of_image = pixels.len() / 3;
            let mut all = Vec::new();
            for pixels in pixels.chunks_exact(images * of_image) {
                let mut out = vec![0.0; images * encoder.embed_dim()];
                encoder.encode(Input::Planar(pixels), Layer::Projected, &mut out).unwrap();
                all.extend(out.iter().map(|value| value.to_bits()));
            }
            all
        };
        let batch = run(1, 3, Some(merging));
        assert_eq!(run(1, 1, Some(merging)), batch, "{fixture}: one by one");
        assert_eq!(run(3, 3, Some(merging)), batch, "{fixture}: three threads");
        let whole = run(1, 3, None);
        assert_ne!(whole, batch, "{fixture}: merging does something");
        assert_eq!(run(1, 3, Some(Merging::NONE)), whole);
        // Patches are never merged.
        let patches = |merging| {
            let mut encoder = encoder(&model, 1, merging);
            let (rows, columns) = encoder.grid();
            let width = model.config().vision.tower.width as usize;
            let mut out = vec![0.0; 3 * rows * columns * width];
            encoder.encode(Input::Planar(&pixels), Layer::Patch, &mut out).unwrap();
            out.iter().map(|value| value.to_bits()).collect::<Vec<_>>()
        };
        assert_eq!(patches(Some(merging)), patches(None), "{fixture}: patches");
    }
}

#[test]
fn what_merging_takes_counts_among_the_limits() {
    let directory = tempfile::tempdir().unwrap();
    let model = open(directory.path(), "siglip-hf", Precision::Fp32);
    let size = Some((512, 512));
    let cost = Cost::of_images(model.config(), size, 1, 1).unwrap();
    let limits = Limits { arena_bytes: cost.arena_bytes, macs: cost.macs, ..Limits::default() };
    let merging = |merging| {
        let options = ImageOptions::default().image_size(size).limits(limits).merging(merging);
        ImageEncoder::new(&model, &runtime(isas()[0], 1), &options)
    };
    merging(None).unwrap();
    let error = merging(Some(Merging { most: 1, first: 0, power: 0 })).unwrap_err();
    assert!(matches!(error, Error::TooCostly { .. }), "{error}");
}

#[test]
fn a_file_says_how_its_tokens_are_merged() {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("merged.ocelli");
    let (fixture, merging) = CASES[1];
    let mut options = ConvertOptions::new(ocelli_tests::fixtures().join(fixture), &output, Precision::Fp32);
    options.merging = merging;
    convert(&options).unwrap();
    let (stored, plain) = (Model::open(&output).unwrap(), open(directory.path(), fixture, Precision::Fp32));
    assert_eq!(Merging::of(&stored.config().vision.tower), merging);
    let pixels = Expected::of(fixture).f32("pixel_values");
    let run = |model: &Arc<Model>, merging| {
        let mut encoder = encoder(model, 1, merging);
        let mut out = vec![0.0; 3 * encoder.embed_dim()];
        encoder.encode(Input::Planar(&pixels), Layer::Projected, &mut out).unwrap();
        out
    };
    assert_eq!(run(&stored, None), run(&plain, Some(merging)));
    assert_eq!(run(&stored, Some(Merging::NONE)), run(&plain, None));
    let dim = plain.config().score.embed_dim as usize;
    assert!(worst_cosine(&run(&stored, None), &run(&plain, None), dim) > 0.9);
}

#[test]
fn what_cannot_be_merged_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("refused.ocelli");
    let one = Merging { most: 1, first: 0, power: 0 };
    for (fixture, merging, words) in [
        ("dinov3-hf", one, "rotary"),
        ("timm-eva02", one, "rotary"),
        ("retinavit", one, "no fixed grid"),
        ("dinov2-hf", Merging { most: 13, ..one }, "at most half of its 25 patches"),
        ("dinov2-hf", Merging { first: 1, ..one }, "last block that may merge is 0"),
    ] {
        let mut options =
            ConvertOptions::new(ocelli_tests::fixtures().join(fixture), &output, Precision::Fp32);
        options.merging = merging;
        let error = convert(&options).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("--merge-tokens"), "{fixture}: {error}");
        assert!(!output.exists());
    }
    let model = open(directory.path(), "dinov3-hf", Precision::Fp32);
    let options = ImageOptions::default().merging(Some(one));
    let error = ImageEncoder::new(&model, &runtime(isas()[0], 1), &options).unwrap_err();
    assert!(matches!(error, Error::ModelLacks { .. }) && error.to_string().contains("rotary"), "{error}");
}
