//! Borrowed pictures: packed and planar formats, with strides, read as RGB one row at a time.

#![forbid(unsafe_code)]

use core::ops::Range;

use super::MAX_SIDE;
use crate::format::Alpha;
use crate::{Error, Result};

/// The order of bytes in a packed pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packed {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red (OpenCV).
    Bgr,
    /// Red, green, blue, straight (not premultiplied) alpha.
    Rgba,
    /// Blue, green, red, straight alpha.
    Bgra,
    /// One byte of luminance.
    Gray,
}

impl Packed {
    /// Bytes of one pixel.
    pub const fn bytes(self) -> usize {
        match self {
            Packed::Gray => 1,
            Packed::Rgb | Packed::Bgr => 3,
            Packed::Rgba | Packed::Bgra => 4,
        }
    }
}

/// A borrowed plane of bytes: row `y` starts at `y · stride`.
#[derive(Clone, Copy, Debug)]
struct Plane<'a> {
    data: &'a [u8],
    stride: usize,
}

impl<'a> Plane<'a> {
    /// `row_bytes` bytes in each of `rows` rows. The last row need not be padded to the stride.
    fn new(data: &'a [u8], stride: usize, row_bytes: usize, rows: usize) -> Result<Self> {
        if stride < row_bytes {
            return Err(wrong("the stride is shorter than a row of pixels, in bytes", row_bytes, stride));
        }
        // A stride near usize::MAX must not wrap; the largest value fails the comparison below.
        let needed = stride.saturating_mul(rows - 1).saturating_add(row_bytes);
        if data.len() < needed {
            return Err(wrong("the pixel buffer is too short, in bytes", needed, data.len()));
        }
        Ok(Plane { data, stride })
    }

    fn row(&self, y: usize) -> &'a [u8] {
        &self.data[y * self.stride..]
    }
}

