use std::io::Cursor;

use image::{DynamicImage, ImageFormat};
use ocelli::format::Alpha;
use ocelli::format::{Filter, Resampler, ResizeMode};
use ocelli::preprocess::FrameSpec;
use ocelli::preprocess::decode::{Options, decode, decode_file};

use super::{assert_same, config, decode_bytes, fixture, fnv, frame, noise, open, pixels, read};

/// `image` as a file.
fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    image.write_to(&mut out, format).unwrap();
    out.into_inner()
}

/// Files from public reports and of the same kinds: data that end early, lost restart markers, ends that are missing,
/// orientation in odd places, deep and interlaced pixels, other containers. Each beside what Pillow makes of it.
#[test]
fn what_pillow_can_read() {
    let mut compared = 0;
    for entry in std::fs::read_dir(fixture("decode/found")).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        if file.ends_with(".expected.png") {
            continue;
        }
        let expected = open(&format!("decode/found/{}.expected.png", file.replace('.', "_")));
        let found = open(&format!("decode/found/{file}"));
        assert_eq!(found.view().width(), expected.view().width(), "{file}");
        let mut levels =
            [vec![0; 3 * found.view().width() as usize], vec![0; 3 * found.view().width() as usize]];
        for y in 0..found.view().height() as usize {
            for (levels, image) in levels.iter_mut().zip([&found, &expected]) {
                image.view().row_rgb(y, 0..image.view().width() as usize, Alpha::Drop, levels);
            }
            assert_same(&levels[0], &levels[1], &format!("{file}, row {y}"));
        }
        let harmed =
            ["cut", "rst_lost", "rst_skip", "premature", "no"].iter().any(|kind| file.contains(kind));
        assert_eq!(!found.warnings().is_empty(), harmed, "{file}: {:?}", found.warnings());
        compared += 1;
    }
    assert_eq!(compared, 20);
}

/// Pillow's `draft` mode decodes at the same scales: the hashes are of its pixels.
#[test]
fn scaled_decoding_is_equal_to_libjpeg_turbo() {
    let astronaut = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/astronaut.jpg")).unwrap();
    let photo = read("images/photo.jpg");
    for (jpeg, side, width, hash) in [
        (&astronaut, 128, 256, 0x247f_bb3a_d180_5a01_u64),
        (&astronaut, 64, 128, 0xa30c_54a1_6ae3_509d),
        (&astronaut, 32, 64, 0x7f3e_a5dd_68ae_83b1),
        // 237 columns make 60, of which the last holds one stored column: it is left out.
        (&photo, 14, 59, 0x5ef9_81c9_acae_d440),
    ] {
        let config = config(ResizeMode::ShortestCrop, Filter::Bicubic, Resampler::Pillow, side);
        let mut options = Options::default();
        options.fast_for = Some(FrameSpec::new(&config, side, side).unwrap());
        let scaled = decode(jpeg, &options).unwrap();
        assert_eq!(scaled.view().width(), width);
        assert_eq!(fnv(&pixels(&scaled.view())), hash, "{width}");
    }
    // Not much larger than the frame: as ever.
    let config = config(ResizeMode::ShortestCrop, Filter::Bicubic, Resampler::Pillow, 224);
    let mut options = Options::default();
    options.fast_for = Some(FrameSpec::new(&config, 224, 224).unwrap());
    let whole = decode(&photo, &options).unwrap();
    assert_same(&pixels(&whole.view()), &pixels(&open("images/photo.jpg").view()), "photo");
}

/// What Pillow makes of the same file with `convert("RGB")`, level for level.
#[test]
fn jpeg_is_equal_to_libjpeg_turbo() {
    let same = |jpeg: &str, golden: &str| {
        let (found, expected) = (open(jpeg), open(golden));
        assert_eq!(found.view().width(), expected.view().width(), "{jpeg}");
        assert_same(&pixels(&found.view()), &pixels(&expected.view()), jpeg);
    };
    same("images/photo.jpg", "images/photo_decoded.png");
    let names = [
        "420",
        "420_progressive",
        "420_thin",
        "420_restart",
        "422",
        "422_progressive",
        "440",
        "444",
        "444_progressive",
        "gray",
        "gray_progressive",
        "rgb",
        "cmyk_photo",
        "ycck",
    ];
    for name in names {
        same(&format!("decode/{name}.jpg"), &format!("decode/{name}.png"));
    }
}

