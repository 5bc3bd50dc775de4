//! What the frames of a stream look like.

use clap::ValueEnum;
use ocelli::preprocess::{Packed, PixelView, YuvColor};
use ocelli::{Error, Result};

/// The format of a stream's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Planes of Y, Cb, Cr, the last two at half the resolution (I420): rpicam-vid
    Yuv420,
    /// A plane of Y, one of Cb and Cr in turns
    Nv12,
    /// Y, Cb, Y, Cr for two pixels (YUY2): many USB cameras
    Yuyv,
    /// Red, green, blue
    Rgb24,
    /// Blue, green, red: OpenCV
    Bgr24,
    /// One byte for each pixel
    Gray,
    /// JPEG pictures one after the other; what is between them is passed over
    Mjpeg,
}

/// What the levels of luminance and chroma mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// BT.601, luminance 16 to 235
    Bt601,
    /// BT.601, all levels
    Bt601Full,
    /// BT.709, luminance 16 to 235
    Bt709,
    /// BT.709, all levels
    Bt709Full,
}

impl From<Color> for YuvColor {
    fn from(color: Color) -> YuvColor {
        match color {
            Color::Bt601 => YuvColor::Bt601,
            Color::Bt601Full => YuvColor::Bt601Full,
            Color::Bt709 => YuvColor::Bt709,
            Color::Bt709Full => YuvColor::Bt709Full,
        }
    }
}

/// Raw frames: all have the same size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Raw {
    pub(crate) format: Format,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) color: YuvColor,
}

impl Raw {
    /// Bytes of a frame, rows without padding.
    pub(crate) fn frame_len(&self) -> usize {
        let (width, height) = (self.width as usize, self.height as usize);
        match self.format {
            Format::Yuv420 | Format::Nv12 => width * height + 2 * width.div_ceil(2) * height.div_ceil(2),
            Format::Yuyv => 4 * width.div_ceil(2) * height,
            Format::Rgb24 | Format::Bgr24 => 3 * width * height,
            Format::Gray | Format::Mjpeg => width * height,
        }
    }

    /// The picture in the bytes of a frame.
    ///
    /// # Errors
    /// Too few bytes, or a size that no picture has.
    pub(crate) fn view<'a>(&self, bytes: &'a [u8]) -> Result<PixelView<'a>> {
        let (width, height) = (self.width, self.height);
        let (wide, half) = (width as usize, width.div_ceil(2) as usize);
        let expected = self.frame_len();
        if bytes.len() < expected {
            let problem = "the frame is short, in bytes";
            return Err(Error::Pixels { problem, expected: expected as u64, found: bytes.len() as u64 });
        }
        let (luma, chroma) = bytes.split_at(wide * height as usize);
        let view = match self.format {
            Format::Yuv420 => {
                let (blue, red) = chroma.split_at(half * height.div_ceil(2) as usize);
                PixelView::i420((luma, wide), (blue, half), (red, half), width, height)
            }
            Format::Nv12 => PixelView::nv12((luma, wide), (chroma, 2 * half), width, height),
            Format::Yuyv => PixelView::yuyv(bytes, width, height, 4 * half),
            Format::Rgb24 => PixelView::new(Packed::Rgb, bytes, width, height, 3 * wide),
            Format::Bgr24 => PixelView::new(Packed::Bgr, bytes, width, height, 3 * wide),
            Format::Gray | Format::Mjpeg => PixelView::new(Packed::Gray, bytes, width, height, wide),
        };
        Ok(view?.with_yuv(self.color))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ocelli::format::Alpha;

    /// One red pixel at the right place, in every format, at an odd size.
    #[test]
    fn every_format_has_its_pixels_where_they_are() {
        let rgb = |format, bytes: &[u8], x: usize, y: usize| {
            let raw = Raw { format, width: 3, height: 3, color: YuvColor::Bt601 };
            assert_eq!(bytes.len(), raw.frame_len(), "{format:?}");
            assert!(raw.view(&bytes[1..]).is_err());
            let mut out = [0; 3];
            raw.view(bytes).unwrap().row_rgb(y, x..x + 1, Alpha::Drop, &mut out);
            out
        };
        let near = |found: [u8; 3], right: [u8; 3]| {
            assert!(found.iter().zip(right).all(|(a, b)| a.abs_diff(b) < 4), "{found:?}, not {right:?}");
        };
        // Red is Y 81, Cb 90, Cr 240; the lower right corner, whose chroma is its own.
        let mut planes = [16u8; 9].to_vec();
        planes[8] = 81;
        let planar = [&planes[..], &[128, 128, 128, 90], &[128, 128, 128, 240]].concat();
        near(rgb(Format::Yuv420, &planar, 2, 2), [255, 0, 0]);
        near(rgb(Format::Yuv420, &planar, 1, 1), [0, 0, 0]);
        let pairs = [&planes[..], &[128, 128, 128, 128, 128, 128, 90, 240]].concat();
        near(rgb(Format::Nv12, &pairs, 2, 2), [255, 0, 0]);
        let mut yuyv = [16, 128, 16, 128].repeat(6);
        yuyv[20..].copy_from_slice(&[81, 90, 16, 240]);
        near(rgb(Format::Yuyv, &yuyv, 2, 2), [255, 0, 0]);
        let mut packed = vec![0; 27];
        packed[24] = 255;
        assert_eq!(rgb(Format::Rgb24, &packed, 2, 2), [255, 0, 0]);
        assert_eq!(rgb(Format::Bgr24, &packed, 2, 2), [0, 0, 255]);
        assert_eq!(rgb(Format::Gray, &[0, 0, 0, 0, 0, 0, 0, 0, 9], 2, 2), [9; 3]);
    }
}
