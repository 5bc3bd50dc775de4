//! What calibration sees: the left operand of every GEMM of an f32 model, and no floats before int8 weights.

use ocelli::preprocess::{Packed, PixelView};
use ocelli::vision::Layer;
use ocelli::{Input, Isa, Model, Watch};
use ocelli_kernels::{Lhs, Remainders, Weights};
use ocelli_tests::{Expected, batch_encoder, image_encoder, packed, text_encoder};
use ocelli_tools::Precision;
use std::cell::RefCell;

/// (n, k, rows, the first row if it is f32) of every GEMM that was shown, and the embeddings with and without a tap.
type Shown = Vec<(usize, usize, usize, Option<Vec<f32>>)>;

fn shown(precision: Precision) -> (Shown, Vec<f32>, Vec<f32>) {
    let directory = tempfile::tempdir().unwrap();
    let model = Model::open(packed(directory.path(), "clip-hf", precision)).unwrap();
    let mut images = batch_encoder(&model, Isa::detect(), 2, 2, None);
    let frame_len = images.frame(0).unwrap().len();
    for image in 0..2 {
        let pixels: Vec<u8> = (0..frame_len).map(|i| (i * (7 + image) % 251) as u8).collect();
        images.set_pixels(image, images.grid(), &pixels).unwrap();
    }
    let seen = RefCell::new(Shown::new());
    let tap = |weights: &Weights<'_>, rows: &Lhs<'_>, _: Remainders| {
        let first = rows.row_f32(0).map(<[f32]>::to_vec);
        seen.borrow_mut().push((weights.n(), weights.k(), rows.rows(), first));
    };
    let (mut with, mut without) = (vec![0.0; 2 * 32], vec![0.0; 2 * 32]);
    let (input, layer) = (Input::Frames(2), Layer::Projected);
    images.encode_watched(input, layer, &mut with, Watch::operands(&tap)).unwrap();
    images.encode(input, layer, &mut without).unwrap();
    let ids = &Expected::of("clip-hf").texts(false)[0];
    let mut texts = text_encoder(&model, Isa::detect(), 2);
    texts.encode_ids(ids, &mut [0.0; 32], Watch::operands(&tap)).unwrap();
    (seen.into_inner(), with, without)
}

#[test]
fn an_f32_model_shows_every_gemm_and_computes_the_same() {
    let (seen, with, without) = shown(Precision::Fp32);
    assert_eq!(with, without);
    // Patch embedding, four of each of three blocks, projection; then the text tower's two blocks and projection.
    assert_eq!(seen.len(), 1 + 3 * 4 + 1 + 2 * 4 + 1);
    let shapes: Vec<_> = seen.iter().map(|(n, k, rows, _)| (*n, *k, *rows)).collect();
    assert_eq!(shapes[..3], [(64, 768, 2 * 16), (192, 64, 2 * 17), (64, 64, 2 * 17)]);
    // The last block's attention is read by the class token alone.
    assert_eq!(shapes[9..14], [(192, 64, 2 * 17), (64, 64, 2), (256, 64, 2), (64, 256, 2), (32, 64, 2)]);
    assert!(seen.iter().all(|(.., row)| row.as_ref().unwrap().iter().any(|value| *value != 0.0)));
}

#[test]
fn int8_weights_show_no_floats() {
    let (seen, with, without) = shown(Precision::Int8);
    assert_eq!(with, without);
    // Patch embedding and projections are f16, which CPUs without f16 arithmetic multiply as f32.
    let floats = seen.iter().filter(|(.., row)| row.is_some());
    let mut shapes = floats.map(|(n, k, ..)| (*n, *k));
    assert!(shapes.all(|shape| [(64, 768), (32, 64), (32, 16)].contains(&shape)));
}

/// A frame kept from one picture gives the same embedding when it is shown again, also where grids differ.
#[test]
fn a_kept_frame_gives_the_pictures_embedding() {
    let directory = tempfile::tempdir().unwrap();
    for fixture in ["clip-hf", "siglip2-naflex"] {
        let model = Model::open(packed(directory.path(), fixture, Precision::Fp32)).unwrap();
        let mut encoder = image_encoder(&model, Isa::detect(), 2);
        let mut kept = Vec::new();
        for (width, height) in [(90, 40), (40, 90)] {
            let pixels: Vec<u8> = (0..3 * width * height).map(|i| (i * 7 % 251) as u8).collect();
            let view = PixelView::new(Packed::Rgb, &pixels, width, height, 3 * width as usize).unwrap();
            let mut embedding = vec![0.0; encoder.embed_dim()];
            encoder.preprocess(&[view]).unwrap();
            encoder.encode(Input::Frames(1), Layer::Projected, &mut embedding).unwrap();
            kept.push((encoder.grid(), encoder.frame(0).unwrap().to_vec(), embedding));
        }
        assert_eq!(kept[0].0 == kept[1].0, fixture == "clip-hf");
        for (grid, frame, expected) in &kept {
            let mut embedding = vec![0.0; encoder.embed_dim()];
            encoder.set_pixels(0, *grid, frame).unwrap();
            encoder.encode(Input::Frames(1), Layer::Projected, &mut embedding).unwrap();
            assert_eq!(&embedding, expected, "{fixture}");
        }
        let (grid, frame, _) = &kept[0];
        for (grid, frame) in [(*grid, &frame[1..]), ((0, 1), &[]), ((1 << 40, 1 << 40), frame.as_slice())] {
            assert!(encoder.set_pixels(0, grid, frame).is_err(), "{fixture}: {grid:?}");
        }
    }
}
