//! The C interface gives what the library gives, to the bit.

mod common;

use common::*;
use ocelli::format::Limits;
use ocelli::preprocess::{Packed, PixelView, YuvColor};
use ocelli::score::{Scored, normalize};
use ocelli::vision::Layer;
use ocelli::{Classifier, ImageEncoder, ImageOptions, Input, Model, Runtime, RuntimeOptions, TextEncoder};
use ocelli_c::*;
use ocelli_tools::Precision;
use std::ffi::{CStr, c_char};
use std::ptr::{null, null_mut};
use std::sync::Arc;

/// The library's encoder of the same model.
fn right_encoder(model: &Arc<Model>, batch: usize) -> ImageEncoder {
    let runtime = Runtime::new(&RuntimeOptions::default()).unwrap();
    ImageEncoder::new(model, &runtime, &ImageOptions::default().batch(batch)).unwrap()
}

#[test]
fn images_of_every_format() {
    let path = ocelli_tests::cifar10();
    let (model, runtime) = (open(&path), runtime(2));
    let encoder = image_encoder(model, runtime, 3);
    let mut right = right_encoder(&Model::open(&path).unwrap(), 1);
    let dim = right.embed_dim();
    let (width, height) = (46, 38);
    let data = pattern(48 * 40 * 4);
    let luma = 48 * 38;
    let blue = luma + 24 * 19;
    let views = [
        (OCELLI_RGB, 150, PixelView::new(Packed::Rgb, &data, width, height, 150)),
        (OCELLI_BGR, 138, PixelView::new(Packed::Bgr, &data, width, height, 138)),
        (OCELLI_RGBA, 184, PixelView::new(Packed::Rgba, &data, width, height, 184)),
        (OCELLI_BGRA, 184, PixelView::new(Packed::Bgra, &data, width, height, 184)),
        (OCELLI_GRAY, 48, PixelView::new(Packed::Gray, &data, width, height, 48)),
        (OCELLI_NV12, 48, PixelView::nv12((&data, 48), (&data[luma..], 48), width, height)),
        (OCELLI_NV21, 48, PixelView::nv21((&data, 48), (&data[luma..], 48), width, height)),
        (
            OCELLI_I420,
            48,
            PixelView::i420((&data, 48), (&data[luma..], 24), (&data[blue..], 24), width, height),
        ),
        (OCELLI_YUYV, 96, PixelView::yuyv(&data, width, height, 96)),
        (OCELLI_UYVY, 96, PixelView::uyvy(&data, width, height, 96)),
    ];
    let mut seen = Vec::new();
    for (format, stride, view) in views {
        let mut expected = vec![0.0; dim];
        let view = view.unwrap().with_yuv(YuvColor::Bt709Full);
        right.embed_into(&view, &mut expected).unwrap();
        let image = OcelliImage { color: OCELLI_BT709_FULL, ..packed(format, &data, width, height, stride) };
        let mut found = vec![0.0; dim];
        // SAFETY: an image, and room for its embedding.
        ok(unsafe { ocelli_image_encoder_embed(encoder, &image, 1, found.as_mut_ptr(), dim) });
        assert_eq!(found, expected, "format {format}");
        seen.push(expected);
    }
    // Planes apart from each other are the same picture.
    for (format, chroma) in [(OCELLI_NV12, [48, 0]), (OCELLI_I420, [24, 24])] {
        let mut image = packed(format, &data[..luma], width, height, 48);
        image.color = OCELLI_BT709_FULL;
        for (plane, (start, stride)) in [luma, blue].into_iter().zip(chroma).enumerate() {
            if stride > 0 {
                let data = data[start..].as_ptr();
                image.planes[plane + 1] = OcelliPlane { data, len: stride * 19, stride };
            }
        }
        let mut found = vec![0.0; dim];
        // SAFETY: an image, and room for its embedding.
        ok(unsafe { ocelli_image_encoder_embed(encoder, &image, 1, found.as_mut_ptr(), dim) });
        assert_eq!(found, seen[format as usize - 1], "format {format}");
    }
    // A batch is its images.
    let images: [OcelliImage; 3] = [(OCELLI_RGB, 150), (OCELLI_BGR, 138), (OCELLI_GRAY, 48)]
        .map(|(format, stride)| packed(format, &data, width, height, stride));
    let mut found = vec![0.0; 3 * dim];
    // SAFETY: three images, and room for their embeddings.
    ok(unsafe { ocelli_image_encoder_embed(encoder, images.as_ptr(), 3, found.as_mut_ptr(), 3 * dim) });
    assert_eq!(found, [&seen[0][..], &seen[1], &seen[4]].concat());
    assert_ne!(seen[0], seen[1]);
    ok(ocelli_image_encoder_free(encoder));
    ok(ocelli_runtime_free(runtime));
    ok(ocelli_model_free(model));
}

