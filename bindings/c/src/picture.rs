//! Picture files.

use crate::arguments::{path, slice, write};
use crate::handles::{self, Resource};
use crate::image::{OcelliImage, OcelliPlane, number_of};
use crate::status::{OcelliStatus, Result, guard};
use ocelli::knobs;
use ocelli::preprocess::decode::{DecodedImage, Limits, Options, decode, decode_file};
use std::ffi::c_char;
use std::ptr::null;

/// A decoded picture, upright.
pub struct OcelliPicture(DecodedImage);

impl Resource for OcelliPicture {
    const KIND: &'static str = "a picture";
}

fn options() -> Result<Options> {
    let mut options = Options::default();
    if let Some(max_pixels) = knobs::max_pixels()? {
        options.limits = Limits::new(max_pixels);
    }
    Ok(options)
}

/// Reads and decodes the picture file at `path`: JPEG, PNG, WebP, GIF, TIFF or BMP. Allocates; it is for files, not for a
/// camera's frames.
///
/// # Safety
/// `path` is null or a text that ends with a zero byte; `out` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ocelli_picture_open(
    path: *const c_char,
    out: *mut *mut OcelliPicture,
) -> OcelliStatus {
    guard(|| {
        // SAFETY: the caller's promise.
        let path = unsafe { self::path(path) }?;
        let picture = OcelliPicture(decode_file(path, &options()?)?);
        // SAFETY: the caller's promise.
        unsafe { handles::give(picture, out) }
    })
}

/// Decodes the picture file that lies in memory, `len` bytes at `data`.
///
/// # Safety
/// `data` is null or has `len` bytes; `out` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ocelli_picture_decode(
    data: *const u8,
    len: usize,
    out: *mut *mut OcelliPicture,
) -> OcelliStatus {
    guard(|| {
        // SAFETY: the caller's promise.
        let bytes = unsafe { slice(data, len, "the picture's data") }?;
        let picture = OcelliPicture(decode(bytes, &options()?)?);
        // SAFETY: the caller's promise.
        unsafe { handles::give(picture, out) }
    })
}

/// Frees the handle. Null is left alone. Images that were made of it must not be used any more.
#[unsafe(no_mangle)]
pub extern "C" fn ocelli_picture_free(picture: *mut OcelliPicture) -> OcelliStatus {
    guard(|| handles::free(picture))
}

/// Writes an image to `out` that borrows the picture's pixels until the picture is freed.
///
/// # Safety
/// `out` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ocelli_picture_image(
    picture: *const OcelliPicture,
    out: *mut OcelliImage,
) -> OcelliStatus {
    guard(|| {
        let picture = handles::get(picture)?;
        let (format, width, height, data) = picture.0.packed();
        let stride = width as usize * format.bytes();
        let none = OcelliPlane { data: null(), len: 0, stride: 0 };
        let pixels = OcelliPlane { data: data.as_ptr(), len: data.len(), stride };
        let image =
            OcelliImage { format: number_of(format), color: 0, width, height, planes: [pixels, none, none] };
        // SAFETY: the caller's promise.
        unsafe { write(out, image, "the place for the image") }
    })
}
