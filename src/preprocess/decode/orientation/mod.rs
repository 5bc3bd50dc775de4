//! Which way up a picture is: what Pillow's `ImageOps.exif_transpose` finds in any container.
//!
//! EXIF's Orientation tag decides; where there is none, `tiff:Orientation` in XMP does. Damaged metadata never fail a
//! picture: they say nothing, and the picture stays as it is stored.

mod containers;
mod exif;
mod png;

use super::kind::Kind;
use super::{DecodedImage, limits};
use crate::Result;

/// How the stored picture is to be turned, by EXIF's numbers: where its row 0 and its column 0 lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Orientation {
    #[default]
    TopLeft = 1,
    TopRight = 2,
    BottomRight = 3,
    BottomLeft = 4,
    LeftTop = 5,
    RightTop = 6,
    RightBottom = 7,
    LeftBottom = 8,
}

/// The metadata of a file that may hold its orientation.
#[derive(Debug, Default)]
struct Metadata<T> {
    /// A TIFF structure, perhaps behind `Exif\0\0`.
    exif: Option<T>,
    /// An XMP packet.
    xmp: Option<T>,
}

impl<T: AsRef<[u8]>> Metadata<T> {
    fn orientation(&self) -> Orientation {
        let in_exif = self.exif.as_ref().and_then(|exif| exif::orientation(exif.as_ref()));
        let value = in_exif.or_else(|| xmp_orientation(self.xmp.as_ref()?.as_ref()));
        value.map_or_else(Orientation::default, Orientation::from_number)
    }
}

impl Orientation {
    /// The orientation of the picture in the file `data`.
    pub(super) fn of(data: &[u8], kind: Kind) -> Orientation {
        match kind {
            Kind::Jpeg => containers::jpeg(data).orientation(),
            Kind::Png => png::metadata(data).orientation(),
            Kind::WebP => containers::webp(data).orientation(),
            Kind::Tiff => containers::tiff(data).orientation(),
            Kind::Gif | Kind::Bmp => Orientation::TopLeft,
        }
    }

    fn from_number(number: u8) -> Orientation {
        use Orientation::*;
        match number {
            2 => TopRight,
            3 => BottomRight,
            4 => BottomLeft,
            5 => LeftTop,
            6 => RightTop,
            7 => RightBottom,
            8 => LeftBottom,
            _ => TopLeft,
        }
    }

    /// True if width and height change places.
    pub(super) fn swaps_sides(self) -> bool {
        self as u8 >= 5
    }

    /// Turns `image` upright.
    ///
    /// # Errors
    /// No memory for the turned copy.
    pub(super) fn apply(self, image: DecodedImage) -> Result<DecodedImage> {
        if self == Orientation::TopLeft {
            return Ok(image);
        }
        let mut turned = limits::zeros(image.data.len())?;
        let (width, height) = (image.width as usize, image.height as usize);
        match image.format.bytes() {
            1 => self.turn::<1>(&image.data, width, height, &mut turned),
            3 => self.turn::<3>(&image.data, width, height, &mut turned),
            _ => self.turn::<4>(&image.data, width, height, &mut turned),
        }
        let upright = |(width, height)| if self.swaps_sides() { (height, width) } else { (width, height) };
        let (width, height) = upright((image.width, image.height));
        Ok(DecodedImage { width, height, full_size: upright(image.full_size), data: turned, ..image })
    }

    /// Writes the turned picture. Pixels of `N` bytes.
    fn turn<const N: usize>(self, from: &[u8], width: usize, height: usize, to: &mut [u8]) {
        use Orientation::*;
        let (from, to) = (from.as_chunks::<N>().0, to.as_chunks_mut::<N>().0);
        let (right, bottom) = (width - 1, height - 1);
        // Where the upright pixel (x, y) is stored.
        let stored = |x: usize, y: usize| match self {
            TopLeft => (x, y),
            TopRight => (right - x, y),
            BottomRight => (right - x, bottom - y),
            BottomLeft => (x, bottom - y),
            LeftTop => (y, x),
            RightTop => (y, bottom - x),
            RightBottom => (right - y, bottom - x),
            LeftBottom => (right - y, x),
        };
        let (wide, high) = if self.swaps_sides() { (height, width) } else { (width, height) };
        // In squares, so that neither picture is walked down whole columns.
        const SIDE: usize = 32;
        for top in (0..high).step_by(SIDE) {
            for left in (0..wide).step_by(SIDE) {
                for y in top..high.min(top + SIDE) {
                    for x in left..wide.min(left + SIDE) {
                        let (column, row) = stored(x, y);
                        to[y * wide + x] = from[row * width + column];
                    }
                }
            }
        }
    }
}

/// The digit after the first `tiff:Orientation`, as an attribute (`="6"`) or an element (`>6<`).
fn xmp_orientation(xmp: &[u8]) -> Option<u8> {
    const NAME: &[u8] = b"tiff:Orientation";
    xmp.windows(NAME.len()).enumerate().filter(|(_, window)| *window == NAME).find_map(|(at, _)| {
        match xmp[at + NAME.len()..] {
            [b'=', b'"', digit @ b'0'..=b'9', ..] | [b'>', digit @ b'0'..=b'9', ..] => Some(digit - b'0'),
            _ => None,
        }
    })
}