#[test]
fn layers_texts_labels_and_scores() {
    let directory = tempfile::tempdir().unwrap();
    let path = ocelli_tests::packed(directory.path(), "clip-hf", Precision::Int8);
    let (model, runtime) = (open(&path), runtime(1));
    let encoder = image_encoder(model, runtime, 1);
    let owned = Model::open(&path).unwrap();
    let mut right = right_encoder(&owned, 1);
    let picture_path = ocelli_tests::fixtures().join("images/portrait.png");
    let mut picture = null_mut();
    // SAFETY: a text, and a place for the handle.
    ok(unsafe { ocelli_picture_open(c_path(&picture_path).as_ptr(), &mut picture) });
    let mut image = packed(OCELLI_RGB, &[], 0, 0, 0);
    // SAFETY: a place for the image.
    ok(unsafe { ocelli_picture_image(picture, &mut image) });
    let decoded = ocelli::preprocess::decode::decode_file(&picture_path, &Default::default()).unwrap();

    right.preprocess(&[decoded.view()]).unwrap();
    for (number, layer) in [
        (OCELLI_LAYER_PATCH, Layer::Patch),
        (OCELLI_LAYER_CLASS, Layer::Class),
        (OCELLI_LAYER_POOLED, Layer::Pooled),
        (OCELLI_LAYER_PROJECTED, Layer::Projected),
    ] {
        let (vectors, channels) = right.layer_shape(layer).unwrap();
        let mut expected = vec![0.0; vectors * channels];
        right.encode(Input::Frames(1), layer, &mut expected).unwrap();
        let (mut rows, mut width) = (0, 0);
        // SAFETY: places for the results.
        ok(unsafe { ocelli_image_encoder_shape(encoder, number, &mut rows, &mut width) });
        assert_eq!((rows, width), (vectors, channels));
        let (mut found, len) = (vec![0.0; expected.len()], expected.len());
        // SAFETY: an image, and room for its vectors.
        ok(unsafe { ocelli_image_encoder_encode(encoder, &image, number, 0, found.as_mut_ptr(), len) });
        assert_eq!(found, expected, "{layer:?}");
        expected.chunks_exact_mut(channels).for_each(normalize);
        // SAFETY: as above.
        ok(unsafe { ocelli_image_encoder_encode(encoder, &image, number, 1, found.as_mut_ptr(), len) });
        assert_eq!(found, expected, "{layer:?}, of length 1");
    }
    let (mut rows, mut columns) = (0, 0);
    // SAFETY: places for the results.
    ok(unsafe { ocelli_image_encoder_grid(encoder, &mut rows, &mut columns) });
    assert_eq!((rows, columns), right.grid());

    let mut texts = null_mut();
    // SAFETY: a place for the handle.
    ok(unsafe { ocelli_text_encoder_new(model, runtime, &mut texts) });
    let team = Runtime::new(&RuntimeOptions::default()).unwrap();
    let mut right_texts = TextEncoder::new(&owned, &team, &Limits::default()).unwrap();
    let dim = right_texts.embed_dim();
    let (mut found, mut expected, mut cut) = (vec![0.0; dim], vec![0.0; dim], 7);
    right_texts.embed_into("a photo of a cat", &mut expected).unwrap();
    // SAFETY: a text, room for its embedding and for the flag.
    ok(unsafe {
        ocelli_text_encoder_embed(texts, c"a photo of a cat".as_ptr(), found.as_mut_ptr(), dim, &mut cut)
    });
    assert_eq!((&found, cut), (&expected, 0));
    let long = std::ffi::CString::new("cat ".repeat(200)).unwrap();
    // SAFETY: as above.
    ok(unsafe { ocelli_text_encoder_embed(texts, long.as_ptr(), found.as_mut_ptr(), dim, &mut cut) });
    assert_eq!(cut, 1);

    let labels = [c"cat", c"dog, asleep", c"na\xc3\xafve"].map(CStr::as_ptr);
    let templates = [c"a photo of a {}", c"{} at night"].map(CStr::as_ptr);
    let mut bank = null_mut();
    // SAFETY: three labels, two templates, a place for the handle.
    ok(unsafe { ocelli_text_encoder_labels(texts, labels.as_ptr(), 3, templates.as_ptr(), 2, &mut bank) });
    let words = ["cat", "dog, asleep", "na\u{ef}ve"];
    let right_bank =
        right_texts.embed_labels(&words, &["a photo of a {}", "{} at night"], &mut |_| ()).unwrap();
    let saved = directory.path().join("words.bank");
    // SAFETY: a text.
    ok(unsafe { ocelli_bank_save(bank, c_path(&saved).as_ptr()) });
    assert_eq!(std::fs::read(&saved).unwrap(), right_bank.as_bank().to_bytes());
    let mut reopened = null_mut();
    // SAFETY: a text, and a place for the handle.
    ok(unsafe { ocelli_bank_open(c_path(&saved).as_ptr(), &mut reopened) });
    let mut classifier = null_mut();
    // SAFETY: no options, and a place for the handle.
    ok(unsafe { ocelli_classifier_new(model, runtime, null(), reopened, &mut classifier) });
    let mut right_classifier = Classifier::new(right, right_bank).unwrap();
    let mut expected = vec![Scored::default(); 3];
    right_classifier.classify_into(&decoded.view(), &mut expected).unwrap();
    for len in [1, 3, 5] {
        let (mut found, mut count) = (vec![OcelliScore::default(); len], 0);
        // SAFETY: an image, and room for the scores.
        ok(unsafe { ocelli_classifier_classify(classifier, &image, found.as_mut_ptr(), len, &mut count) });
        assert_eq!(count, len.min(3));
        for (found, right) in found.iter().zip(&expected) {
            let right = OcelliScore { label: right.label, score: right.score, similarity: right.similarity };
            assert_eq!(*found, right);
        }
    }
    for (index, word) in words.iter().enumerate() {
        let mut needed = 0;
        // SAFETY: no buffer, and a place for the length.
        ok(unsafe { ocelli_classifier_label(classifier, index, null_mut(), 0, &mut needed) });
        assert_eq!(needed, word.len() + 1);
        let mut buffer = vec![7 as c_char; needed];
        // SAFETY: a buffer of that length.
        ok(unsafe { ocelli_bank_label(bank, index, buffer.as_mut_ptr(), needed, null_mut()) });
        // SAFETY: it ends with a zero byte.
        assert_eq!(unsafe { CStr::from_ptr(buffer.as_ptr()) }.to_str().unwrap(), *word);
    }

    // What is freed first lives on in what was made of it.
    ok(ocelli_model_free(model));
    ok(ocelli_runtime_free(runtime));
    ok(ocelli_bank_free(reopened));
    let mut again = OcelliScore::default();
    // SAFETY: an image, and room for one score.
    ok(unsafe { ocelli_classifier_classify(classifier, &image, &mut again, 1, null_mut()) });
    assert_eq!(again.score, expected[0].score);
    ok(ocelli_classifier_free(classifier));
    ok(ocelli_bank_free(bank));
    ok(ocelli_text_encoder_free(texts));
    ok(ocelli_picture_free(picture));
    ok(ocelli_image_encoder_free(encoder));
}

