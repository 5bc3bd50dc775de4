//! The same bits however the work is divided: over threads, over batches, and with or without the tokens that nobody
//! reads in the last block. `OCELLI_DETERMINISM_FIXTURES=N`: the first N models only, for a machine that is emulated.

use ocelli::vision::Layer;
use ocelli::{Input, Model, Watch};
use ocelli_tests::{Expected, PRECISIONS, batch_encoder, isas, packed, text_encoder};

#[test]
fn threads_batches_and_the_short_last_block_change_no_bit() {
    let directory = tempfile::tempdir().unwrap();
    let fixtures = [
        "clip-hf",
        "vit-hf",
        "clip-hf-gelu-p14",
        "simplevit",
        "dinov3-hf",
        "timm-eva02",
        "open-clip-eva02",
        "open-clip-pe",
        "open-clip-mobileclip",
        "retinavit",
        "jina-clip-v1",
    ];
    let count = std::env::var("OCELLI_DETERMINISM_FIXTURES")
        .map_or(fixtures.len(), |count| count.parse().expect("a number"));
    for fixture in fixtures.into_iter().take(count) {
        let expected = Expected::of(fixture);
        let pixels = expected.f32("pixel_values");
        let images = expected.shape("pixel_values")[0];
        let texts = if fixture.contains("clip-") && !fixture.starts_with("open") {
            expected.texts(false)
        } else {
            Vec::new()
        };
        for precision in PRECISIONS {
            let model = Model::open(packed(directory.path(), fixture, precision)).unwrap();
            for isa in isas() {
                let embed = |threads: usize, batch: usize| {
                    let mut encoder = batch_encoder(&model, isa, threads, batch, None);
                    let dim = encoder.embed_dim();
                    let mut out = vec![0.0; images * dim];
                    let image_len = pixels.len() / images;
                    for (pixels, out) in pixels.chunks(batch * image_len).zip(out.chunks_mut(batch * dim)) {
                        encoder.encode(Input::Planar(pixels), Layer::Projected, out).unwrap();
                    }
                    let mut text = vec![0.0; dim];
                    if !texts.is_empty() {
                        let mut encoder = text_encoder(&model, isa, threads);
                        for ids in &texts {
                            encoder.encode_ids(ids, &mut text, Watch::default()).unwrap();
                            out.extend_from_slice(&text);
                        }
                        // Together: more of a length than go through the tower at once, in another order.
                        let count = if (threads, batch) == (4, 3) { 26 * texts.len() } else { texts.len() };
                        let many = texts.iter().rev().cycle().take(count);
                        let mut found = vec![0.0; count * dim];
                        encoder.encode_all_ids(&many.collect::<Vec<_>>(), &mut found).unwrap();
                        let right: Vec<&[f32]> = out[images * dim..].chunks_exact(dim).rev().collect();
                        for (found, right) in found.chunks_exact(dim).zip(right.iter().cycle()) {
                            assert_eq!(bits(found), bits(right), "{fixture} {precision:?} {isa} together");
                        }
                    }
                    let mut traced = vec![0.0; batch * dim];
                    let (input, mut look) = (Input::Planar(&pixels[..batch * image_len]), |_, _: &[f32]| ());
                    encoder
                        .encode_watched(input, Layer::Projected, &mut traced, Watch::stages(&mut look))
                        .unwrap();
                    assert_eq!(
                        bits(&traced),
                        bits(&out[..batch * dim]),
                        "{fixture} {precision:?} {isa} traced"
                    );
                    out
                };
                let one = embed(1, 1);
                assert!(one.iter().all(|value| value.is_finite()));
                for (threads, batch) in [(2, 1), (3, 1), (7, 1), (1, 3), (4, 3)] {
                    let other = embed(threads, batch);
                    assert_eq!(
                        bits(&one),
                        bits(&other),
                        "{fixture} {precision:?} {isa}: {threads} threads, {batch} images at once"
                    );
                }
            }
        }
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}
