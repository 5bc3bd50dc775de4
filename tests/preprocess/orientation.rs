//! Which way up a picture is, wherever its file says so. The numbers are what Pillow 13's `ImageOps.exif_transpose` makes
//! of the same files.

use super::{decode_bytes, pixels, read};

/// How values are written: byte order, type, how many.
#[derive(Clone, Copy)]
struct Tag {
    big_endian: bool,
    kind: u16,
    count: u32,
}

const SHORT: Tag = Tag { big_endian: false, kind: 3, count: 1 };

impl Tag {
    fn number(self, value: u64, len: usize) -> Vec<u8> {
        let bytes = value.to_be_bytes();
        let bytes = &bytes[8 - len..];
        if self.big_endian { bytes.to_vec() } else { bytes.iter().rev().copied().collect() }
    }

    fn value(self, value: u8) -> Vec<u8> {
        let number = |len| self.number(u64::from(value), len);
        match self.kind {
            1 | 2 | 6 | 7 => number(1),
            3 | 8 => number(2),
            5 | 10 => [number(4), self.number(1, 4)].concat(),
            11 => self.number(u64::from(f32::from(value).to_bits()), 4),
            12 => self.number(f64::from(value).to_bits(), 8),
            16 => number(8),
            _ => number(4),
        }
    }

    /// A TIFF structure whose first directory has a tag without meaning and Orientation.
    fn tiff(self, orientation: u8) -> Vec<u8> {
        let values = self.value(orientation).repeat(self.count as usize);
        let mut out = if self.big_endian { b"MM\0*".to_vec() } else { b"II*\0".to_vec() };
        out.extend(self.number(8, 4));
        out.extend(self.number(2, 2));
        let mut entry = |tag: u64, kind: u16, count: u32, value: &[u8]| {
            out.extend(
                [self.number(tag, 2), self.number(u64::from(kind), 2), self.number(u64::from(count), 4)]
                    .concat(),
            );
            let mut value = value.to_vec();
            value.resize(4, 0);
            out.extend(value);
        };
        entry(0x100, 3, 1, &self.number(7, 2));
        // Behind this entry and the offset of the next directory.
        if values.len() > 4 {
            entry(0x112, self.kind, self.count, &self.number(38, 4));
        } else {
            entry(0x112, self.kind, self.count, &values);
        }
        out.extend([0; 4]);
        if values.len() > 4 {
            out.extend(values);
        }
        out
    }
}

fn prefixed(tiff: &[u8]) -> Vec<u8> {
    [b"Exif\0\0", tiff].concat()
}

fn jpeg(segments: &[Vec<u8>]) -> Vec<u8> {
    let stored = read("decode/444.jpg");
    let mut out = stored[..2].to_vec();
    for segment in segments {
        out.extend([0xff, 0xe1]);
        out.extend((segment.len() as u16 + 2).to_be_bytes());
        out.extend(segment);
    }
    out.extend(&stored[2..]);
    out
}

fn xmp(text: &str) -> Vec<u8> {
    format!("<x:xmpmeta><rdf:Description {text}</x:xmpmeta>").into_bytes()
}

fn jpeg_xmp(text: &str) -> Vec<u8> {
    [b"http://ns.adobe.com/xap/1.0/\0", &xmp(text)[..]].concat()
}

/// The chunks in front of the pixels, or behind them. Checksums are wrong: nobody looks.
fn png(chunks: &[(&[u8; 4], Vec<u8>)], behind: bool) -> Vec<u8> {
    let stored = read("decode/444.png");
    let at = if behind { stored.len() - 12 } else { 33 };
    let mut out = stored[..at].to_vec();
    for (name, data) in chunks {
        out.extend((data.len() as u32).to_be_bytes());
        out.extend([&name[..], data, &[0; 4]].concat());
    }
    out.extend(&stored[at..]);
    out
}

fn webp(chunks: &[(&[u8; 4], Vec<u8>)], flags: u8) -> Vec<u8> {
    let view = decode_bytes(&read("decode/444.jpg")).unwrap();
    let (width, height) = (view.view().width(), view.view().height());
    let mut body = b"VP8X\x0a\0\0\0".to_vec();
    body.extend([flags, 0, 0, 0, width as u8 - 1, 0, 0, height as u8 - 1, 0, 0]);
    let image = image::RgbImage::from_raw(width, height, pixels(&view.view())).unwrap();
    let mut plain = std::io::Cursor::new(Vec::new());
    image.write_to(&mut plain, image::ImageFormat::WebP).unwrap();
    body.extend(&plain.into_inner()[12..]);
    for (name, data) in chunks {
        body.extend([&name[..], &(data.len() as u32).to_le_bytes(), data].concat());
        body.resize(body.len().next_multiple_of(2), 0);
    }
    [b"RIFF", &(body.len() as u32 + 4).to_le_bytes()[..], b"WEBP", &body].concat()
}

/// A text of hexadecimal digits as ImageMagick writes it.
fn profile(data: &[u8]) -> Vec<u8> {
    let digits: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
    let lines: Vec<&str> =
        (0..digits.len()).step_by(72).map(|at| &digits[at..digits.len().min(at + 72)]).collect();
    format!("\nexif\n{:8}\n{}\n", data.len(), lines.join("\n")).into_bytes()
}

