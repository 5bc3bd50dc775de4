//! JPEG, PNG, WebP and BMP files. This may allocate; it is for pictures from disk, not for camera frames.

#![forbid(unsafe_code)]

mod jpeg;

use std::format;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;
use std::string::ToString;
use std::vec::Vec;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::{MAX_SIDE, Packed, PixelView};
use crate::{Error, Result};

/// Most bytes of a file, and of a decoded picture: room for 350 megapixels of RGB.
const MAX_BYTES: u64 = 1 << 30;

/// A decoded picture, upright, 8 bits per channel, without padding between rows.
#[derive(Clone, Debug)]
pub struct DecodedImage {
    format: Packed,
    width: u32,
    height: u32,
    data: Vec<u8>,
}

impl DecodedImage {
    /// The pixels. Transparency is still there ([`Packed::Rgba`]): the model's own rule decides what becomes of it.
    pub fn view(&self) -> PixelView<'_> {
        let stride = self.width as usize * self.format.bytes();
        PixelView::new(self.format, &self.data, self.width, self.height, stride)
            .expect("decode_bytes checked the size and the buffer")
    }
}

/// Reads and decodes the picture in `path`, as [`decode_bytes`].
///
/// # Errors
/// What [`decode_bytes`] refuses and what the system refuses to read, both with the name of the file.
pub fn decode_file(path: impl AsRef<Path>) -> Result<DecodedImage> {
    let path = path.as_ref();
    let mut data = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut data))
        .map_err(|source| Error::Io { action: "read the picture", source }.in_file(path))?;
    decode_bytes(&data).map_err(|error| error.in_file(path))
}

/// Decodes a JPEG, PNG, WebP or BMP picture (the first frame of an animation) and turns it upright as its EXIF
/// orientation says. 16-bit channels are rounded to 8 bits, palettes and CMYK become RGB.
///
/// # Errors
/// An empty, cut or damaged picture, one of another kind, one above [`MAX_SIDE`] on a side or 1 GiB decoded. A JPEG
/// without its end marker counts as cut, though many decoders would fill the missing part with grey.
pub fn decode_bytes(data: &[u8]) -> Result<DecodedImage> {
    if data.is_empty() {
        return Err(message("the picture is empty (0 bytes): was it written completely?"));
    }
    if data.len() as u64 > MAX_BYTES {
        return Err(message("the picture file is larger than 1 GiB: scale the picture down first"));
    }
    let guess = image::guess_format(data).map_err(|_| {
        message("this is not a picture in a format that can be read: expected JPEG, PNG, WebP or BMP")
    })?;
    let (mut image, orientation) = match guess {
        ImageFormat::Jpeg => jpeg::decode(data)?,
        _ => decode_other(data, guess)?,
    };
    image.apply_orientation(orientation);

    let (width, height) = (image.width(), image.height());
    let color = image.color();
    let (format, data) = match (color.has_color(), color.has_alpha()) {
        (_, true) => (Packed::Rgba, image.into_rgba8().into_raw()),
        (true, false) => (Packed::Rgb, image.into_rgb8().into_raw()),
        (false, false) => (Packed::Gray, image.into_luma8().into_raw()),
    };
    PixelView::new(format, &data, width, height, width as usize * format.bytes())?;
    Ok(DecodedImage { format, width, height, data })
}

/// Decodes what `image` can. The orientation is still to be applied.
fn decode_other(data: &[u8], format: ImageFormat) -> Result<(DynamicImage, Orientation)> {
    let mut reader = ImageReader::with_format(Cursor::new(data), format);
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE), Some(MAX_SIDE));
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);

    let mut decoder = reader.into_decoder().map_err(|error| explain(format, &error))?;
    let (width, height) = decoder.dimensions();
    if decoder.total_bytes() > MAX_BYTES {
        return Err(needs_too_much(width, height));
    }
    let orientation = decoder.orientation().map_err(|error| explain(format, &error))?;
    let image = DynamicImage::from_decoder(decoder).map_err(|error| explain(format, &error))?;
    Ok((image, orientation))
}

fn explain(format: ImageFormat, error: &ImageError) -> Error {
    let name = format.extensions_str().first().copied().unwrap_or("picture").to_uppercase();
    match error {
        ImageError::Unsupported(_) => {
            message(&format!("this {name} cannot be read ({error}): convert it to an ordinary JPEG or PNG"))
        }
        ImageError::Limits(_) => too_large(&name, error),
        _ => message(&format!("this {name} is damaged or incomplete: {error}")),
    }
}

fn too_large(name: &str, error: &dyn std::error::Error) -> Error {
    message(&format!(
        "this {name} is too large ({error}): at most {MAX_SIDE} pixels per side and 1 GiB decoded"
    ))
}

fn needs_too_much(width: u32, height: u32) -> Error {
    message(&format!(
        "the picture of {width} x {height} pixels needs more than 1 GiB when decoded: scale it down first"
    ))
}

fn message(text: &str) -> Error {
    Error::Message(text.to_string())
}
