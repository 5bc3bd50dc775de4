//! Photos as they come: damaged ones, huge ones, strange names. One bad photo must not spoil the others.

use super::{example, ocelli, run};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use libjpeg_turbo_rs::{PixelFormat, Subsampling, compress};
use ocelli::format::Alpha;
use ocelli::preprocess::decode::{self, decode_file};
use std::fs;
use std::path::Path;

fn save(path: &Path, width: u32, height: u32) {
    let image = RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, 90]));
    DynamicImage::from(image).save_with_format(path, ImageFormat::Png).unwrap();
}

#[test]
fn bad_photos_are_reported_and_the_others_classified() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let cat = fs::read(example("cat")).unwrap();
    let png = fs::read(ocelli_tests::fixtures().join("images/gray.png")).unwrap();
    fs::write(path("empty.jpg"), "").unwrap();
    let coffee = fs::read(example("coffee")).unwrap();
    fs::write(path("cut.jpg"), &coffee[..coffee.len() / 2]).unwrap();
    fs::write(path("start.jpg"), &cat[..cat.len() / 2]).unwrap();
    fs::write(path("cut.png"), &png[..png.len() / 2]).unwrap();
    fs::write(path("notes.txt"), "no picture at all").unwrap();
    fs::create_dir(path("folder.jpg")).unwrap();
    save(&path("dot.png"), 1, 1);
    save(&path("line.png"), 1, 20_000);
    // The extension says nothing about the contents.
    fs::write(path("really a jpeg.png"), &cat).unwrap();

    let bad = [
        ("empty.jpg", "empty (0 bytes)"),
        ("cut.jpg", "cut off"),
        ("start.jpg", "cut off"),
        ("cut.png", "damaged or incomplete"),
        ("notes.txt", "expected JPEG, PNG, WebP, GIF, TIFF or BMP"),
        ("folder.jpg", "no picture in this folder"),
        ("missing.jpg", "cannot read the picture"),
    ];
    let good = ["dot.png", "line.png", "really a jpeg.png"];
    let mut classify = ocelli!["classify", "--json", example("ship")];
    classify.args(bad[..3].iter().map(|(name, _)| path(name))).arg(path(good[0]));
    classify.args(bad[3..].iter().map(|(name, _)| path(name))).args(good[1..].iter().map(|name| path(name)));
    let result = run(&mut classify);
    assert_eq!(result.code, Some(1));
    let done: Vec<serde_json::Value> = result.json().iter().map(|object| object["image"].clone()).collect();
    let expected = [example("ship"), path(good[0]), path(good[1]), path(good[2])];
    assert_eq!(done, expected.map(|path| path.to_str().unwrap().to_owned()));
    assert_eq!(result.json()[3]["labels"][0]["label"], "cat");
    let lines: Vec<&str> = result.err.lines().collect();
    assert_eq!(lines.len(), bad.len(), "{}", result.err);
    for (line, (name, problem)) in lines.iter().zip(bad) {
        assert!(line.contains(path(name).to_str().unwrap()) && line.contains(problem), "{line}");
    }

    let result = run(&mut ocelli!["embed", "--image", path("cut.jpg"), example("cat"), "--text", "a cat"]);
    assert_eq!((result.code, result.json().len()), (Some(1), 2));
    result.says(&["cut.jpg", "cut off"]);
    // What can be read in spite of its damage comes with a warning.
    fs::write(path("no end.jpg"), &cat[..cat.len() - 2]).unwrap();
    let result = run(&mut ocelli!["classify", "--json", path("no end.jpg")]).ok();
    assert_eq!(result.json()[0]["labels"][0]["label"], "cat");
    result.says(&["ocelli: warning: ", "no end.jpg: the JPEG's end marker is missing"]);
    // The largest picture is a knob.
    run(ocelli!["classify", example("cat")].env("OCELLI_MAX_PIXELS", "1000"))
        .fails(&["cat.jpg", "limit of 1000 pixels"]);
    run(ocelli!["classify", example("cat")].env("OCELLI_MAX_PIXELS", "many"))
        .fails(&["OCELLI_MAX_PIXELS=many"]);
    // Nothing but bad photos.
    run(&mut ocelli!["classify", path("missing.jpg"), path("notes.txt")])
        .fails(&["missing.jpg", "notes.txt"]);
}

