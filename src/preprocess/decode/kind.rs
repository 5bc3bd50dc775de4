//! What kind of file it is, by its first bytes.

use std::format;

use image::ImageFormat;

use super::picture;
use crate::{Error, PictureFault, Result};

/// A kind of file that can be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Jpeg,
    Png,
    WebP,
    Gif,
    Tiff,
    Bmp,
}

impl Kind {
    /// The kind of `data`.
    ///
    /// # Errors
    /// Any other kind, with its name and what to do about it.
    pub(super) fn of(data: &[u8]) -> Result<Kind> {
        if data.is_empty() {
            return Err(picture(
                PictureFault::Damaged,
                "the picture is empty (0 bytes): was it written completely?",
            ));
        }
        if let Some((name, advice)) = foreign(data) {
            return Err(foreign_error(name, advice));
        }
        match data {
            [0xff, 0xd8, 0xff, ..] => Ok(Kind::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Ok(Kind::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Ok(Kind::WebP),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Ok(Kind::Gif),
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Ok(Kind::Tiff),
            [b'B', b'M', ..] => Ok(Kind::Bmp),
            _ => Err(picture(
                PictureFault::Unsupported,
                "this is not a picture in a format that can be read: expected JPEG, PNG, WebP, GIF, TIFF or BMP",
            )),
        }
    }

    /// The name of the kind.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Jpeg => "JPEG",
            Kind::Png => "PNG",
            Kind::WebP => "WebP",
            Kind::Gif => "GIF",
            Kind::Tiff => "TIFF",
            Kind::Bmp => "BMP",
        }
    }

    /// The kind as the `image` crate calls it.
    pub(super) fn format(self) -> ImageFormat {
        match self {
            Kind::Jpeg => ImageFormat::Jpeg,
            Kind::Png => ImageFormat::Png,
            Kind::WebP => ImageFormat::WebP,
            Kind::Gif => ImageFormat::Gif,
            Kind::Tiff => ImageFormat::Tiff,
            Kind::Bmp => ImageFormat::Bmp,
        }
    }
}

fn foreign_error(name: &str, advice: &str) -> Error {
    picture(PictureFault::Unsupported, format!("this is {name}, which cannot be read here: {advice}"))
}

const MAGICK: &str = "convert it to JPEG or PNG, as in `magick picture converted.png`";
const RAW: &str = "develop it to JPEG or TIFF first, as in `dcraw -T` or `darktable-cli`";
const VIDEO: &str = "take single frames from it, as in `ffmpeg -i video frame%04d.png`";

/// Kinds known by their first bytes.
const FIRST_BYTES: [(&[u8], &str, &str); 27] = [
    (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture", "convert it, as in `djxl picture.jxl picture.png`"),
    (b"\xff\x0a", "a JPEG XL picture", "convert it, as in `djxl picture.jxl picture.png`"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 picture", MAGICK),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture", MAGICK),
    (b"%PDF-", "a PDF document", "convert its pages, as in `pdftoppm -png document.pdf page`"),
    (b"%!PS", "a PostScript document", MAGICK),
    (b"II*\0\x10\0\0\0CR", "a camera's raw file (Canon CR2)", RAW),
    (b"FUJIFILMCCD-RAW", "a camera's raw file (Fujifilm RAF)", RAW),
    (b"IIRO", "a camera's raw file (Olympus ORF)", RAW),
    (b"IIRS", "a camera's raw file (Olympus ORF)", RAW),
    (b"MMOR", "a camera's raw file (Olympus ORF)", RAW),
    (b"IIU\0", "a camera's raw file (Panasonic RW2)", RAW),
    (b"FOVb", "a camera's raw file (Sigma X3F)", RAW),
    (b"\0MRM", "a camera's raw file (Minolta MRW)", RAW),
    (b"\x1a\x45\xdf\xa3", "a Matroska or WebM video", VIDEO),
    (b"\0\0\x01\xba", "an MPEG video", VIDEO),
    (b"FLV\x01", "a Flash video", VIDEO),
    (b"8BPS", "a Photoshop document", "export it as PNG"),
    (b"gimp xcf", "a GIMP document", "export it as PNG"),
    (b"\x76\x2f\x31\x01", "an OpenEXR picture", MAGICK),
    (b"#?RADIANCE", "a Radiance HDR picture", MAGICK),
    (b"qoif", "a QOI picture", MAGICK),
    (b"DDS ", "a DDS texture", MAGICK),
    (b"\0\0\x01\0", "an icon file", MAGICK),
    (b"PK\x03\x04", "a ZIP archive", "unpack it first"),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (
        b"version https://git-lfs.github.com/spec/",
        "a Git LFS pointer and not the picture itself",
        "fetch the picture with `git lfs pull`",
    ),
];

/// Name and advice for a file of a well-known kind that cannot be decoded here.
fn foreign(data: &[u8]) -> Option<(&'static str, &'static str)> {
    let known = FIRST_BYTES.iter().find(|(start, ..)| data.starts_with(start));
    known.map(|&(_, name, advice)| (name, advice)).or_else(|| media(data)).or_else(|| text(data))
}

/// Files of the ISO base media format (HEIC, AVIF, MP4), by their brands, and AVI.
fn media(data: &[u8]) -> Option<(&'static str, &'static str)> {
    if let [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', b' ', ..] = data {
        return Some(("an AVI video", VIDEO));
    }
    let [a, b, c, d, b'f', b't', b'y', b'p', ..] = *data else { return None };
    let end = (u32::from_be_bytes([a, b, c, d]) as usize).clamp(12, 256).min(data.len());
    let brands = || data[8..end].as_chunks::<4>().0.iter();
    let any = |names: &[&[u8; 4]]| brands().any(|brand| names.contains(&brand));
    Some(if any(&[b"avif", b"avis"]) {
        ("an AVIF picture", "convert it, as in `avifdec picture.avif picture.png`")
    } else if any(&[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"]) {
        (
            "a HEIC picture",
            "convert it, as in `heif-convert picture.heic picture.jpg`; iPhones save JPEG with Settings > Camera > Formats > Most Compatible",
        )
    } else if any(&[b"crx "]) {
        ("a camera's raw file (Canon CR3)", RAW)
    } else {
        ("an MP4 or QuickTime video", VIDEO)
    })
}

/// Markup, by what it begins with apart from space and an XML declaration.
fn text(data: &[u8]) -> Option<(&'static str, &'static str)> {
    let start = &data[..data.len().min(1024)];
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let begins =
        |with: &str| start.get(..with.len()).is_some_and(|s| s.eq_ignore_ascii_case(with.as_bytes()));
    let contains = |part: &[u8]| start.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part));
    if !start.starts_with(b"<") {
        return None;
    }
    if begins("<!doctype html") || contains(b"<html") {
        Some((
            "an HTML page and not a picture",
            "was the address that of a page, or did a download need a login?",
        ))
    } else if contains(b"<svg") {
        Some(("an SVG drawing", "convert it, as in `rsvg-convert -o picture.png picture.svg`"))
    } else {
        Some(("an XML document", "expected JPEG, PNG, WebP, GIF, TIFF or BMP"))
    }
}
