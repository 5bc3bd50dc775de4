//! Encoders beside each other: on other threads, with frames made elsewhere, and called where they must refuse.

use ocelli::format::{LabelBank, Limits, bank};
use ocelli::preprocess::decode::{self, decode_file};
use ocelli::preprocess::{Packed, PixelView};
use ocelli::score::Scored;
use ocelli::vision::Layer;
use ocelli::{
    Classifier, ImageEncoder, ImageOptions, Input, Model, Preprocessor, Runtime, TextEncoder, Watch,
};
use ocelli_kernels::{Isa, Lhs, Remainders, Weights};
use ocelli_tests::{fixtures, packed};
use ocelli_tools::Precision;
use std::cell::RefCell;
use std::sync::mpsc;
use std::time::Duration;

/// Checked when this is compiled: what may go to another thread, and what threads may share.
const _: () = {
    const fn send<T: Send>() {}
    const fn shared<T: Send + Sync>() {}
    const fn cloned<T: Clone>() {}
    send::<ImageEncoder>();
    send::<TextEncoder>();
    send::<Classifier>();
    send::<Preprocessor>();
    shared::<Model>();
    shared::<Runtime>();
    cloned::<Runtime>();
};

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// After some hundred rows an encoder looks for the orders of its int8 weights where the kernel takes them in one.
#[test]
fn embeddings_stay_the_same_to_the_bit() {
    let directory = tempfile::tempdir().unwrap();
    let photo = decode_file(fixtures().join("images/photo.jpg"), &decode::Options::default()).unwrap();
    for precision in [Precision::Int8, Precision::Int8To96, Precision::Int8w7] {
        let model = Model::open(packed(directory.path(), "clip-hf", precision)).unwrap();
        for threads in [1, 3] {
            let runtime = ocelli_tests::runtime(Isa::detect(), threads);
            let mut images = ImageEncoder::new(&model, &runtime, &ImageOptions::default()).unwrap();
            let mut texts = TextEncoder::new(&model, &runtime, &Limits::default()).unwrap();
            let mut embed = || {
                let mut found = vec![0.0; 2 * images.embed_dim()];
                let (image, text) = found.split_at_mut(images.embed_dim());
                images.embed_into(&photo.view(), image).unwrap();
                texts.embed_ids_into(&[1, 2, 3, 4, 5], text).unwrap();
                bits(&found)
            };
            let first = embed();
            for _ in 0..100 {
                assert_eq!(embed(), first);
            }
        }
    }
}

#[test]
fn a_preprocessor_on_another_thread_makes_the_encoders_frames() {
    let photos = ["photo.jpg", "portrait.png", "landscape.png", "gray.png"]
        .map(|name| decode_file(fixtures().join("images").join(name), &decode::Options::default()).unwrap());
    // Padded rows, alpha, and a shape that NaFlex makes one row or column of patches.
    let pixels: Vec<u8> =
        (0..700 * 260 * 4).map(|i: u32| (i.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect();
    let wide = PixelView::new(Packed::Rgba, &pixels, 640, 13, 2800).unwrap();
    let tall = PixelView::new(Packed::Bgr, &pixels, 9, 700, 260 * 4).unwrap();
    let views: Vec<_> = photos.iter().map(|photo| photo.view()).chain([wide, tall]).collect();
    let directory = tempfile::tempdir().unwrap();
    for (fixture, size) in [
        ("clip-hf", None),
        ("clip-hf", Some((112, 84))),
        ("siglip-hf", None),
        ("retinavit", None),
        ("siglip2-naflex", None),
    ] {
        let model = Model::open(packed(directory.path(), fixture, Precision::Int8)).unwrap();
        let options = ImageOptions::default().image_size(size);
        for isa in [Isa::SCALAR, Isa::detect()] {
            let runtime = ocelli_tests::runtime(isa, 3);
            let encoder = || ImageEncoder::new(&model, &runtime, &options).unwrap();
            let (mut here, mut fed) = (encoder(), encoder());
            let mut preprocessor = Preprocessor::new(&model, isa, &options).unwrap();
            std::thread::scope(|scope| {
                let (sender, frames) = mpsc::channel();
                let views = &views;
                scope.spawn(move || {
                    for view in views {
                        let mut frame = preprocessor.frame();
                        preprocessor.preprocess(view, &mut frame).unwrap();
                        sender.send(frame).unwrap();
                    }
                });
                let (mut own, mut other) = (vec![0.0; here.embed_dim()], vec![0.0; here.embed_dim()]);
                for (i, view) in views.iter().enumerate() {
                    let frame = frames.recv().unwrap();
                    here.preprocess(std::slice::from_ref(view)).unwrap();
                    let case = format!("{fixture} at {size:?}, {isa}, picture {i}");
                    assert_eq!(frame.grid(), here.grid(), "{case}");
                    assert!(frame.pixels() == here.frame(0).unwrap(), "{case}: other pixels");
                    fed.set_frame(0, &frame).unwrap();
                    fed.encode(Input::Frames(1), Layer::Projected, &mut other).unwrap();
                    here.encode(Input::Frames(1), Layer::Projected, &mut own).unwrap();
                    assert_eq!(bits(&own), bits(&other), "{case}");
                }
            });
        }
    }
}

/// What `work` gives; a failure, not a wait without end, where it deadlocks.
fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, done) = mpsc::channel();
    let thread = std::thread::spawn(move || drop(sender.send(work())));
    match done.recv_timeout(Duration::from_secs(120)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("an encoder waits for itself"),
        result => {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            result.unwrap()
        }
    }
}

