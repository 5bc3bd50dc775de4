//! Whether a frame shows something else than the one that was scored last.

use ocelli::format::Alpha;
use ocelli::preprocess::PixelView;

/// The picture is compared in so many rows and columns of cells.
const CELLS: usize = 32;
/// Rows of pixels that are read of each row of cells.
const ROWS: usize = 2;

/// Compares the mean brightness of cells with that of the frame which was scored last: a scene that changes slowly is
/// scored again when it has changed enough, however small each step was.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Levels (of 255) that a cell must differ by.
    level: f32,
    /// Cells of the frame that was scored last, and of this one.
    scored: Vec<f32>,
    cells: Vec<f32>,
    /// A row of pixels, RGB.
    row: Vec<u8>,
    size: (u32, u32),
}

impl Gate {
    /// A frame has changed if a cell differs by more than `level` levels.
    pub(crate) fn new(level: f32) -> Gate {
        let cells = vec![0.0; CELLS * CELLS];
        Gate { level, scored: cells.clone(), cells, row: Vec::new(), size: (0, 0) }
    }

    /// Whether `view` differs from the frame for which [`accept`](Self::accept) was called last. Allocates only for a
    /// wider picture than any before.
    pub(crate) fn is_changed(&mut self, view: &PixelView<'_>) -> bool {
        let (width, height) = (view.width() as usize, view.height() as usize);
        self.row.resize(3 * width, 0);
        self.cells.fill(0.0);
        // Small pictures have fewer rows and columns than cells; the same cell is then read several times, or not at all.
        for (index, cells) in self.cells.chunks_exact_mut(CELLS).enumerate() {
            for part in 0..ROWS {
                let y = (2 * (ROWS * index + part) + 1) * height / (2 * ROWS * CELLS);
                view.row_rgb(y, 0..width, Alpha::White, &mut self.row);
                for (column, cell) in cells.iter_mut().enumerate() {
                    let start = column * width / CELLS;
                    let end = ((column + 1) * width / CELLS).max(start + 1);
                    let pixels = self.row[3 * start..3 * end].as_chunks::<3>().0;
                    let sum: u32 = pixels
                        .iter()
                        .map(|&[red, green, blue]| u32::from(red) + 2 * u32::from(green) + u32::from(blue))
                        .sum();
                    *cell += sum as f32 / (4 * ROWS * (end - start)) as f32;
                }
            }
        }
        let size = (view.width(), view.height());
        let other = std::mem::replace(&mut self.size, size) != size;
        let far = |(a, b): (&f32, &f32)| (a - b).abs() > self.level;
        other || self.cells.iter().zip(&self.scored).any(far)
    }

    /// The frame that was looked at last is the one to compare with.
    pub(crate) fn accept(&mut self) {
        std::mem::swap(&mut self.scored, &mut self.cells);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ocelli::preprocess::Packed;

    const SIZE: (u32, u32) = (160, 120);

    fn changed(gate: &mut Gate, pixels: &[u8]) -> bool {
        let view = PixelView::new(Packed::Gray, pixels, SIZE.0, SIZE.1, SIZE.0 as usize).unwrap();
        let changed = gate.is_changed(&view);
        if changed {
            gate.accept();
        }
        changed
    }

    fn still() -> Vec<u8> {
        (0..SIZE.0 * SIZE.1).map(|i| (40 + i % 160) as u8).collect()
    }

    #[test]
    fn noise_is_no_change_and_a_small_thing_is_one() {
        let (mut gate, mut pixels) = (Gate::new(6.0), still());
        assert!(changed(&mut gate, &pixels), "the first frame");
        let mut random = 1u32;
        for _ in 0..50 {
            let noisy: Vec<u8> = pixels
                .iter()
                .map(|level| {
                    random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    // A spread of 9 levels, standard deviation 2.6.
                    level + (random >> 24) as u8 % 9 - 4
                })
                .collect();
            assert!(!changed(&mut gate, &noisy));
        }
        // 12 x 12 of 160 x 120 pixels.
        for y in 50..62 {
            pixels[y * 160 + 70..][..12].fill(255);
        }
        assert!(changed(&mut gate, &pixels));
        assert!(!changed(&mut gate, &pixels));
    }

    #[test]
    fn slow_changes_add_up() {
        let (mut gate, mut pixels) = (Gate::new(6.0), still());
        let mut scored = 0;
        for _ in 0..50 {
            scored += usize::from(changed(&mut gate, &pixels));
            pixels.iter_mut().for_each(|level| *level = level.saturating_add(1));
        }
        assert_eq!(scored, 8, "the first, and then every seventh");
    }

    #[test]
    fn another_size_is_a_change_and_the_smallest_picture_is_one_too() {
        let mut gate = Gate::new(6.0);
        for (width, height) in [(1, 1), (1, 2), (33, 1), (5, 700)] {
            let pixels = vec![90; width as usize * height as usize];
            let view = PixelView::new(Packed::Gray, &pixels, width, height, width as usize).unwrap();
            assert!(gate.is_changed(&view));
            gate.accept();
            assert!(!gate.is_changed(&view));
        }
    }
}
