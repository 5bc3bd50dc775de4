//! JPEG, PNG, WebP, GIF, TIFF and BMP files. This allocates; it is for pictures from disk, not for camera frames.
//!
//! [`decode`] takes bytes, [`decode_file`] a path. What a hostile file can cost is bounded by [`Limits`].

#![forbid(unsafe_code)]

mod jpeg;
mod kind;
mod limits;
mod orientation;
mod png;
mod raster;

use std::borrow::ToOwned;
use std::format;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::string::String;
use std::vec::Vec;

use self::kind::Kind;
pub use self::limits::Limits;
use self::orientation::Orientation;
use super::{FrameSpec, MAX_SIDE, Packed, PixelView};
use crate::PictureFault::{self, Damaged, TooLarge, Unsupported};
use crate::{Error, Result};

/// How pictures are decoded.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// How much a picture may cost.
    pub limits: Limits,
    /// The frame that the picture is decoded for, if speed counts more than its exact levels: a JPEG comes out at 1/2,
    /// 1/4 or 1/8 of its size if it is then still twice as large as the resized picture and the frame shows the same
    /// part of it. Others, and small pictures, are decoded as ever.
    pub fast_for: Option<FrameSpec>,
}

/// A decoded picture, upright, 8 bits per channel, without padding between rows.
#[derive(Clone, Debug)]
pub struct DecodedImage {
    format: Packed,
    width: u32,
    height: u32,
    /// Width and height in the file, upright.
    full_size: (u32, u32),
    data: Vec<u8>,
    warnings: Vec<String>,
}

impl DecodedImage {
    fn new(format: Packed, width: u32, height: u32, data: Vec<u8>) -> Result<DecodedImage> {
        PixelView::new(format, &data, width, height, width as usize * format.bytes())?;
        Ok(DecodedImage { format, width, height, full_size: (width, height), data, warnings: Vec::new() })
    }

    /// The pixels. Transparency is still there ([`Packed::Rgba`]): the model's own rule decides what becomes of it.
    pub fn view(&self) -> PixelView<'_> {
        let stride = self.width as usize * self.format.bytes();
        PixelView::new(self.format, &self.data, self.width, self.height, stride)
            .expect("checked when the picture was made")
    }

    /// Format, width, height and the pixels, in rows without padding.
    pub fn packed(&self) -> (Packed, u32, u32, &[u8]) {
        (self.format, self.width, self.height, &self.data)
    }

    /// Width and height of the picture in the file, upright, in pixels: those of [`view`](Self::view) unless it was decoded
    /// at a fraction of its size ([`Options::fast_for`]).
    pub fn full_size(&self) -> (u32, u32) {
        self.full_size
    }

    /// What was wrong with the file although it could be decoded, as in "its end is missing". Usually nothing.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// Reads and decodes the picture in `path`, as [`decode`].
///
/// # Errors
/// What [`decode`] refuses and what the system refuses to read, both with the name of the file.
pub fn decode_file(path: impl AsRef<Path>, options: &Options) -> Result<DecodedImage> {
    let path = path.as_ref();
    let mut data = Vec::new();
    File::open(path)
        .and_then(|file| file.take(options.limits.memory().saturating_add(1)).read_to_end(&mut data))
        .map_err(|source| Error::Io { action: "read the picture", source }.in_file(path))?;
    decode(&data, options).map_err(|error| error.in_file(path))
}

/// Decodes a picture (the first frame of an animation, the first page of a TIFF) and turns it upright as its metadata
/// say, both as Pillow does. Of 16-bit channels the high byte is kept; palettes and CMYK become RGB.
///
/// A JPEG with less data than it should have, wrong restart markers or no end marker, and a PNG without its last
/// chunks are decoded as libjpeg-turbo and Pillow do, with [`DecodedImage::warnings`].
///
/// # Errors
/// An empty, cut or damaged picture; one of another kind, which is named; one above [`MAX_SIDE`] on a side or above
/// the limits.
pub fn decode(data: &[u8], options: &Options) -> Result<DecodedImage> {
    if data.len() as u64 > options.limits.memory() {
        return Err(too_large(format!(
            "the picture's file is larger than the {} bytes that the limit of {} pixels allows: scale it down or raise \
             the limit ({})",
            options.limits.memory(),
            options.limits.max_pixels,
            crate::knobs::MAX_PIXELS.name
        )));
    }
    let kind = Kind::of(data)?;
    let orientation = Orientation::of(data, kind);
    // The decoders are other people's code: should one of them panic on a damaged picture, only that picture is lost.
    let decoded = std::panic::catch_unwind(|| match kind {
        Kind::Jpeg => jpeg::decode(data, options, orientation),
        Kind::Png => png::decode(data, &options.limits, orientation),
        _ => raster::decode(data, kind, &options.limits, orientation),
    });
    let decoded =
        decoded.unwrap_or_else(|_| Err(picture(Damaged, "the picture is damaged: its decoder gave up")))?;
    orientation.apply(decoded)
}

fn picture(fault: PictureFault, problem: impl Into<String>) -> Error {
    Error::Picture { fault, problem: problem.into() }
}

fn too_large(problem: impl Into<String>) -> Error {
    picture(TooLarge, problem)
}

fn damaged(name: &str, why: &str) -> Error {
    picture(Damaged, ["this ", name, " is damaged or incomplete: ", why].concat())
}

fn unsupported(name: &str, what: &str) -> Error {
    picture(
        Unsupported,
        ["this ", name, " cannot be read (", what, "): convert it to an ordinary JPEG or PNG"].concat(),
    )
}

fn check_sides(width: u32, height: u32) -> Result<()> {
    if width.max(height) <= MAX_SIDE {
        return Ok(());
    }
    Err(too_large(format!(
        "the picture of {width} x {height} pixels is too large: at most {MAX_SIDE} per side are possible"
    )))
}

fn owned(text: &str) -> String {
    text.to_owned()
}