#[derive(Clone, Copy, Debug)]
enum Planes<'a> {
    Packed(Packed, Plane<'a>),
    Nv12 { luma: Plane<'a>, chroma: Plane<'a> },
    I420 { luma: Plane<'a>, blue: Plane<'a>, red: Plane<'a> },
}

/// A borrowed picture of 8-bit pixels, 1 to [`MAX_SIDE`] on each side. Its buffers were checked when it was made.
#[derive(Clone, Copy, Debug)]
pub struct PixelView<'a> {
    planes: Planes<'a>,
    /// Where the picture starts in its planes, in pixels.
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

impl<'a> PixelView<'a> {
    /// A packed picture whose rows start `stride` bytes apart.
    ///
    /// # Errors
    /// A side outside 1..=[`MAX_SIDE`], a stride shorter than a row, a buffer that ends before the last pixel.
    pub fn new(format: Packed, data: &'a [u8], width: u32, height: u32, stride: usize) -> Result<Self> {
        let (width, height) = check_sides(width, height)?;
        let plane = Plane::new(data, stride, width * format.bytes(), height)?;
        Ok(PixelView { planes: Planes::Packed(format, plane), left: 0, top: 0, width, height })
    }

    /// A camera picture in NV12: a plane of luminance, and one of interleaved Cb, Cr at half the resolution (rounded
    /// up). Each plane comes with its stride in bytes. Levels are BT.601, limited range (16..=235).
    ///
    /// # Errors
    /// As [`PixelView::new`], for either plane.
    pub fn nv12(luma: (&'a [u8], usize), chroma: (&'a [u8], usize), width: u32, height: u32) -> Result<Self> {
        let (width, height) = check_sides(width, height)?;
        let luma = Plane::new(luma.0, luma.1, width, height)?;
        let chroma = Plane::new(chroma.0, chroma.1, width.div_ceil(2) * 2, height.div_ceil(2))?;
        Ok(PixelView { planes: Planes::Nv12 { luma, chroma }, left: 0, top: 0, width, height })
    }

    /// A camera picture in I420: planes of luminance, Cb and Cr, the last two at half the resolution (rounded up).
    /// Each plane comes with its stride in bytes. Levels are BT.601, limited range (16..=235).
    ///
    /// # Errors
    /// As [`PixelView::new`], for any plane.
    pub fn i420(
        luma: (&'a [u8], usize),
        blue: (&'a [u8], usize),
        red: (&'a [u8], usize),
        width: u32,
        height: u32,
    ) -> Result<Self> {
        let (width, height) = check_sides(width, height)?;
        let luma = Plane::new(luma.0, luma.1, width, height)?;
        let blue = Plane::new(blue.0, blue.1, width.div_ceil(2), height.div_ceil(2))?;
        let red = Plane::new(red.0, red.1, width.div_ceil(2), height.div_ceil(2))?;
        Ok(PixelView { planes: Planes::I420 { luma, blue, red }, left: 0, top: 0, width, height })
    }

    /// The part of this picture that starts `left`, `top` pixels from its corner. Nothing is copied.
    ///
    /// # Errors
    /// The part is empty or does not lie inside.
    pub fn crop(&self, left: u32, top: u32, width: u32, height: u32) -> Result<Self> {
        check_sides(width, height)?;
        for (start, side, whole) in [(left, width, self.width), (top, height, self.height)] {
            let end = start as usize + side as usize;
            if end > whole {
                return Err(wrong("the part does not lie inside the picture, in pixels", whole, end));
            }
        }
        let (left, top) = (self.left + left as usize, self.top + top as usize);
        Ok(PixelView { planes: self.planes, left, top, width: width as usize, height: height as usize })
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width as u32
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height as u32
    }

    /// The pixels `columns` of row `y` where they already lie as RGB.
    pub fn rgb_slice(&self, y: usize, columns: Range<usize>) -> Option<&'a [u8]> {
        let (y, columns) = (y + self.top, columns.start + self.left..columns.end + self.left);
        match &self.planes {
            Planes::Packed(Packed::Rgb, plane) => Some(&plane.row(y)[columns.start * 3..columns.end * 3]),
            _ => None,
        }
    }

    /// The whole picture where it already lies as RGB without padding.
    #[cfg(feature = "decode")]
    pub(super) fn contiguous_rgb(&self) -> Option<&'a [u8]> {
        match &self.planes {
            Planes::Packed(Packed::Rgb, plane) if plane.stride == self.width * 3 && self.left == 0 => {
                Some(&plane.data[self.top * plane.stride..][..self.height * plane.stride])
            }
            _ => None,
        }
    }

    /// Writes the pixels `columns` of row `y` to `out` as RGB, `3 · columns.len()` bytes.
    ///
    /// Colour under straight alpha is composited on white as Pillow's `alpha_composite` does it, or kept as it is
    /// ([`Alpha::Drop`]). Chroma is repeated for the pixels that share it.
    ///
    /// # Panics
    /// If `y`, `columns` or the length of `out` do not fit the picture.
    pub fn row_rgb(&self, y: usize, columns: Range<usize>, alpha: Alpha, out: &mut [u8]) {
        assert!(y < self.height && columns.end <= self.width && out.len() == 3 * columns.len());
        let (y, columns) = (y + self.top, columns.start + self.left..columns.end + self.left);
        let (start, pixels) = (columns.start, out.chunks_exact_mut(3));
        match &self.planes {
            Planes::Packed(format, plane) => {
                let row = &plane.row(y)[start * format.bytes()..columns.end * format.bytes()];
                match format {
                    Packed::Rgb => out.copy_from_slice(row),
                    Packed::Gray => pixels.zip(row).for_each(|(to, &level)| to.fill(level)),
                    Packed::Bgr => pixels.zip(row.chunks_exact(3)).for_each(|(to, from)| {
                        to.copy_from_slice(&[from[2], from[1], from[0]]);
                    }),
                    Packed::Rgba => pixels.zip(row.chunks_exact(4)).for_each(|(to, from)| {
                        to.copy_from_slice(&opaque([from[0], from[1], from[2]], from[3], alpha));
                    }),
                    Packed::Bgra => pixels.zip(row.chunks_exact(4)).for_each(|(to, from)| {
                        to.copy_from_slice(&opaque([from[2], from[1], from[0]], from[3], alpha));
                    }),
                }
            }
            Planes::Nv12 { luma, chroma } => {
                let (luma, chroma) = (luma.row(y), chroma.row(y / 2));
                pixels.zip(columns).for_each(|(to, x)| {
                    let pair = x / 2 * 2;
                    to.copy_from_slice(&bt601(luma[x], chroma[pair], chroma[pair + 1]));
                });
            }
            Planes::I420 { luma, blue, red } => {
                let (luma, blue, red) = (luma.row(y), blue.row(y / 2), red.row(y / 2));
                pixels.zip(columns).for_each(|(to, x)| {
                    to.copy_from_slice(&bt601(luma[x], blue[x / 2], red[x / 2]));
                });
            }
        }
    }
}

/// One pixel without its alpha. The rounding equals Pillow's for all 65,536 pairs of level and alpha.
fn opaque(rgb: [u8; 3], alpha: u8, rule: Alpha) -> [u8; 3] {
    match rule {
        Alpha::Drop => rgb,
        Alpha::White => rgb.map(|level| {
            let alpha = u32::from(alpha);
            let sum = u32::from(level) * alpha + 255 * (255 - alpha) + 128;
            // Division by 255, exact for 16-bit sums.
            (((sum >> 8) + sum) >> 8) as u8
        }),
    }
}

/// BT.601 limited range to RGB, in the customary 8-bit fixed point.
fn bt601(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let (y, cb, cr) = (298 * (i32::from(y) - 16) + 128, i32::from(cb) - 128, i32::from(cr) - 128);
    [y + 409 * cr, y - 100 * cb - 208 * cr, y + 516 * cb].map(|level| (level >> 8).clamp(0, 255) as u8)
}

fn check_sides(width: u32, height: u32) -> Result<(usize, usize)> {
    for side in [width, height] {
        if side == 0 {
            return Err(wrong("the picture is empty: each side needs at least one pixel", 1, 0));
        }
        if side > MAX_SIDE {
            return Err(wrong(
                "the picture is too large, in pixels per side",
                MAX_SIDE as usize,
                side as usize,
            ));
        }
    }
    Ok((width as usize, height as usize))
}

pub(super) fn wrong(problem: &'static str, expected: usize, found: usize) -> Error {
    Error::Pixels { problem, expected: expected as u64, found: found as u64 }
}
