//! Pictures that lie in one buffer, by the name of their format.

#![forbid(unsafe_code)]

use super::pixels::wrong;
use super::{Packed, PixelView};
use crate::Result;

/// A format of 8-bit pixels in one buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PixelFormat {
    /// One plane of whole pixels.
    Packed(Packed),
    /// A plane of luminance, then one of interleaved Cb, Cr at half the resolution.
    Nv12,
    /// The same with Cr before Cb.
    Nv21,
    /// A plane of luminance, then one of Cb and one of Cr at half the resolution and half the stride.
    I420,
    /// Y, Cb, Y, Cr for each two pixels.
    Yuyv,
    /// Cb, Y, Cr, Y for each two pixels.
    Uyvy,
}

impl PixelFormat {
    /// All of them.
    pub const ALL: [PixelFormat; 10] = [
        PixelFormat::Packed(Packed::Rgb),
        PixelFormat::Packed(Packed::Bgr),
        PixelFormat::Packed(Packed::Rgba),
        PixelFormat::Packed(Packed::Bgra),
        PixelFormat::Packed(Packed::Gray),
        PixelFormat::Nv12,
        PixelFormat::Nv21,
        PixelFormat::I420,
        PixelFormat::Yuyv,
        PixelFormat::Uyvy,
    ];

    /// Its name: rgb, bgr, rgba, bgra, gray, nv12, nv21, i420, yuyv or uyvy.
    pub const fn name(self) -> &'static str {
        match self {
            PixelFormat::Packed(Packed::Rgb) => "rgb",
            PixelFormat::Packed(Packed::Bgr) => "bgr",
            PixelFormat::Packed(Packed::Rgba) => "rgba",
            PixelFormat::Packed(Packed::Bgra) => "bgra",
            PixelFormat::Packed(Packed::Gray) => "gray",
            PixelFormat::Nv12 => "nv12",
            PixelFormat::Nv21 => "nv21",
            PixelFormat::I420 => "i420",
            PixelFormat::Yuyv => "yuyv",
            PixelFormat::Uyvy => "uyvy",
        }
    }

    /// Bytes of a row of `width` pixels in the first plane: the smallest stride.
    pub const fn row_bytes(self, width: u32) -> usize {
        let width = width as usize;
        match self {
            PixelFormat::Packed(packed) => width * packed.bytes(),
            PixelFormat::Nv12 | PixelFormat::Nv21 | PixelFormat::I420 => width,
            PixelFormat::Yuyv | PixelFormat::Uyvy => width.div_ceil(2) * 4,
        }
    }
}

impl<'a> PixelView<'a> {
    /// A picture whose planes follow one another in `data`: the rows of the first start `stride` bytes apart, those of an
    /// interleaved chroma plane too, and those of separate ones half as far.
    ///
    /// # Errors
    /// As [`PixelView::new`]; or chroma does not fit the stride, which must be even.
    pub fn in_buffer(
        format: PixelFormat,
        data: &'a [u8],
        width: u32,
        height: u32,
        stride: usize,
    ) -> Result<PixelView<'a>> {
        let planar = matches!(format, PixelFormat::Nv12 | PixelFormat::Nv21 | PixelFormat::I420);
        if planar && !stride.is_multiple_of(2) {
            let problem = "the stride is odd, but two pixels share their chroma, in bytes";
            return Err(wrong(problem, stride.saturating_add(1), stride));
        }
        // Too short a buffer gives empty planes, which are refused for it below.
        let (rows, after) = (height as usize, |bytes: usize| data.get(bytes..).unwrap_or(&[]));
        let chroma = stride.saturating_mul(rows);
        match format {
            PixelFormat::Packed(packed) => PixelView::new(packed, data, width, height, stride),
            PixelFormat::Nv12 => PixelView::nv12((data, stride), (after(chroma), stride), width, height),
            PixelFormat::Nv21 => PixelView::nv21((data, stride), (after(chroma), stride), width, height),
            PixelFormat::I420 => {
                let red = chroma.saturating_add((stride / 2).saturating_mul(rows.div_ceil(2)));
                let (blue, red) = ((after(chroma), stride / 2), (after(red), stride / 2));
                PixelView::i420((data, stride), blue, red, width, height)
            }
            PixelFormat::Yuyv => PixelView::yuyv(data, width, height, stride),
            PixelFormat::Uyvy => PixelView::uyvy(data, width, height, stride),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Alpha;
    use std::vec::Vec;

    fn row(view: &PixelView<'_>, y: usize) -> Vec<u8> {
        let mut out = std::vec![0; 3 * view.width() as usize];
        view.row_rgb(y, 0..view.width() as usize, Alpha::Drop, &mut out);
        out
    }

    #[test]
    fn planes_are_found_behind_one_another() {
        // 4 x 2 pixels, two bytes of padding: luminance of white, then of black; chroma of red.
        let (white, black, blue, red) = (235, 16, 90, 240);
        let luma = [[white, white, white, white, 7, 7], [black, black, black, black, 7, 7]].concat();
        let interleaved = [&luma[..], &[blue, red, blue, red, 7, 7]].concat();
        let swapped = [&luma[..], &[red, blue, red, blue, 7, 7]].concat();
        let planar = [&luma[..], &[blue, blue, 7], &[red, red, 7]].concat();
        let view = |format, data| PixelView::in_buffer(format, data, 4, 2, 6).unwrap();
        let nv12 = view(PixelFormat::Nv12, &interleaved);
        let chroma = [blue, red, blue, red];
        let right = PixelView::nv12((&luma, 6), (&chroma, 6), 4, 2).unwrap();
        for y in 0..2 {
            assert_eq!(row(&nv12, y), row(&right, y));
            assert_eq!(row(&view(PixelFormat::Nv21, &swapped), y), row(&right, y));
            assert_eq!(row(&view(PixelFormat::I420, &planar), y), row(&right, y));
        }
        assert_ne!(row(&nv12, 0), row(&nv12, 1));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for format in PixelFormat::ALL {
            let stride = format.row_bytes(4);
            let chroma = if matches!(format, PixelFormat::Nv12 | PixelFormat::Nv21 | PixelFormat::I420) {
                stride
            } else {
                0
            };
            let enough = std::vec![0; 2 * stride + chroma];
            let short = &enough[1..];
            assert!(PixelView::in_buffer(format, short, 4, 2, stride).is_err(), "{}", format.name());
            assert!(PixelView::in_buffer(format, &enough, 4, 4, stride).is_err(), "{}", format.name());
            assert!(PixelView::in_buffer(format, &enough, 4, 2, stride).is_ok(), "{}", format.name());
            assert!(PixelView::in_buffer(format, &enough, 4, 2, stride - 1).is_err());
            assert!(PixelView::in_buffer(format, &enough, 4, 2, usize::MAX).is_err());
            assert!(PixelView::in_buffer(format, &enough, u32::MAX, u32::MAX, usize::MAX - 1).is_err());
        }
        let odd = PixelView::in_buffer(PixelFormat::I420, &[0; 100], 4, 2, 5);
        assert!(odd.unwrap_err().to_string().contains("odd"));
    }

    use std::string::ToString;
}