fn text(keyword: &str, middle: &[u8], text: &[u8]) -> Vec<u8> {
    [keyword.as_bytes(), b"\0", middle, text].concat()
}

fn deflate(data: &[u8]) -> Vec<u8> {
    miniz_oxide::deflate::compress_to_vec_zlib(data, 6)
}

/// The pixel that lies at the upright place (`x`, `y`) of a picture stored as `width` × `height`: EXIF 2.3, 4.6.4 A.
fn stored(orientation: u8, x: usize, y: usize, width: usize, height: usize) -> (usize, usize) {
    match orientation {
        2 => (width - 1 - x, y),
        3 => (width - 1 - x, height - 1 - y),
        4 => (x, height - 1 - y),
        5 => (y, x),
        6 => (y, height - 1 - x),
        7 => (width - 1 - y, height - 1 - x),
        8 => (width - 1 - y, x),
        _ => (x, y),
    }
}

#[track_caller]
fn assert_turned(data: &[u8], plain: &[u8], orientation: u8, what: &str) {
    let (plain, found) = (decode_bytes(plain).unwrap(), decode_bytes(data).unwrap());
    let (width, height) = (plain.view().width() as usize, plain.view().height() as usize);
    let (wide, high) = if orientation < 5 { (width, height) } else { (height, width) };
    assert_eq!((found.view().width() as usize, found.view().height() as usize), (wide, high), "{what}");
    let (from, to) = (pixels(&plain.view()), pixels(&found.view()));
    for y in 0..high {
        for x in 0..wide {
            let (column, row) = stored(orientation, x, y, width, height);
            assert_eq!(
                to[(y * wide + x) * 3..][..3],
                from[(row * width + column) * 3..][..3],
                "{what}: {x}, {y}"
            );
        }
    }
}

/// A TIFF structure by itself, to be put into any container.
fn exif(orientation: u8) -> Vec<u8> {
    SHORT.tiff(orientation)
}

#[test]
fn all_eight_in_every_container() {
    let plain = read("decode/444.jpg");
    for orientation in 0..=9 {
        let turned = if (1..=8).contains(&orientation) { orientation } else { 1 };
        assert_turned(&jpeg(&[prefixed(&exif(orientation))]), &plain, turned, "JPEG");
        for behind in [false, true] {
            let file = png(&[(b"eXIf", exif(orientation))], behind);
            assert_turned(&file, &read("decode/444.png"), turned, "PNG");
        }
        let file = webp(&[(b"EXIF", exif(orientation))], 8);
        assert_turned(&file, &webp(&[], 0), turned, "WebP");
        let tag = format!("tiff:Orientation=\"{orientation}\"/>");
        assert_turned(&jpeg(&[jpeg_xmp(&tag)]), &plain, turned, "XMP");
    }
}

#[test]
fn any_type_of_number() {
    let plain = read("decode/444.jpg");
    for kind in 0..=17 {
        for (big_endian, count) in [(false, 1), (true, 1), (false, 3), (true, 3)] {
            let tag = Tag { big_endian, kind, count };
            let expected = if matches!(kind, 3..=6 | 8..=13 | 16) { 6 } else { 1 };
            let what = format!("type {kind}, big endian {big_endian}, {count} values");
            assert_turned(&jpeg(&[prefixed(&tag.tiff(6))]), &plain, expected, &what);
        }
    }
    let none = Tag { count: 0, ..SHORT };
    assert_turned(&jpeg(&[prefixed(&none.tiff(6))]), &plain, 1, "no values");
}

#[test]
fn places_in_a_jpeg() {
    let plain = read("decode/444.jpg");
    let attribute = |orientation: u8| jpeg_xmp(&format!("tiff:Orientation=\"{orientation}\"/>"));
    let element = jpeg_xmp("><tiff:Orientation>6</tiff:Orientation></rdf:Description>");
    let split = prefixed(&exif(6));
    for (segments, expected, what) in [
        (vec![element], 6, "element"),
        (vec![jpeg_xmp("tiff:Orientation='6'/>")], 1, "single quotes"),
        (vec![jpeg_xmp("tiff:Orientation=\"63\"/>")], 6, "more digits"),
        (vec![attribute(6), attribute(8)], 8, "the last packet"),
        (vec![attribute(6), prefixed(&exif(8))], 8, "EXIF comes first"),
        (vec![prefixed(&exif(1)), attribute(6)], 1, "also when it is upright"),
        (vec![prefixed(&exif(0)), attribute(6)], 1, "also when it makes no sense"),
        (vec![prefixed(&exif(6)[..12]), attribute(6)], 6, "a cut directory says nothing"),
        (vec![prefixed(b""), attribute(6)], 6, "empty EXIF"),
        (vec![prefixed(&prefixed(&exif(6)))], 6, "prefix twice"),
        (vec![split[..30].to_vec(), prefixed(&split[30..])], 6, "in two segments"),
        (vec![prefixed(b"XX*\0\x08\0\0\0\0\0")], 1, "no TIFF"),
        (vec![prefixed(&[b"II\0*", &exif(6)[4..]].concat())], 6, "version in the wrong order"),
    ] {
        assert_turned(&jpeg(&segments), &plain, expected, what);
    }
    // Behind the first scan nobody looks.
    let late = [&plain[..plain.len() - 2], &jpeg(&[prefixed(&exif(6))])[2..][..50], b"\xff\xd9"].concat();
    assert_turned(&late, &plain, 1, "behind the scan");
}

