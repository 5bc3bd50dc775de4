//! Pictures of the caller's.

use crate::arguments::slice;
use crate::status::{Failure, OcelliStatus, Result};
use ocelli::preprocess::{Packed, PixelFormat, PixelView, YuvColor};

/// Red, green, blue.
pub const OCELLI_RGB: u32 = 1;
/// Blue, green, red (OpenCV).
pub const OCELLI_BGR: u32 = 2;
/// Red, green, blue, straight alpha.
pub const OCELLI_RGBA: u32 = 3;
/// Blue, green, red, straight alpha.
pub const OCELLI_BGRA: u32 = 4;
/// One byte of luminance.
pub const OCELLI_GRAY: u32 = 5;
/// Luminance; interleaved Cb, Cr at half the resolution.
pub const OCELLI_NV12: u32 = 6;
/// Luminance; interleaved Cr, Cb at half the resolution.
pub const OCELLI_NV21: u32 = 7;
/// Luminance; Cb; Cr, the last two at half the resolution (YUV420).
pub const OCELLI_I420: u32 = 8;
/// Y, Cb, Y, Cr for each two pixels (YUY2).
pub const OCELLI_YUYV: u32 = 9;
/// Cb, Y, Cr, Y for each two pixels.
pub const OCELLI_UYVY: u32 = 10;

/// BT.601, luminance 16..235 and chroma 16..240: most cameras.
pub const OCELLI_BT601: u32 = 0;
/// BT.601, all 256 levels: JPEG, MJPEG webcams.
pub const OCELLI_BT601_FULL: u32 = 1;
/// BT.709, limited range: high-definition video.
pub const OCELLI_BT709: u32 = 2;
/// BT.709, all 256 levels.
pub const OCELLI_BT709_FULL: u32 = 3;

/// A plane of bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct OcelliPlane {
    /// The first byte.
    pub data: *const u8,
    /// Bytes that are there.
    pub len: usize,
    /// Bytes from the start of one row to that of the next.
    pub stride: usize,
}

/// A picture of 8-bit pixels that is borrowed for the length of a call. Nothing is copied.
///
/// A planar format (NV12, NV21, I420) whose planes follow one another in one buffer needs only `planes[0]`, with the bytes
/// of all of them in its `len`, and the others' `data` null: chroma has the stride of luminance, or half of it in I420.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct OcelliImage {
    /// OCELLI_RGB, ...
    pub format: u32,
    /// OCELLI_BT601, ...: what luminance and chroma mean; 0 for other formats.
    pub color: u32,
    /// Width in pixels, 1 to 65535.
    pub width: u32,
    /// Height in pixels, 1 to 65535.
    pub height: u32,
    /// The planes; those that the format does not have are null.
    pub planes: [OcelliPlane; 3],
}

fn refuse(problem: String) -> Failure {
    Failure::new(OcelliStatus::OCELLI_BAD_ARGUMENT, problem)
}

/// Formats by number.
fn format_of(number: u32) -> Result<PixelFormat> {
    Ok(match number {
        OCELLI_RGB => PixelFormat::Packed(Packed::Rgb),
        OCELLI_BGR => PixelFormat::Packed(Packed::Bgr),
        OCELLI_RGBA => PixelFormat::Packed(Packed::Rgba),
        OCELLI_BGRA => PixelFormat::Packed(Packed::Bgra),
        OCELLI_GRAY => PixelFormat::Packed(Packed::Gray),
        OCELLI_NV12 => PixelFormat::Nv12,
        OCELLI_NV21 => PixelFormat::Nv21,
        OCELLI_I420 => PixelFormat::I420,
        OCELLI_YUYV => PixelFormat::Yuyv,
        OCELLI_UYVY => PixelFormat::Uyvy,
        _ => return Err(refuse(format!("{number} is no pixel format (OCELLI_RGB, ...)"))),
    })
}

/// The number of a format of packed pixels.
pub(crate) fn number_of(packed: Packed) -> u32 {
    match packed {
        Packed::Rgb => OCELLI_RGB,
        Packed::Bgr => OCELLI_BGR,
        Packed::Rgba => OCELLI_RGBA,
        Packed::Bgra => OCELLI_BGRA,
        Packed::Gray => OCELLI_GRAY,
    }
}

fn color_of(number: u32) -> Result<YuvColor> {
    match number {
        OCELLI_BT601 => Ok(YuvColor::Bt601),
        OCELLI_BT601_FULL => Ok(YuvColor::Bt601Full),
        OCELLI_BT709 => Ok(YuvColor::Bt709),
        OCELLI_BT709_FULL => Ok(YuvColor::Bt709Full),
        _ => Err(refuse(format!("{number} is no meaning of luminance and chroma (OCELLI_BT601, ...)"))),
    }
}

impl OcelliImage {
    /// The picture.
    ///
    /// # Safety
    /// Planes that are not null have `len` bytes, which stay unchanged for as long as the result is in use.
    pub(crate) unsafe fn view<'a>(&self) -> Result<PixelView<'a>> {
        let (format, color) = (format_of(self.format)?, color_of(self.color)?);
        let (width, height, [first, second, third]) = (self.width, self.height, self.planes);
        // SAFETY: the caller's promise.
        let bytes = |plane: OcelliPlane, what| unsafe { slice(plane.data, plane.len, what) };
        let pixels = bytes(first, "the first plane")?;
        let in_one = second.data.is_null() && third.data.is_null();
        let view = match format {
            _ if in_one => PixelView::in_buffer(format, pixels, width, height, first.stride)?,
            PixelFormat::Nv12 | PixelFormat::Nv21 if third.data.is_null() => {
                let (luma, chroma) =
                    ((pixels, first.stride), (bytes(second, "the second plane")?, second.stride));
                match format {
                    PixelFormat::Nv12 => PixelView::nv12(luma, chroma, width, height)?,
                    _ => PixelView::nv21(luma, chroma, width, height)?,
                }
            }
            PixelFormat::I420 => {
                let blue = (bytes(second, "the second plane")?, second.stride);
                let red = (bytes(third, "the third plane")?, third.stride);
                PixelView::i420((pixels, first.stride), blue, red, width, height)?
            }
            _ => return Err(refuse(format!("{} has not so many planes", format.name()))),
        };
        Ok(view.with_yuv(color))
    }
}
