//! How well duplicates are found: precision and recall over pairs, on pictures of which versions were made. The hard
//! ones are windows of one photo that overlap: they show the same scene, and are not the same.

use image::codecs::jpeg::JpegEncoder;
use image::imageops::{FilterType, crop_imm, resize};
use image::{DynamicImage, RgbImage};
use ocelli::{Model, Runtime, RuntimeOptions};
use ocelli_index::{DuplicateOptions, Identity, Store, UpdateOptions, Walk, duplicates, update};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

fn jpeg(picture: &RgbImage, quality: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, quality);
    DynamicImage::ImageRgb8(picture.clone()).write_with_encoder(encoder).unwrap();
    bytes
}

/// Half as wide and high; compressed hard; 5 % of both sides cut off; twice as large; a little brighter.
fn versions(picture: &RgbImage) -> Vec<Vec<u8>> {
    let (width, height) = picture.dimensions();
    let scaled = |by: u32, of: u32| resize(picture, width * by / of, height * by / of, FilterType::Triangle);
    let cut = crop_imm(picture, width / 40, height / 40, width * 38 / 40, height * 38 / 40).to_image();
    let mut bright = picture.clone();
    bright.pixels_mut().for_each(|pixel| pixel.0 = pixel.0.map(|level| level.saturating_add(12)));
    vec![
        jpeg(picture, 92),
        jpeg(&scaled(1, 2), 85),
        jpeg(picture, 35),
        jpeg(&cut, 88),
        jpeg(&scaled(2, 1), 80),
        jpeg(&bright, 90),
    ]
}

#[test]
fn made_duplicates_are_found_and_scenes_are_told_apart() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut count = 0;
    for name in ["astronaut", "coffee", "rocket", "cat", "automobile", "frog", "horse", "ship"] {
        let photo = image::open(repository.join(format!("examples/{name}.jpg"))).unwrap().to_rgb8();
        let (width, height) = photo.dimensions();
        let mut windows = vec![photo.clone()];
        if width > 100 {
            for (x, y) in [(0, 0), (2, 0), (0, 2), (2, 2), (1, 1)] {
                windows
                    .push(crop_imm(&photo, x * width / 4, y * height / 4, width / 2, height / 2).to_image());
            }
        }
        for window in windows {
            for (version, bytes) in versions(&window).iter().enumerate() {
                fs::write(folder.path().join(format!("{count:03}-{version}.jpg")), bytes).unwrap();
            }
            count += 1;
        }
    }
    let model = Model::open(repository.join("tests/fixtures/cifar10/cifar10.ocelli")).unwrap();
    let runtime = Runtime::new(&RuntimeOptions::default().threads(2)).unwrap();
    let index = folder.path().join("index");
    let (mut store, _) = Store::write(&index, &Identity::of(&model, None)).unwrap();
    let walk = Walk::new(&[folder.path().to_owned()], &[], false).unwrap();
    let mut events = |_: ocelli_index::Event<'_>| ControlFlow::Continue(());
    let summary =
        update::update(&mut store, &model, &runtime, &walk, &UpdateOptions::default(), &mut events).unwrap();
    let files = summary.indexed;
    assert_eq!(files, count * 6);

    let measure = |options: &DuplicateOptions| {
        let groups = duplicates::duplicates(&store, runtime.kernels(), options).unwrap();
        let (mut right, mut found) = (0, 0);
        for group in &groups {
            let of: Vec<String> = group
                .files
                .iter()
                .map(|(path, _)| path.file_name().unwrap().to_str().unwrap()[..3].to_owned())
                .collect();
            for (i, first) in of.iter().enumerate() {
                found += of.len() - i - 1;
                right += of[i + 1..].iter().filter(|second| *second == first).count();
            }
        }
        let all = count * 15;
        (right as f64 / f64::max(found as f64, 1.0), right as f64 / all as f64)
    };
    for similarity in [0.8, 0.9, 0.95] {
        for distance in [6, 10, 14, 18, 64] {
            let mut options = DuplicateOptions::default();
            (options.similarity, options.distance) = (similarity, distance);
            let (precision, recall) = measure(&options);
            println!(
                "similarity {similarity}, distance {distance}: precision {precision:.3}, recall {recall:.3}"
            );
        }
    }
    let (precision, recall) = measure(&DuplicateOptions::default());
    println!("{files} files of {count} pictures: precision {precision:.3}, recall {recall:.3}");
    assert!(precision >= 0.98 && recall >= 0.95, "precision {precision}, recall {recall}");
}
