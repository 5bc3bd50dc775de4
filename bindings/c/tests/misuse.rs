//! What a program does wrong is an error that names it.

mod common;

use common::*;
use ocelli_c::OcelliStatus::*;
use ocelli_c::*;
use ocelli_tools::Precision;
use std::ptr::{null, null_mut, without_provenance_mut};

/// The status is this, and the message has these words.
#[track_caller]
fn refused(status: OcelliStatus, expected: OcelliStatus, words: &str) {
    assert_eq!(status, expected, "{}", said());
    assert!(said().contains(words), "{:?} has not {words:?}", said());
}

#[test]
fn handles_that_are_none() {
    let (model, team) = (open(&ocelli_tests::cifar10()), runtime(1));
    let encoder = image_encoder(model, team, 1);
    let mut info = OcelliModelInfo::default();
    // SAFETY: a place for the result; handles are never followed.
    unsafe {
        refused(ocelli_model_info(null(), &mut info), OCELLI_NULL_POINTER, "a model is null");
        refused(
            ocelli_model_info(encoder.cast(), &mut info),
            OCELLI_BAD_HANDLE,
            "an image encoder was given",
        );
        let wild = without_provenance_mut(usize::MAX - 6);
        refused(ocelli_model_info(wild, &mut info), OCELLI_BAD_HANDLE, "no handle");
        let mut twice = encoder;
        refused(
            ocelli_image_encoder_new(team.cast(), team, null(), &mut twice),
            OCELLI_BAD_HANDLE,
            "a runtime was given where one of a model is expected",
        );
        assert_eq!(twice, encoder, "what fails writes nothing");
    }
    refused(ocelli_runtime_free(model.cast()), OCELLI_BAD_HANDLE, "a model was given");
    refused(ocelli_model_free(without_provenance_mut(usize::MAX)), OCELLI_BAD_HANDLE, "no handle");
    ok(ocelli_model_free(null_mut()));
    ok(ocelli_model_free(model));
    refused(ocelli_model_free(model), OCELLI_BAD_HANDLE, "was freed before");
    // SAFETY: a place for the result.
    refused(unsafe { ocelli_model_info(model, &mut info) }, OCELLI_BAD_HANDLE, "was freed before");
    ok(ocelli_image_encoder_free(encoder));
    refused(ocelli_image_encoder_free(encoder), OCELLI_BAD_HANDLE, "was freed before");
    ok(ocelli_runtime_free(team));
}

#[test]
fn pointers_and_lengths() {
    let (model, team) = (open(&ocelli_tests::cifar10()), runtime(1));
    let encoder = image_encoder(model, team, 1);
    let pixels = pattern(40 * 30 * 3);
    let image = packed(OCELLI_RGB, &pixels, 40, 30, 120);
    let mut info = OcelliModelInfo::default();
    // SAFETY: places for results; what is wrong is refused before anything is read or written.
    unsafe {
        ok(ocelli_model_info(model, &mut info));
        let dim = info.embed_dim as usize;
        let mut out = vec![0.0f32; dim + 1];
        let to = out.as_mut_ptr();
        let embed = |image: *const OcelliImage, count, out, len| {
            ocelli_image_encoder_embed(encoder, image, count, out, len)
        };
        refused(embed(null(), 1, to, dim), OCELLI_NULL_POINTER, "the images is null");
        refused(embed(&image, 1, null_mut(), dim), OCELLI_NULL_POINTER, "embeddings is null");
        let odd = to.byte_add(1);
        refused(embed(&image, 1, odd, dim), OCELLI_MISALIGNED, "not a multiple of 4");
        let askew = (&raw const image).byte_add(2);
        refused(embed(askew, 1, to, dim), OCELLI_MISALIGNED, "not a multiple of 8");
        for len in [0, dim - 1, dim + 1] {
            refused(embed(&image, 1, to, len), OCELLI_BUFFER_SIZE, "embeddings must have");
        }
        refused(embed(&image, 1, to, usize::MAX), OCELLI_BUFFER_SIZE, "cannot have");
        refused(embed(&image, 0, to, dim), OCELLI_BAD_ARGUMENT, "1 to 1 images");
        refused(embed(&image, usize::MAX, to, dim), OCELLI_BUFFER_SIZE, "cannot have");
        refused(ocelli_model_info(model, null_mut()), OCELLI_NULL_POINTER, "the result is null");
        refused(ocelli_model_open(null(), 0, null_mut()), OCELLI_NULL_POINTER, "the path is null");
        refused(ocelli_model_open(c"x".as_ptr(), 4, null_mut()), OCELLI_BAD_ARGUMENT, "0x4");
        let demo = c_path(&ocelli_tests::cifar10());
        refused(ocelli_model_open(demo.as_ptr(), 0, null_mut()), OCELLI_NULL_POINTER, "handle is null");
        let mut team = null_mut();
        refused(ocelli_runtime_new(100_000, null(), &mut team), OCELLI_BAD_ARGUMENT, "thread");
        refused(ocelli_runtime_new(1, c"mmx".as_ptr(), &mut team), OCELLI_BAD_ARGUMENT, "mmx");
        refused(ocelli_runtime_new(1, c"\xff".as_ptr(), &mut team), OCELLI_BAD_ARGUMENT, "not UTF-8");
        assert!(out.iter().all(|&value| value == 0.0), "what fails writes nothing");
    }
    ok(ocelli_image_encoder_free(encoder));
    ok(ocelli_runtime_free(team));
    ok(ocelli_model_free(model));
}

