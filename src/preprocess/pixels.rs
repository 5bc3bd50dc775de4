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

/// What the levels of luminance and chroma mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum YuvColor {
    /// BT.601, luminance 16..=235 and chroma 16..=240: most cameras.
    #[default]
    Bt601,
    /// BT.601, all 256 levels: JPEG, MJPEG webcams.
    Bt601Full,
    /// BT.709, limited range: high-definition video.
    Bt709,
    /// BT.709, all 256 levels.
    Bt709Full,
}

/// A conversion to RGB in 8-bit fixed point.
#[derive(Clone, Copy)]
struct YuvMatrix {
    /// Level of black.
    black: i32,
    /// Factor of luminance.
    luma: i32,
    /// Of Cr in red, of Cb and Cr in green, and of Cb in blue.
    chroma: [i32; 4],
}

impl YuvColor {
    const fn matrix(self) -> YuvMatrix {
        let (black, luma, chroma) = match self {
            YuvColor::Bt601 => (16, 298, [409, -100, -208, 516]),
            YuvColor::Bt601Full => (0, 256, [359, -88, -183, 454]),
            YuvColor::Bt709 => (16, 298, [459, -55, -136, 541]),
            YuvColor::Bt709Full => (0, 256, [403, -48, -120, 475]),
        };
        YuvMatrix { black, luma, chroma }
    }
}

impl YuvMatrix {
    fn rgb(self, y: u8, cb: u8, cr: u8) -> [u8; 3] {
        let YuvMatrix { black, luma, chroma: [red, green_blue, green_red, blue] } = self;
        // Half a level, for rounding.
        let y = luma * (i32::from(y) - black) + 128;
        let (cb, cr) = (i32::from(cb) - 128, i32::from(cr) - 128);
        [y + red * cr, y + green_blue * cb + green_red * cr, y + blue * cb]
            .map(|level| (level >> 8).clamp(0, 255) as u8)
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
    /// Cb and Cr interleaved at half the resolution, Cb at byte `blue` of a pair.
    Nv {
        luma: Plane<'a>,
        chroma: Plane<'a>,
        blue: usize,
    },
    I420 {
        luma: Plane<'a>,
        blue: Plane<'a>,
        red: Plane<'a>,
    },
    /// Four bytes for two pixels: luminance at byte `luma` and two further, Cb and Cr at the others.
    Yuv422 {
        plane: Plane<'a>,
        luma: usize,
    },
}

/// A borrowed picture of 8-bit pixels, 1 to [`MAX_SIDE`] on each side. Its buffers were checked when it was made.
#[derive(Clone, Copy, Debug)]
pub struct PixelView<'a> {
    planes: Planes<'a>,
    yuv: YuvColor,
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
        Ok(Self::whole(Planes::Packed(format, plane), width, height))
    }

    fn whole(planes: Planes<'a>, width: usize, height: usize) -> Self {
        PixelView { planes, yuv: YuvColor::default(), left: 0, top: 0, width, height }
    }

    /// The same picture with its luminance and chroma understood as `yuv`. RGB and grey are what they are.
    #[must_use]
    pub fn with_yuv(self, yuv: YuvColor) -> Self {
        PixelView { yuv, ..self }
    }

    /// A camera picture in NV12: a plane of luminance, and one of interleaved Cb, Cr at half the resolution (rounded
    /// up). Each plane comes with its stride in bytes. Levels are BT.601, limited range, unless
    /// [`with_yuv`](Self::with_yuv) says otherwise.
    ///
    /// # Errors
    /// As [`PixelView::new`], for either plane.
    pub fn nv12(luma: (&'a [u8], usize), chroma: (&'a [u8], usize), width: u32, height: u32) -> Result<Self> {
        Self::nv(luma, chroma, 0, width, height)
    }

    /// A camera picture in NV21: as [`nv12`](Self::nv12) with Cr before Cb (Android).
    ///
    /// # Errors
    /// As [`PixelView::new`], for either plane.
    pub fn nv21(luma: (&'a [u8], usize), chroma: (&'a [u8], usize), width: u32, height: u32) -> Result<Self> {
        Self::nv(luma, chroma, 1, width, height)
    }

    fn nv(
        luma: (&'a [u8], usize),
        chroma: (&'a [u8], usize),
        blue: usize,
        width: u32,
        height: u32,
    ) -> Result<Self> {
        let (width, height) = check_sides(width, height)?;
        let luma = Plane::new(luma.0, luma.1, width, height)?;
        let chroma = Plane::new(chroma.0, chroma.1, width.div_ceil(2) * 2, height.div_ceil(2))?;
        Ok(Self::whole(Planes::Nv { luma, chroma, blue }, width, height))
    }

    /// A camera picture in YUYV (YUY2): Y, Cb, Y, Cr for each two pixels of a row, whose rows start `stride` bytes
    /// apart. The last pixel of an odd width has four bytes too. Levels as in [`nv12`](Self::nv12).
    ///
    /// # Errors
    /// As [`PixelView::new`].
    pub fn yuyv(data: &'a [u8], width: u32, height: u32, stride: usize) -> Result<Self> {
        Self::yuv422(data, 0, width, height, stride)
    }

    /// A camera picture in UYVY: as [`yuyv`](Self::yuyv) in the order Cb, Y, Cr, Y.
    ///
    /// # Errors
    /// As [`PixelView::new`].
    pub fn uyvy(data: &'a [u8], width: u32, height: u32, stride: usize) -> Result<Self> {
        Self::yuv422(data, 1, width, height, stride)
    }

    fn yuv422(data: &'a [u8], luma: usize, width: u32, height: u32, stride: usize) -> Result<Self> {
        let (width, height) = check_sides(width, height)?;
        let plane = Plane::new(data, stride, width.div_ceil(2) * 4, height)?;
        Ok(Self::whole(Planes::Yuv422 { plane, luma }, width, height))
    }

    /// A camera picture in I420: planes of luminance, Cb and Cr, the last two at half the resolution (rounded up).
    /// Each plane comes with its stride in bytes. Levels as in [`nv12`](Self::nv12).
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
        Ok(Self::whole(Planes::I420 { luma, blue, red }, width, height))
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
        Ok(PixelView { left, top, width: width as usize, height: height as usize, ..*self })
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
        let matrix = self.yuv.matrix();
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
            Planes::Nv { luma, chroma, blue } => {
                let (luma, chroma) = (luma.row(y), chroma.row(y / 2));
                pixels.zip(columns).for_each(|(to, x)| {
                    let pair = x / 2 * 2;
                    to.copy_from_slice(&matrix.rgb(luma[x], chroma[pair + blue], chroma[pair + 1 - blue]));
                });
            }
            Planes::Yuv422 { plane, luma } => {
                let (row, blue) = (plane.row(y), 1 - luma);
                pixels.zip(columns).for_each(|(to, x)| {
                    let pair = x / 2 * 4;
                    let y = row[pair + luma + x % 2 * 2];
                    to.copy_from_slice(&matrix.rgb(y, row[pair + blue], row[pair + blue + 2]));
                });
            }
            Planes::I420 { luma, blue, red } => {
                let (luma, blue, red) = (luma.row(y), blue.row(y / 2), red.row(y / 2));
                pixels.zip(columns).for_each(|(to, x)| {
                    to.copy_from_slice(&matrix.rgb(luma[x], blue[x / 2], red[x / 2]));
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