#[test]
fn an_encoder_inside_an_observer_of_its_runtime_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let model = Model::open(packed(directory.path(), "clip-hf", Precision::Fp32)).unwrap();
    in_time(move || {
        let runtime = ocelli_tests::runtime(Isa::detect(), 2);
        let encoder =
            |runtime: &Runtime| ImageEncoder::new(&model, runtime, &ImageOptions::default()).unwrap();
        let (mut outer, mut inner) = (encoder(&runtime), encoder(&runtime));
        let mut apart = encoder(&ocelli_tests::runtime(Isa::detect(), 2));
        let mut texts = TextEncoder::new(&model, &runtime, &Limits::default()).unwrap();
        let dim = outer.embed_dim();
        let label = vec![1.0 / (dim as f32).sqrt(); dim];
        let bytes = bank::write(&["one"], &["{}"], dim, &label, model.config().checkpoint_id).unwrap();
        let mut classifier = Classifier::new(encoder(&runtime), LabelBank::new(&bytes).unwrap()).unwrap();

        let pixels = [77; 50 * 40 * 3];
        let view = PixelView::new(Packed::Rgb, &pixels, 50, 40, 150).unwrap();
        let (layer, frame) = (Layer::Projected, Input::Frames(1));
        let (mut plain, mut watched, mut out) = (vec![0.0; dim], vec![0.0; dim], vec![0.0; dim]);
        outer.preprocess(&[view]).unwrap();
        outer.encode(frame, layer, &mut plain).unwrap();

        let (mut refusals, mut apart_out) = (Vec::new(), vec![0.0; dim]);
        let mut observer = |_, _: &[f32]| {
            refusals.push(inner.embed_into(&view, &mut out));
            refusals.push(inner.encode(frame, layer, &mut out));
            refusals.push(texts.embed_ids_into(&[1, 2], &mut out));
            refusals.push(classifier.classify_into(&view, &mut [Scored::default()]));
            apart.embed_into(&view, &mut apart_out).unwrap();
        };
        outer.encode_watched(frame, layer, &mut watched, Watch::stages(&mut observer)).unwrap();
        let tapped = RefCell::new((&mut inner, &mut refusals, vec![0.0; dim]));
        let tap = |_: &Weights<'_>, _: &Lhs<'_>, _: Remainders| {
            let (inner, refusals, out) = &mut *tapped.borrow_mut();
            refusals.push(inner.embed_into(&view, out));
        };
        outer.encode_watched(frame, layer, &mut watched, Watch::operands(&tap)).unwrap();
        assert_eq!(bits(&plain), bits(&watched), "what was refused inside left the outer encoder as it was");
        assert!(refusals.len() > 4);
        for refusal in &refusals {
            let error = refusal.as_ref().unwrap_err().to_string();
            assert!(error.contains("a runtime of its own"), "{error}");
        }

        // Afterwards all of them work, and give what the one with a runtime of its own gave inside.
        inner.embed_into(&view, &mut out).unwrap();
        assert_eq!(bits(&out), bits(&apart_out));
        texts.embed_ids_into(&[1, 2], &mut out).unwrap();
        classifier.classify_into(&view, &mut [Scored::default()]).unwrap();
    });
}
