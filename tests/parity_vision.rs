//! The image towers of every family but SigLIP at a fixed size, stage by stage, against the float64 reference of the library
//! that wrote each fixture: every precision, every instruction set of this machine, every resolution for which there
//! are references. The limits are those of `common/limits.rs`.

use ocelli::nn::Stage;
use ocelli::preprocess::decode::{self, decode_file};
use ocelli::score::Scored;
use ocelli::vision::Layer;
use ocelli::{ImageEncoder, Input, Model, Watch};
use ocelli_kernels::Isa;
use ocelli_tests::{
    Expected, Limits, Tower, batch_encoder, cosine, image_encoder, isas, limits, packed, relative,
    text_encoder,
};
use ocelli_tools::Precision;
use std::sync::Arc;

/// A fixture and the other resolutions, (height, width), for which it has references.
const FIXTURES: [(&str, &[(u32, u32)]); 9] = [
    ("retinavit", &[]),
    ("clip-hf", &[(96, 96), (48, 96)]),
    ("vit-hf", &[(48, 80)]),
    ("mae-hf", &[]),
    ("timm-vit", &[(48, 80)]),
    ("simplevit", &[]),
    ("dinov2-hf", &[(112, 84)]),
    ("dinov3-hf", &[(64, 96)]),
    ("timm-eva02", &[(84, 84)]),
];

