//! AnyRes: a large or wide picture as a grid of tiles, each of which the model sees in full resolution.

#![forbid(unsafe_code)]

use super::PixelView;
use crate::Result;

/// Equal parts of a picture: rows × columns, so many pixels that they cannot be equal differ by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiles {
    /// Rows of tiles.
    pub rows: u32,
    /// Columns of tiles.
    pub columns: u32,
}

/// Where a tile lies in its picture, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TileBox {
    /// From the left edge.
    pub left: u32,
    /// From the upper edge.
    pub top: u32,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

impl Tiles {
    /// Most rows, and most columns, of a grid. Each tile costs as much as a whole picture.
    pub const MAX_SIDE: u32 = 64;

    /// The grid of at most `most` that fits a picture of `width` × `height` best, for a model that sees `input`, (height,
    /// width), pixels per tile.
    ///
    /// LLaVA-NeXT's rule: scale the picture, its aspect kept, into the pixels that all tiles see together; take the grid
    /// that keeps most of the picture's own pixels, then the one that leaves the fewest unused. Of equal ones the
    /// first, counting columns within rows. No grid has more than [`Tiles::MAX_SIDE`] rows or columns.
    pub fn fit(most: Tiles, width: u32, height: u32, input: (u32, u32)) -> Tiles {
        let own = u64::from(width) * u64::from(height);
        let (mut best, mut found) = (None, Tiles { rows: 1, columns: 1 });
        let most_rows = most.rows.clamp(1, height.clamp(1, Self::MAX_SIDE));
        let most_columns = most.columns.clamp(1, width.clamp(1, Self::MAX_SIDE));
        for rows in 1..=most_rows {
            for columns in 1..=most_columns {
                let seen = (f64::from(rows) * f64::from(input.0), f64::from(columns) * f64::from(input.1));
                let scale = (seen.0 / f64::from(height)).min(seen.1 / f64::from(width));
                let scaled = (f64::from(width) * scale) as u64 * (f64::from(height) * scale) as u64;
                let kept = scaled.min(own);
                let unused = (seen.0 * seen.1) as u64 - kept;
                let better = best.is_none_or(|(most, least)| kept > most || (kept == most && unused < least));
                if better {
                    (best, found) = (Some((kept, unused)), Tiles { rows, columns });
                }
            }
        }
        found
    }

    /// Number of tiles, at most `u32::MAX`.
    pub fn count(&self) -> u32 {
        self.rows.saturating_mul(self.columns)
    }

    /// Where tile `index`, counted along the rows, lies in a picture of `width` × `height`. A tile that does not exist
    /// has no pixels.
    pub fn tile(&self, index: u32, width: u32, height: u32) -> TileBox {
        if index >= self.count() {
            return TileBox { left: 0, top: 0, width: 0, height: 0 };
        }
        let cut =
            |side: u32, part: u32, parts: u32| (u64::from(side) * u64::from(part) / u64::from(parts)) as u32;
        let (row, column) = (index / self.columns, index % self.columns);
        let (left, right) = (cut(width, column, self.columns), cut(width, column + 1, self.columns));
        let (top, bottom) = (cut(height, row, self.rows), cut(height, row + 1, self.rows));
        TileBox { left, top, width: right - left, height: bottom - top }
    }

    /// Tile `index` of `image`.
    ///
    /// # Errors
    /// More tiles than pixels, or no such tile.
    pub fn view<'a>(&self, image: &PixelView<'a>, index: u32) -> Result<PixelView<'a>> {
        let TileBox { left, top, width, height } = self.tile(index, image.width(), image.height());
        image.crop(left, top, width, height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_follow_the_picture() {
        let most = Tiles { rows: 3, columns: 3 };
        let fit = |width, height| {
            let tiles = Tiles::fit(most, width, height, (224, 224));
            (tiles.rows, tiles.columns)
        };
        // No larger than what the model sees: one tile.
        assert_eq!(fit(224, 224), (1, 1));
        assert_eq!(fit(100, 40), (1, 1));
        assert_eq!(fit(448, 448), (2, 2));
        assert_eq!(fit(672, 224), (1, 3));
        assert_eq!(fit(200, 640), (3, 1));
        assert_eq!(fit(4000, 3000), (3, 3));
        assert_eq!(fit(1344, 448), (1, 3));
        assert_eq!(fit(1, 1), (1, 1));
    }

    #[test]
    fn grids_of_any_size_are_found_at_once() {
        let endless = Tiles { rows: u32::MAX, columns: u32::MAX };
        let found = Tiles::fit(endless, 65_535, 65_535, (32, 32));
        assert_eq!((found.rows, found.columns), (Tiles::MAX_SIDE, Tiles::MAX_SIDE));
        assert_eq!(endless.count(), u32::MAX);
        let nothing = Tiles { rows: 0, columns: 0 };
        let found = Tiles::fit(nothing, 10, 10, (32, 32));
        assert_eq!((found.rows, found.columns), (1, 1));
        let view = PixelView::new(super::super::Packed::Gray, &[0; 4], 2, 2, 2).unwrap();
        assert!(nothing.view(&view, 0).is_err());
        assert!(Tiles { rows: 1, columns: 2 }.view(&view, 2).is_err());
    }

    #[test]
    fn tiles_cover_the_picture_once() {
        let data = [7u8; 10 * 7];
        let view = PixelView::new(super::super::Packed::Gray, &data, 10, 7, 10).unwrap();
        let tiles = Tiles { rows: 2, columns: 3 };
        let mut seen = [0; 70];
        for index in 0..tiles.count() {
            let TileBox { left, top, width, height } = tiles.tile(index, 10, 7);
            let part = tiles.view(&view, index).unwrap();
            assert_eq!((part.width(), part.height()), (width, height));
            for y in top..top + height {
                (left..left + width).for_each(|x| seen[(y * 10 + x) as usize] += 1);
            }
        }
        assert_eq!(seen, [1; 70]);
        assert!(Tiles { rows: 8, columns: 1 }.view(&view, 0).is_err());
    }
}