/// The frame of a picture decoded at a fraction of its size is near the exact one.
#[test]
fn scaled_frames_are_near_the_exact_ones() {
    for (name, side) in [("astronaut", 96), ("astronaut", 48), ("coffee", 96), ("coffee", 48)] {
        let path = format!("{}/../examples/{name}.jpg", env!("CARGO_MANIFEST_DIR"));
        let config = config(ResizeMode::ShortestCrop, Filter::Bicubic, Resampler::Pillow, side);
        let spec = FrameSpec::new(&config, side, side).unwrap();
        let whole = decode_file(&path, &Options::default()).unwrap();
        let mut options = Options::default();
        options.fast_for = Some(spec);
        let scaled = decode_file(&path, &options).unwrap();
        assert!(scaled.view().width() < whole.view().width(), "{name} {side}");
        let (exact, fast) = (frame(spec, &whole.view()), frame(spec, &scaled.view()));
        let off = exact.iter().zip(&fast).map(|(a, b)| a.abs_diff(*b));
        let mean = off.clone().map(f64::from).sum::<f64>() / exact.len() as f64;
        println!("{name} at {side}: {mean:.2} levels in the mean, {} at most", off.max().unwrap());
        assert!(mean < 1.0, "{name} {side}: {mean}");
    }
}

/// Flipped, lost and doubled bytes, most of them in the headers: an error or a picture, never a panic.
#[test]
fn damaged_jpegs_do_not_panic() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as usize % below
    };
    let (mut decoded, mut refused) = (0, 0);
    for name in ["420", "420_progressive", "422", "440", "444_progressive", "gray", "cmyk_photo", "ycck"] {
        let intact = read(&format!("decode/{name}.jpg"));
        let is_frame = |pair: &[u8]| pair[0] == 0xff && matches!(pair[1], 0xc0 | 0xc2);
        let frame = intact.windows(2).position(is_frame).unwrap();
        for _ in 0..1500 {
            let mut jpeg = intact.clone();
            for _ in 0..1 + random(3) {
                let at = if random(2) == 0 { random(jpeg.len()) } else { frame + 4 + random(18) };
                let at = at.min(jpeg.len() - 1);
                match random(5) {
                    0 => jpeg[at] ^= 1 << random(8),
                    1 => jpeg[at] = random(256) as u8,
                    2 => jpeg[at] = [0, 0xff, 0x11, 0x12, 0x21, 0x22, 0x34, 0x41][random(8)],
                    3 => jpeg.insert(at, random(256) as u8),
                    _ => drop(jpeg.remove(at)),
                }
            }
            // Nothing to learn from filling a gigabyte with a few bytes' worth of picture.
            let side = |at: usize| jpeg.get(at).copied().unwrap_or_default();
            if side(frame + 5) > 1 || side(frame + 7) > 1 {
                continue;
            }
            match decode_bytes(&jpeg) {
                Ok(_) => decoded += 1,
                Err(_) => refused += 1,
            }
        }
    }
    assert!(decoded > 500 && refused > 500, "{decoded} decoded, {refused} refused");
}

/// Frames that no program writes, all of one photo in inks: sampling factors, height.
#[test]
fn frames_without_sense_are_errors() {
    let intact = read("decode/cmyk_photo.jpg");
    let frame = intact.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    // Of each channel the factors are at 11, 14, 17 and 20 behind the marker; the height is at 5, the bits at 4.
    for (at, value) in [(11, 0x34), (14, 0x22), (17, 0x31), (20, 0x13), (20, 0x00), (6, 0), (4, 12)] {
        let mut jpeg = intact.clone();
        jpeg[frame + at] = value;
        let error = decode_bytes(&jpeg).unwrap_err().to_string();
        assert!(error.contains("JPEG"), "{at}: {error}");
    }
}

#[test]
fn kinds_of_pixels() {
    let rgb = noise(19, 13);
    let colour = image::RgbImage::from_raw(19, 13, rgb.clone()).unwrap();
    let picture = DynamicImage::ImageRgb8(colour);
    for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::WebP] {
        let decoded = decode_bytes(&encode(&picture, format)).unwrap();
        assert_same(&pixels(&decoded.view()), &rgb, &format!("{format:?}"));
    }
    // 16 bits: 257 steps of the wider scale to a level.
    let deep = DynamicImage::ImageRgb16(picture.to_rgb16());
    assert_same(&pixels(&decode_bytes(&encode(&deep, ImageFormat::Png)).unwrap().view()), &rgb, "16 bits");
    // Alpha stays until the model's rule meets it, with grey too.
    let clear = image::LumaA([40, 0]);
    let gray = DynamicImage::ImageLumaA8(image::GrayAlphaImage::from_pixel(3, 2, clear));
    let decoded = decode_bytes(&encode(&gray, ImageFormat::Png)).unwrap();
    let mut pixel = [0; 3];
    decoded.view().row_rgb(1, 2..3, Alpha::White, &mut pixel);
    assert_eq!(pixel, [255; 3]);
    decoded.view().row_rgb(1, 2..3, Alpha::Drop, &mut pixel);
    assert_eq!(pixel, [40; 3]);
}

