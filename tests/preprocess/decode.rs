use std::io::Cursor;

use image::{DynamicImage, ImageFormat};
use ocelli::format::Alpha;
use ocelli::preprocess::decode::{decode_bytes, decode_file};

use super::{assert_same, fixture, noise, open, pixels, read};

/// `image` as a file.
fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    image.write_to(&mut out, format).unwrap();
    out.into_inner()
}

/// A JPEG with an EXIF segment that says nothing but its orientation.
fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    // TIFF header, one directory entry: tag 0x0112, SHORT, one value; no next directory.
    let mut exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let length = (exif.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat()
}

#[test]
fn exif_orientations() {
    let jpeg = read("images/photo.jpg");
    let plain = decode_bytes(&jpeg).unwrap();
    let (width, height) = (plain.view().width() as usize, plain.view().height() as usize);
    let source = pixels(&plain.view());
    assert_ne!(width, height);
    for orientation in 1..=8 {
        let upright = decode_bytes(&with_orientation(&jpeg, orientation)).unwrap();
        let (w, h) = if orientation < 5 { (width, height) } else { (height, width) };
        assert_eq!((upright.view().width() as usize, upright.view().height() as usize), (w, h));
        // Where the standard says that the stored row 0 and column 0 lie: 1 top left, 2 top right, 3 bottom right,
        // 4 bottom left, 5 left top, 6 right top, 7 right bottom, 8 left bottom.
        let stored = |x: usize, y: usize| match orientation {
            1 => (x, y),
            2 => (w - 1 - x, y),
            3 => (w - 1 - x, h - 1 - y),
            4 => (x, h - 1 - y),
            5 => (y, x),
            6 => (y, w - 1 - x),
            7 => (h - 1 - y, w - 1 - x),
            _ => (h - 1 - y, x),
        };
        let mut expected = Vec::new();
        for y in 0..h {
            for x in 0..w {
                let (sx, sy) = stored(x, y);
                expected.extend_from_slice(&source[(sy * width + sx) * 3..][..3]);
            }
        }
        assert_same(&pixels(&upright.view()), &expected, &format!("orientation {orientation}"));
    }
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
    // 65500 x 65500 pixels in a kilobyte.
    let mut bomb = intact.clone();
    bomb[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xdc, 0xff, 0xdc]);
    let error = decode_bytes(&bomb).unwrap_err().to_string();
    assert!(error.contains("1 GiB"), "{error}");
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

#[test]
fn a_cut_picture_is_an_error_at_every_length() {
    let png = read("images/landscape.png");
    let jpeg = read("images/photo.jpg");
    for (name, data) in [("JPEG", &jpeg), ("PNG", &png)] {
        let step = data.len() / 61;
        for length in
            (1..61).map(|i| i * step).chain([1, 2, 3, data.len() - if name == "PNG" { 20 } else { 1 }])
        {
            assert!(decode_bytes(&data[..length]).is_err(), "{name} cut to {length} of {}", data.len());
        }
        decode_bytes(data).unwrap();
        // Bytes after the end are no reason to refuse.
        decode_bytes(&[&data[..], b"trailing"].concat()).unwrap();
    }
    let error = decode_bytes(&jpeg[..jpeg.len() / 2]).unwrap_err().to_string();
    assert!(error.contains("cut off"), "{error}");
}

#[test]
fn what_is_no_picture_is_an_error_that_says_so() {
    let problem = |data: &[u8]| decode_bytes(data).unwrap_err().to_string();
    assert!(problem(b"").contains("0 bytes"));
    assert!(problem(b"just some text, no picture").contains("expected JPEG, PNG, WebP or BMP"));
    let gif = problem(b"GIF89a\x01\0\x01\0\0\0\0;");
    assert!(gif.contains("GIF") && gif.contains("convert"), "{gif}");

    // A header that promises 60000 x 60000 pixels must not be believed with memory.
    let mut bomb = read("images/landscape.png");
    bomb[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    let crc = crc32(&bomb[12..29]).to_be_bytes();
    bomb[29..33].copy_from_slice(&crc);
    let error = problem(&bomb);
    assert!(error.contains("1 GiB"), "{error}");

    let missing = decode_file(fixture("images/none.png")).unwrap_err().to_string();
    assert!(missing.contains("none.png") && missing.contains("read the picture"), "{missing}");
    let folder = decode_file(fixture("images")).unwrap_err().to_string();
    assert!(folder.contains("images") && folder.contains("directory"), "{folder}");
    let text = decode_file(fixture("resize/meta.json")).unwrap_err().to_string();
    assert!(text.contains("meta.json") && text.contains("expected JPEG"), "{text}");
}

/// The checksum of a PNG chunk, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8)
            .fold(crc ^ u32::from(byte), |crc: u32, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}
