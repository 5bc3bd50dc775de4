//! JPEG, PNG, WebP and BMP files. This may allocate; it is for pictures from disk, not for camera frames.

#![forbid(unsafe_code)]

use std::format;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;
use std::string::ToString;
use std::vec::Vec;

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
    let mut reader = ImageReader::new(Cursor::new(data));
    let guess = image::guess_format(data).map_err(|_| {
        message("this is not a picture in a format that can be read: expected JPEG, PNG, WebP or BMP")
    })?;
    reader.set_format(guess);
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE), Some(MAX_SIDE));
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);

    let mut decoder = reader.into_decoder().map_err(|error| explain(guess, &error))?;
    let (width, height) = decoder.dimensions();
    // The JPEG decoder does not keep to the limit on memory by itself.
    if decoder.total_bytes() > MAX_BYTES {
        return Err(message(&format!(
            "the picture of {width} x {height} pixels needs more than 1 GiB when decoded: scale it down first"
        )));
    }
    if guess == ImageFormat::Jpeg && jpeg_is_cut(data) {
        return Err(message("the JPEG ends before its last pixels: it was cut off, copy or take it again"));
    }
    let orientation = decoder.orientation().map_err(|error| explain(guess, &error))?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(|error| explain(guess, &error))?;
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

/// True if the markers of a JPEG lead to the end of the data and not to an end-of-image marker. Headers that make no
/// sense are left to the decoder.
fn jpeg_is_cut(data: &[u8]) -> bool {
    let mut at = 2;
    loop {
        let Some(&[first, marker]) = data.get(at..at + 2) else { return true };
        match (first, marker) {
            (0xff, 0xd9) => return false,
            // Fill bytes and restart markers have no length.
            (0xff, 0xff) => at += 1,
            (0xff, 0x01 | 0xd0..=0xd7) => at += 2,
            (0xff, _) => {
                let Some(&[high, low]) = data.get(at + 2..at + 4) else { return true };
                at += 2 + usize::from(u16::from_be_bytes([high, low]));
                if marker == 0xda {
                    // A scan lasts until a marker that is neither a stuffed zero nor a restart.
                    let scan = data.get(at..).unwrap_or_default();
                    let ends = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xd0..=0xd7 | 0xff);
                    let Some(length) = scan.windows(2).position(ends) else { return true };
                    at += length;
                }
            }
            _ => return false,
        }
    }
}

fn explain(format: ImageFormat, error: &ImageError) -> Error {
    let name = format.extensions_str().first().copied().unwrap_or("picture").to_uppercase();
    match error {
        ImageError::Unsupported(_) => {
            message(&format!("this {name} cannot be read ({error}): convert it to an ordinary JPEG or PNG"))
        }
        ImageError::Limits(_) => message(&format!(
            "this {name} is too large ({error}): at most {MAX_SIDE} pixels per side and 1 GiB decoded"
        )),
        _ => message(&format!("this {name} is damaged or incomplete: {error}")),
    }
}

fn message(text: &str) -> Error {
    Error::Message(text.to_string())
}