#[test]
fn places_in_a_png() {
    let plain = read("decode/444.png");
    let packet = xmp("tiff:Orientation=\"6\"/>");
    let raw = profile(&prefixed(&exif(6)));
    for behind in [false, true] {
        for (chunks, expected, what) in [
            (vec![(b"eXIf", prefixed(&exif(6)))], 6, "with a prefix"),
            (vec![(b"tEXt", text("Raw profile type exif", b"", &raw))], 6, "profile"),
            (vec![(b"zTXt", text("Raw profile type exif", b"\0", &deflate(&raw)))], 6, "profile, compressed"),
            (vec![(b"iTXt", text("Raw profile type exif", b"\0\0\0\0", &raw))], 6, "profile, international"),
            (
                vec![(b"tEXt", text("Raw profile type APP1", b"", &raw))],
                1,
                "a name that Pillow does not know",
            ),
            (vec![(b"tEXt", text("exif", b"", &prefixed(&exif(6))))], 6, "text of bytes"),
            (vec![(b"iTXt", text("XML:com.adobe.xmp", b"\0\0en\0xx\0", &packet))], 6, "XMP"),
            (
                vec![(b"iTXt", text("XML:com.adobe.xmp", b"\x01\0\0\0", &deflate(&packet)))],
                6,
                "XMP, compressed",
            ),
            (vec![(b"tEXt", text("XML:com.adobe.xmp", b"", &packet))], 6, "XMP as plain text"),
            (vec![(b"iTXt", text("XML:com.adobe.xmp", b"\0\0\0\0", &packet)), (b"eXIf", exif(8))], 8, "both"),
            (vec![(b"eXIf", exif(6)), (b"eXIf", exif(8))], 8, "two"),
            (
                vec![(b"tEXt", text("Raw profile type exif", b"", &raw)), (b"eXIf", exif(8))],
                8,
                "profile and chunk",
            ),
            (vec![(b"zTXt", text("Raw profile type exif", b"\0", b"no zlib"))], 1, "damaged"),
            (vec![(b"tEXt", text("Raw profile type exif", b"", b"\nexif\n 6\nzz"))], 1, "no digits"),
        ] {
            assert_turned(&png(&chunks, behind), &plain, expected, &format!("{what}, behind {behind}"));
        }
    }
    let behind = [&plain[..], &png(&[(b"eXIf", exif(6))], false)[33..]].concat();
    assert_turned(&behind, &plain, 1, "behind the end");
    // Text that inflates to more than a megabyte is not read.
    let mut bomb = packet.clone();
    bomb.resize(3 << 20, b' ');
    let file = png(&[(b"iTXt", text("XML:com.adobe.xmp", b"\x01\0\0\0", &deflate(&bomb)))], false);
    assert_turned(&file, &plain, 1, "inflated too far");
}

#[test]
fn places_in_a_webp() {
    let plain = webp(&[], 0);
    let packet = xmp("tiff:Orientation=\"6\"/>");
    for (chunks, flags, expected, what) in [
        (vec![(b"EXIF", prefixed(&Tag { big_endian: true, ..SHORT }.tiff(6)))], 8, 6, "with a prefix"),
        (vec![(b"XMP ", packet.clone())], 4, 6, "XMP"),
        (vec![(b"XMP ", packet.clone()), (b"EXIF", exif(8))], 12, 8, "both"),
        (vec![(b"EXIF", exif(6)), (b"EXIF", exif(8))], 8, 6, "the first of two"),
        (vec![(b"EXIF", exif(6))], 0, 1, "not announced"),
        (vec![(b"EXIF", exif(6))], 12, 6, "more announced than there is"),
    ] {
        assert_turned(&webp(&chunks, flags), &plain, expected, what);
    }
}

/// Metadata cut off or overwritten anywhere: the picture, turned or not, and no panic.
#[test]
fn damaged_metadata_do_not_spoil_a_picture() {
    let whole = Tag { big_endian: true, kind: 5, count: 2 }.tiff(6);
    let plain = decode_bytes(&read("decode/444.png")).unwrap();
    let area = plain.view().width() * plain.view().height();
    for at in 0..whole.len() {
        for byte in [0, 1, 0x7f, 0xff] {
            let mut exif = whole.clone();
            exif[at] = byte;
            for exif in [exif.clone(), exif[..at].to_vec()] {
                let found = decode_bytes(&png(&[(b"eXIf", exif)], true)).unwrap();
                assert_eq!(found.view().width() * found.view().height(), area);
            }
        }
    }
}