#[test]
fn a_model_in_memory_and_what_it_is() {
    let bytes = std::fs::read(ocelli_tests::cifar10()).unwrap();
    let mut model = null_mut();
    // SAFETY: bytes, and a place for the handle.
    ok(unsafe { ocelli_model_from_bytes(bytes.as_ptr(), bytes.len(), OCELLI_OPEN_VERIFY, &mut model) });
    let mut info = OcelliModelInfo::default();
    // SAFETY: a place for the result.
    ok(unsafe { ocelli_model_info(model, &mut info) });
    let right = Model::open(ocelli_tests::cifar10()).unwrap();
    assert_eq!(info.bytes, bytes.len() as u64);
    assert_eq!(info.checkpoint_id, right.config().checkpoint_id);
    assert_eq!(info.model_id, right.file().model_id());
    assert_eq!((info.image_height, info.image_width), (32, 32));
    assert_eq!((info.labels, info.has_image), (10, 1));
    assert_eq!(info.logit_scale, right.config().score.logit_scale);
    let mut bank = null_mut();
    // SAFETY: a place for the handle.
    ok(unsafe { ocelli_bank_of_model(model, &mut bank) });
    let mut len = 0;
    // SAFETY: a place for the result.
    ok(unsafe { ocelli_bank_len(bank, &mut len) });
    assert_eq!(len, 10);
    let mut needed = 0;
    // SAFETY: a place for the result.
    ok(unsafe { ocelli_model_provenance(model, null_mut(), 0, &mut needed) });
    assert_eq!(needed, right.file().provenance().len() + 1);
    ok(ocelli_bank_free(bank));
    ok(ocelli_model_free(model));
}