/// Pictures as small as this once made the resize of `--resize fast` read beyond them.
#[test]
fn fast_resizing_of_small_pictures() {
    let folder = tempfile::tempdir().unwrap();
    for (width, height) in
        [(1, 1), (21, 19), (35, 32), (37, 32), (45, 19), (77, 76), (147, 127), (161, 139), (171, 115)]
    {
        let path = folder.path().join(format!("{width}x{height}.png"));
        save(&path, width, height);
        let embed = |resize: &str| run(&mut ocelli!["embed", "--image", path, "--resize", resize]).ok().out;
        assert_eq!(embed("fast"), embed("exact"), "{width}x{height}");
    }
}

/// A ship of 32 pixels blown up to 7,744 is still a ship.
#[test]
#[cfg_attr(target_arch = "aarch64", ignore = "minutes under an emulator; on a board, run it with --ignored")]
fn sixty_megapixels() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.jpg");
    let small = decode_file(example("ship"), &decode::Options::default()).unwrap();
    let (side, times) = (small.view().width() as usize, 242);
    let mut pixels = Vec::with_capacity(side * side * times * times * 3);
    let mut row = vec![0; side * 3];
    for y in 0..side {
        small.view().row_rgb(y, 0..side, Alpha::Drop, &mut row);
        let start = pixels.len();
        row.chunks(3).for_each(|pixel| (0..times).for_each(|_| pixels.extend_from_slice(pixel)));
        let large_row = start..pixels.len();
        (1..times).for_each(|_| pixels.extend_from_within(large_row.clone()));
    }
    let side = side * times;
    assert!(side * side > 59_000_000);
    let jpeg = compress(&pixels, side, side, PixelFormat::Rgb, 90, Subsampling::S420).unwrap();
    fs::write(&path, jpeg).unwrap();
    for resize in ["exact", "fast"] {
        let result = run(&mut ocelli!["classify", "--json", "--resize", resize, path]).ok();
        assert_eq!(result.json()[0]["labels"][0]["label"], "ship", "{resize}");
    }
}

#[test]
fn names_with_spaces_and_other_scripts() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("Bilder für später");
    fs::create_dir(&inner).unwrap();
    let (photo, model) = (inner.join("кот 猫 🐱.jpg"), inner.join("un modèle.ocelli"));
    fs::copy(example("cat"), &photo).unwrap();
    fs::copy(ocelli_tests::cifar10(), &model).unwrap();
    let result = run(&mut ocelli!["classify", photo, "--json", "-m", model]).ok();
    let object = &result.json()[0];
    assert_eq!(object["image"], photo.to_str().unwrap());
    assert_eq!(object["model"], model.to_str().unwrap());
    assert_eq!(object["labels"][0]["label"], "cat");
}

/// Unix lets a name be any bytes: the photo is used, and shown as far as it can be.
#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_utf8() {
    use std::os::unix::ffi::OsStrExt;

    let folder = tempfile::tempdir().unwrap();
    let path = |bytes: &[u8]| folder.path().join(std::ffi::OsStr::from_bytes(bytes));
    let photo = path(b"caf\xe9.jpg");
    fs::copy(example("cat"), &photo).unwrap();
    let result = run(&mut ocelli!["classify", photo, path(b"gone\xff.jpg"), "--json"]);
    assert_eq!(result.code, Some(1));
    let object = &result.json()[0];
    assert!(object["image"].as_str().unwrap().ends_with("caf\u{fffd}.jpg"), "{object}");
    assert_eq!(object["labels"][0]["label"], "cat");
    result.says(&["gone\u{fffd}.jpg", "cannot read the picture"]);
    run(&mut ocelli!["info", "-m", path(b"no\xffmodel")])
        .fails(&["no\u{fffd}model", "cannot open the model"]);
    // A label is text; what is not UTF-8 is wrong usage.
    let label = std::ffi::OsStr::from_bytes(b"caf\xe9");
    assert_eq!(run(&mut ocelli!["classify", photo, "--labels", label]).code, Some(2));
}

#[cfg(unix)]
#[test]
fn files_that_may_not_be_read() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret.jpg");
    fs::copy(example("cat"), &path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&path).is_ok() {
        // The superuser may read everything.
        return;
    }
    run(&mut ocelli!["classify", path]).fails(&["secret.jpg", "ermission denied"]);
    run(&mut ocelli!["info", "-m", path]).fails(&["secret.jpg", "ermission denied"]);
    run(&mut ocelli!["classify", example("cat"), "--bank", path]).fails(&["secret.jpg", "ermission denied"]);
}