#[test]
fn pictures_that_do_not_fit() {
    let (model, team) = (open(&ocelli_tests::cifar10()), runtime(1));
    let mut scorer = null_mut();
    let pixels = pattern(40 * 30 * 3);
    let good = packed(OCELLI_RGB, &pixels, 40, 30, 120);
    let mut best = OcelliScore::default();
    // SAFETY: images whose planes are as long as they say; places for the handle and one score.
    unsafe {
        ok(ocelli_classifier_new(model, team, null(), null(), &mut scorer));
        let to_best = &raw mut best;
        let classify =
            |image: OcelliImage| ocelli_classifier_classify(scorer, &image, to_best, 1, null_mut());
        ok(classify(good));
        let mut short = good;
        short.planes[0].len -= 1;
        refused(classify(short), OCELLI_BAD_ARGUMENT, "too short");
        refused(classify(OcelliImage { width: 41, ..good }), OCELLI_BAD_ARGUMENT, "stride");
        refused(classify(OcelliImage { height: 0, ..good }), OCELLI_BAD_ARGUMENT, "empty");
        refused(classify(OcelliImage { width: 70_000, ..good }), OCELLI_BAD_ARGUMENT, "too large");
        refused(classify(OcelliImage { format: 0, ..good }), OCELLI_BAD_ARGUMENT, "no pixel format");
        refused(classify(OcelliImage { format: 11, ..good }), OCELLI_BAD_ARGUMENT, "no pixel format");
        refused(classify(OcelliImage { color: 9, ..good }), OCELLI_BAD_ARGUMENT, "luminance");
        refused(classify(OcelliImage { format: OCELLI_I420, ..good }), OCELLI_BAD_ARGUMENT, "too short");
        let mut planes = good;
        planes.planes[1] = good.planes[0];
        refused(classify(planes), OCELLI_BAD_ARGUMENT, "not so many planes");
        planes.format = OCELLI_I420;
        refused(classify(planes), OCELLI_BAD_ARGUMENT, "stride");
        let mut nothing = good;
        nothing.planes[0].data = null();
        refused(classify(nothing), OCELLI_NULL_POINTER, "the first plane is null");
        nothing.planes[0].len = 0;
        refused(classify(nothing), OCELLI_BAD_ARGUMENT, "too short");
        let mut endless = good;
        endless.planes[0].stride = usize::MAX;
        refused(classify(endless), OCELLI_BAD_ARGUMENT, "too short");
        refused(
            ocelli_classifier_classify(scorer, &good, to_best, 0, null_mut()),
            OCELLI_BUFFER_SIZE,
            "no elements",
        );
        let mut name = [1; 4];
        let to = name.as_mut_ptr();
        let label = |index, len| ocelli_classifier_label(scorer, index, to, len, null_mut());
        refused(label(10, 4), OCELLI_BAD_ARGUMENT, "no label 10");
        refused(label(0, 4), OCELLI_BUFFER_SIZE, "needs 9 bytes");
    }
    ok(ocelli_classifier_free(scorer));
    ok(ocelli_runtime_free(team));
    ok(ocelli_model_free(model));
}