#[test]
fn every_stage_agrees_with_the_library() {
    let directory = tempfile::tempdir().unwrap();
    let mut failures = Vec::new();
    for (fixture, sizes) in FIXTURES {
        for precision in ocelli_tests::PRECISIONS {
            let model = Model::open(packed(directory.path(), fixture, precision)).unwrap();
            for isa in isas() {
                let own = (Expected::of(fixture), None);
                let others = sizes.iter().map(|&(h, w)| (Expected::at(fixture, h, w), Some((h, w))));
                for (expected, image_size) in std::iter::once(own).chain(others) {
                    let limits = limits(fixture, Tower::Image, precision, isa);
                    check(&model, isa, &expected, image_size, &limits, &mut |what| {
                        failures.push(format!("{fixture} {image_size:?} {precision:?} {isa}: {what}"));
                    });
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

fn check(
    model: &Arc<Model>,
    isa: Isa,
    expected: &Expected,
    image_size: Option<(u32, u32)>,
    limits: &Limits,
    fail: &mut dyn FnMut(String),
) {
    let mut encoder = batch_encoder(model, isa, 2, 3, image_size);
    let (pixels, dim) = (expected.f32("pixel_values"), encoder.embed_dim());
    let mut embeddings = vec![0.0; expected.shape("pixel_values")[0] * dim];
    let mut compared = 0;
    let mut compare = |name: &str, values: &[f32], fail: &mut dyn FnMut(String)| {
        let Some(reference) = expected.find(name) else { return };
        compared += 1;
        let error = relative(values, &reference);
        if error.is_nan() || error > limits.stage {
            fail(format!("{name} is off by {error:.2e}"));
        }
    };
    let mut look = |stage, values: &[f32]| match stage {
        Stage::Embeddings => compare("vision.embeddings", values, fail),
        Stage::Block(i) => compare(&format!("vision.block.{i}"), values, fail),
        // transformers' CLIP norms the class token alone.
        Stage::FinalNorm if expected.find("vision.pre_norm").is_some() => {}
        Stage::FinalNorm => compare("vision.final_norm", values, fail),
        Stage::Pooled => compare("vision.pooled", values, fail),
        Stage::PreNorm => compare("vision.pre_norm", values, fail),
        Stage::Projected => compare("image_embeds_raw", values, fail),
    };
    let (input, watch) = (Input::Planar(&pixels), Watch::stages(&mut look));
    encoder.encode_watched(input, Layer::Projected, &mut embeddings, watch).unwrap();
    let depth = model.file().config().vision.tower.depth as usize;
    assert!(compared >= depth + 2, "only {compared} stages had a reference");

    // The same without an observer, where the last block may leave tokens out.
    let mut alone = vec![0.0; embeddings.len()];
    encoder.encode(input, Layer::Projected, &mut alone).unwrap();
    let reference = expected.find("image_embeds_raw").unwrap_or_else(|| expected.f32("vision.pooled"));
    for (i, found) in alone.chunks(dim).enumerate() {
        let cosine = cosine(found, &reference[i * dim..][..dim]);
        if cosine.is_nan() || cosine < limits.cosine {
            fail(format!("image {i}: cosine {cosine:.6}"));
        }
    }
    if let Some(logits) = expected.find("logits") {
        check_classes(&mut encoder, &alone, &logits, &expected.f32("probs"), limits, fail);
    }
}

/// SigLIP 2 NaFlex: every image has its own grid of patches. Rows past it in the references are padding.
#[test]
fn images_of_any_aspect_ratio_agree_with_the_library() {
    let fixture = "siglip2-naflex";
    let directory = tempfile::tempdir().unwrap();
    let expected = Expected::of(fixture);
    let (pixels, shapes) = (expected.f32("pixel_values"), expected.i64("spatial_shapes"));
    let &[images, most, values] = expected.shape("pixel_values").as_slice() else {
        panic!("a shape of three")
    };
    let mut failures = Vec::new();
    for precision in ocelli_tests::PRECISIONS {
        let model = Model::open(packed(directory.path(), fixture, precision)).unwrap();
        for isa in isas() {
            let limits = limits(fixture, Tower::Image, precision, isa);
            let mut encoder = image_encoder(&model, isa, 2);
            let dim = encoder.embed_dim();
            let mut embeddings = vec![0.0; images * dim];
            for (i, out) in embeddings.chunks_mut(dim).enumerate() {
                let grid = (shapes[2 * i] as usize, shapes[2 * i + 1] as usize);
                let patches = &pixels[i * most * values..][..grid.0 * grid.1 * values];
                let mut compare = |name: &str, found: &[f32]| {
                    let reference = expected.f32(name);
                    let reference = &reference[reference.len() / images * i..][..found.len()];
                    let error = relative(found, reference);
                    if error.is_nan() || error > limits.stage {
                        failures.push(format!("{precision:?} {isa} image {i}: {name} is off by {error:.2e}"));
                    }
                };
                let mut look = |stage, found: &[f32]| match stage {
                    Stage::Embeddings => compare("vision.embeddings", found),
                    Stage::PreNorm => panic!("SigLIP has no norm there"),
                    Stage::Block(i) => compare(&format!("vision.block.{i}"), found),
                    Stage::FinalNorm => compare("vision.final_norm", found),
                    Stage::Pooled => compare("vision.pooled", found),
                    Stage::Projected => compare("image_embeds_raw", found),
                };
                let (input, watch) = (Input::Patches(patches, grid), Watch::stages(&mut look));
                encoder.encode_watched(input, Layer::Projected, out, watch).unwrap();
            }
            let cosine = ocelli_tests::worst_cosine(&embeddings, &expected.f32("image_embeds_raw"), dim);
            if cosine.is_nan() || cosine < limits.cosine {
                failures.push(format!("{precision:?} {isa}: cosine {cosine:.6}"));
            }
            check_pairs(&model, isa, &embeddings, &expected, &limits, &mut failures);
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// Logits and probabilities of images and texts.
fn check_pairs(
    model: &Arc<Model>,
    isa: Isa,
    embeddings: &[f32],
    expected: &Expected,
    limits: &Limits,
    failures: &mut Vec<String>,
) {
    let Some(most) = limits.scores else { return };
    let mut encoder = text_encoder(model, isa, 2);
    let (dim, score) = (encoder.embed_dim(), &model.file().config().score);
    let (logits, probabilities) = (expected.f32("logits_per_image"), expected.f32("probs"));
    let texts = expected.texts(true);
    let mut text = vec![0.0; dim];
    for (j, ids) in texts.iter().enumerate() {
        encoder.encode_ids(ids, &mut text, Watch::default()).unwrap();
        for (i, embedding) in embeddings.chunks(dim).enumerate() {
            let logit = score.logit_scale * cosine(embedding, &text) as f32 + score.logit_bias;
            let at = i * texts.len() + j;
            let off = (logit - logits[at]).abs();
            let off = (off, (1.0 / (1.0 + (-logit).exp()) - probabilities[at]).abs());
            if off.0.is_nan() || off.0 > most.0 || off.1.is_nan() || off.1 > most.1 {
                failures.push(format!("image {i}, text {j}: logit and probability are off by {off:?}"));
            }
        }
    }
}

/// From a PNG to what the model reads, against the library's own processor: a level off at most, here and there.
#[test]
fn frames_are_those_of_the_library() {
    let directory = tempfile::tempdir().unwrap();
    for fixture in ocelli_tests::PAIRS.into_iter().chain(["siglip2-naflex"]).chain(ocelli_tests::VISION) {
        let model = Model::open(packed(directory.path(), fixture, Precision::Fp32)).unwrap();
        let mut encoder = image_encoder(&model, Isa::detect(), 2);
        let config = model.file().config();
        let expected = Expected::of(fixture);
        let pixels = expected.f32("pixel_values");
        let table = ocelli::preprocess::normalization_table(&config.preprocess);
        let naflex = config.vision.max_patches > 0;
        let images = ["portrait", "landscape", "gray"];
        let count = expected.shape("pixel_values")[0];
        let (mut wrong, mut all) = (0, 0);
        for (i, name) in images.iter().take(count).enumerate() {
            let image = decode_file(
                ocelli_tests::fixtures().join(format!("images/{name}.png")),
                &decode::Options::default(),
            )
            .unwrap();
            encoder.preprocess(&[image.view()]).unwrap();
            let (frame, grid) = (encoder.frame(0).unwrap().to_vec(), encoder.grid());
            let patch = config.vision.patch as usize;
            let width = if naflex { grid.1 * patch } else { encoder.image_size().1 as usize };
            let height = frame.len() / 3 / width;
            if naflex {
                let shapes = expected.i64("spatial_shapes");
                assert_eq!(grid, (shapes[2 * i] as usize, shapes[2 * i + 1] as usize), "{name}");
            }
            let reference = |channel: usize, y: usize, x: usize| {
                let image = pixels.len() / count * i;
                pixels[image
                    + if naflex {
                        let index = y / patch * grid.1 + x / patch;
                        (index * patch * patch + y % patch * patch + x % patch) * 3 + channel
                    } else {
                        (channel * height + y) * width + x
                    }]
            };
            for (at, pixel) in frame.chunks_exact(3).enumerate() {
                for channel in 0..3 {
                    let level = usize::from(pixel[channel]);
                    let (found, value) = (table[channel][level], reference(channel, at / width, at % width));
                    let step = table[channel][1] - table[channel][0];
                    let off = ((found - value) / step).abs();
                    assert!(off < 1.01, "{fixture} {name} {at} {channel}: {off} levels off");
                    wrong += usize::from(off > 0.51);
                    all += 1;
                }
            }
        }
        // DINOv3's processor resizes floats and rounds nowhere; the frame holds levels, rounded after each pass.
        let most = if fixture == "dinov3-hf" { all / 10 } else { all / 100 };
        assert!(wrong <= most, "{fixture}: {wrong} of {all} values are a level off");
    }
}

/// Logits and probabilities of every image over the model's own classes.
fn check_classes(
    encoder: &mut ImageEncoder,
    embeddings: &[f32],
    logits: &[f32],
    probabilities: &[f32],
    limits: &Limits,
    fail: &mut dyn FnMut(String),
) {
    let (dim, classes) = (encoder.embed_dim(), encoder.classes());
    let mut found = vec![0.0; classes];
    let mut scored = vec![Scored::default(); classes];
    for (image, embedding) in embeddings.chunks(dim).enumerate() {
        let (logits, probabilities) =
            (&logits[image * classes..][..classes], &probabilities[image * classes..][..classes]);
        encoder.logits_into(embedding, &mut found).unwrap();
        ocelli::score::score_logits(&found, &mut scored);
        let mut order: Vec<usize> = (0..classes).collect();
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        if scored[0].label != order[0] && logits[order[0]] - logits[order[1]] > limits.margin {
            fail(format!("image {image}: best class is {} instead of {}", scored[0].label, order[0]));
        }
        let Some(most) = limits.scores else { continue };
        for s in &scored {
            let off = ((s.similarity - logits[s.label]).abs(), (s.score - probabilities[s.label]).abs());
            if off.0.is_nan() || off.0 > most.0 || off.1.is_nan() || off.1 > most.1 {
                fail(format!("image {image}, class {}: logit and probability are off by {off:?}", s.label));
            }
        }
    }
}