/// Quarters of red, cyan, black and white, as printing inks.
#[test]
fn cmyk_becomes_rgb() {
    let decoded = open("decode/cmyk.jpg");
    for ((x, y), expected) in
        [((3, 3), [254, 0, 0]), ((12, 3), [0, 254, 254]), ((3, 12), [0, 0, 0]), ((12, 12), [254, 254, 254])]
    {
        let mut pixel = [0; 3];
        decoded.view().row_rgb(y, x..x + 1, Alpha::White, &mut pixel);
        let worst = pixel.iter().zip(expected).map(|(a, b)| a.abs_diff(b)).max().unwrap();
        assert!(worst <= 3, "at {x}, {y}: {pixel:?} for {expected:?}");
    }
}

/// Half a picture is no picture. Where all pixels are there, what is missing behind them is no reason to refuse them.
#[test]
fn a_cut_picture_is_an_error_at_every_length() {
    let png = read("images/landscape.png");
    let jpeg = read("images/photo.jpg");
    for (name, data) in [("JPEG", &jpeg), ("PNG", &png)] {
        let step = data.len() / 61;
        for length in (1..61).map(|i| i * step).chain([1, 2, 3, data.len() - 40]) {
            assert!(decode_bytes(&data[..length]).is_err(), "{name} cut to {length} of {}", data.len());
        }
        let whole = decode_bytes(data).unwrap();
        assert!(whole.warnings().is_empty());
        for missing in [1, 2] {
            let cut = decode_bytes(&data[..data.len() - missing]).unwrap();
            assert_same(&pixels(&cut.view()), &pixels(&whole.view()), name);
            assert!(!cut.warnings().is_empty(), "{name}");
        }
        // Bytes after the end are no reason to refuse, nor to complain.
        assert!(decode_bytes(&[&data[..], b"trailing"].concat()).unwrap().warnings().is_empty());
    }
    // Nobody looks at the checksum of pixels.
    let mut wrong = png.clone();
    let checksum = wrong.len() - 16;
    wrong[checksum..checksum + 4].fill(0);
    assert_same(
        &pixels(&decode_bytes(&wrong).unwrap().view()),
        &pixels(&decode_bytes(&png).unwrap().view()),
        "PNG",
    );
    let error = decode_bytes(&jpeg[..jpeg.len() / 2]).unwrap_err().to_string();
    assert!(error.contains("cut off"), "{error}");
}

#[test]
fn what_is_no_picture_is_an_error_that_says_so() {
    let problem = |data: &[u8]| decode_bytes(data).unwrap_err().to_string();
    assert!(problem(b"").contains("0 bytes"));
    assert!(problem(b"just some text, no picture").contains("expected JPEG, PNG, WebP, GIF, TIFF or BMP"));
    for (start, name, advice) in [
        (&b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..], "HEIC", "heif-convert"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "AVIF", "avifdec"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isomavc1", "MP4", "ffmpeg"),
        (b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", "Canon CR3", "develop"),
        (b"\xff\x0a\x00", "JPEG XL", "djxl"),
        (b"<?xml version=\"1.0\"?>\n<svg xmlns=\"\">", "SVG", "rsvg-convert"),
        (b"\n<!DOCTYPE HTML><title>404</title>", "HTML page", "login"),
        (b"%PDF-1.7", "PDF", "pdftoppm"),
        (b"II*\0\x10\0\0\0CR\x02\0", "Canon CR2", "develop"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer", "git lfs pull"),
        (b"RIFF\0\0\0\0AVI LIST", "AVI video", "ffmpeg"),
        (b"\x1a\x45\xdf\xa3", "WebM", "ffmpeg"),
    ] {
        let error = problem(start);
        assert!(error.contains(name) && error.contains(advice), "{error}");
        // Cut off anywhere, it is still an error and no panic.
        (1..start.len()).for_each(|length| drop(problem(&start[..length])));
    }

    let missing = decode_file(fixture("images/none.png"), &Options::default()).unwrap_err().to_string();
    assert!(missing.contains("none.png") && missing.contains("read the picture"), "{missing}");
    let folder = decode_file(fixture("images"), &Options::default()).unwrap_err().to_string();
    assert!(folder.contains("images") && folder.contains("directory"), "{folder}");
    let text = decode_file(fixture("resize/meta.json"), &Options::default()).unwrap_err().to_string();
    assert!(text.contains("meta.json") && text.contains("expected JPEG"), "{text}");
}