#[test]
fn what_files_and_models_lack() {
    let (mut model, mut picture, mut bank, mut texts) = (null_mut(), null_mut(), null_mut(), null_mut());
    let team = runtime(1);
    let picture_path = c_path(&ocelli_tests::repository().join("examples/ship.jpg"));
    // SAFETY: texts, and places for handles.
    unsafe {
        refused(ocelli_model_open(c"nowhere.ocelli".as_ptr(), 0, &mut model), OCELLI_FILE, "nowhere.ocelli");
        refused(ocelli_model_open(picture_path.as_ptr(), 0, &mut model), OCELLI_BAD_MODEL, "JPEG");
        refused(ocelli_model_from_bytes(null(), 0, 0, &mut model), OCELLI_BAD_MODEL, "");
        let demo = c_path(&ocelli_tests::cifar10());
        refused(ocelli_picture_open(demo.as_ptr(), &mut picture), OCELLI_BAD_PICTURE, "cifar10.ocelli");
        refused(ocelli_picture_decode(c"GIF89a".as_ptr().cast(), 6, &mut picture), OCELLI_BAD_PICTURE, "");
        refused(ocelli_bank_open(demo.as_ptr(), &mut bank), OCELLI_BAD_MODEL, "cifar10.ocelli");
        ok(ocelli_model_open(demo.as_ptr(), OCELLI_OPEN_COPY, &mut model));
        let directory = tempfile::tempdir().unwrap();
        let vision = open(&ocelli_tests::packed(directory.path(), "timm-vit", Precision::Int8));
        refused(ocelli_text_encoder_new(vision, team, &mut texts), OCELLI_MODEL_LACKS, "text tower");
        refused(ocelli_bank_of_model(vision, &mut bank), OCELLI_MODEL_LACKS, "labels in it");
        ok(ocelli_model_free(vision));
        let options = OcelliImageOptions { batch: 65, ..OcelliImageOptions::default() };
        let mut encoder = null_mut();
        refused(
            ocelli_image_encoder_new(model, team, &options, &mut encoder),
            OCELLI_BAD_ARGUMENT,
            "at most 64",
        );
        let options = OcelliImageOptions { image_width: 32, ..OcelliImageOptions::default() };
        refused(
            ocelli_image_encoder_new(model, team, &options, &mut encoder),
            OCELLI_BAD_ARGUMENT,
            "0x32 pixels",
        );
    }
    refused(ocelli_check_abi(OCELLI_ABI_VERSION + 1), OCELLI_BAD_ARGUMENT, "compiled for version 2");
    ok(ocelli_check_abi(ocelli_abi_version()));
    ok(ocelli_model_free(model));
    ok(ocelli_runtime_free(team));
}

#[test]
fn threads_that_share_a_handle_take_turns() {
    let (model, team) = (open(&ocelli_tests::cifar10()), runtime(2));
    let encoder = image_encoder(model, team, 1).expose_provenance();
    let mut info = OcelliModelInfo::default();
    // SAFETY: a place for the result.
    ok(unsafe { ocelli_model_info(model, &mut info) });
    let (dim, pixels) = (info.embed_dim as usize, pattern(40 * 30 * 3));
    let embed = || {
        let (image, mut out) = (packed(OCELLI_RGB, &pixels, 40, 30, 120), vec![0.0; dim]);
        let encoder = without_provenance_mut(encoder);
        // SAFETY: an image, and room for its embedding.
        let status = unsafe { ocelli_image_encoder_embed(encoder, &image, 1, out.as_mut_ptr(), dim) };
        (status, out)
    };
    let (status, right) = embed();
    ok(status);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    match embed() {
                        (OCELLI_OK, out) => assert_eq!(out, right),
                        // Another thread has freed it: an error, and nothing else.
                        (status, _) => assert_eq!(status, OCELLI_BAD_HANDLE),
                    }
                }
            });
        }
        std::thread::sleep(std::time::Duration::from_millis(30));
        ok(ocelli_image_encoder_free(without_provenance_mut(encoder)));
    });
    ok(ocelli_runtime_free(team));
    ok(ocelli_model_free(model));
}
