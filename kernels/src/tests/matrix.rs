//! Every method of `Mat` and `MatMut`, with arguments inside and outside, against a matrix that is a list of rows.

use crate::matrix::{Mat, MatMut};
use crate::testing::Rng;
use core::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::vec;
use std::vec::Vec;

/// `call`'s result, `None` if it panicked.
fn caught<T>(call: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(call)).ok()
}

/// Mostly within 0..=`edge`, sometimes just outside, sometimes absurd.
fn number(rng: &mut Rng, edge: usize) -> usize {
    match rng.int(0..20) {
        0 => edge + 1,
        1 => usize::MAX - rng.int(0..3) as usize,
        2 => usize::MAX / 2,
        3 => edge,
        _ => rng.int(0..edge as i64 + 1) as usize,
    }
}

/// Ordered as often as not absurd.
fn range(rng: &mut Rng, edge: usize) -> Range<usize> {
    let (a, b) = (number(rng, edge), number(rng, edge));
    if rng.int(0..8) == 0 { a.max(b)..a.min(b) } else { a.min(b)..a.max(b) }
}

fn is_within(range: &Range<usize>, len: usize) -> bool {
    range.start <= range.end && range.end <= len
}

/// A matrix as a list of rows, of which a view shows some columns.
struct Model {
    rows: Vec<Vec<f32>>,
    block: usize,
}

impl Model {
    fn new(rng: &mut Rng) -> (Model, usize, usize) {
        let rows = rng.int(0..6) as usize;
        let block = rng.int(1..6) as usize;
        let cols = block * rng.int(0..5) as usize;
        (Model { rows: vec![vec![0.0; cols]; rows], block }, rows, cols)
    }

    /// Columns `cols` of row `row`, cut where a block ends.
    fn pieces(&self, row: usize, cols: Range<usize>) -> Vec<Vec<f32>> {
        let mut pieces: Vec<Vec<f32>> = Vec::new();
        for col in cols.clone() {
            if col == cols.start || col % self.block == 0 {
                pieces.push(Vec::new());
            }
            pieces.last_mut().expect("one at least").push(self.rows[row][col]);
        }
        pieces
    }
}

/// One call through a view of columns `cols` of the whole matrix; writes `stamp` wherever it may, here and in the model.
fn write(rng: &mut Rng, view: &mut MatMut<'_>, cols: &Range<usize>, model: &mut Model, stamp: f32) {
    let (height, width, block) = (model.rows.len(), cols.len(), model.block);
    assert_eq!((view.rows(), view.cols()), (height, width));
    let (rows, part) = (range(rng, height), range(rng, width));
    let inside = is_within(&part, width);
    let first = cols.start.wrapping_add(part.start);
    let one_block = inside && (part.is_empty() || first / block == (first + part.len() - 1) / block);
    let many_rows = is_within(&rows, height) && !rows.is_empty();
    let whole_block = part.len() == block && first % block == 0;
    match rng.int(0..3) {
        0 => {
            let got =
                caught(|| view.row_mut(rows.start, part.clone()).iter_mut().map(|x| *x = stamp).count());
            let right = one_block && rows.start < height;
            assert_eq!(got, right.then_some(part.len()), "row {}, {part:?} of {cols:?}", rows.start);
            if right {
                model.rows[rows.start][first..first + part.len()].fill(stamp);
            }
        }
        1 => {
            let got = caught(|| {
                let (start, stride) = view.tile_mut(rows.clone(), part.clone());
                for row in 0..rows.len() {
                    for col in 0..part.len() {
                        // SAFETY: these are the rows and columns that were asked for.
                        unsafe { *start.add(row * stride + col) = stamp };
                    }
                }
            });
            let right = one_block && many_rows && !part.is_empty();
            assert_eq!(got.is_some(), right, "tile {rows:?}, {part:?} of {cols:?}");
            if right {
                model.rows[rows].iter_mut().for_each(|row| row[first..first + part.len()].fill(stamp));
            }
        }
        _ => {
            let got = caught(|| view.block_mut(rows.clone(), part.clone()).map(|block| block.fill(stamp)));
            match got {
                // Not a block, wherever it lies.
                Some(None) => assert!(!whole_block || !inside, "{rows:?}, {part:?} of {cols:?} is a block"),
                Some(Some(())) => {
                    assert!(whole_block && many_rows && inside, "{rows:?}, {part:?} of {cols:?} is no block");
                    model.rows[rows].iter_mut().for_each(|row| row[first..first + block].fill(stamp));
                }
                None => assert!(!many_rows || !inside, "block {rows:?}, {part:?} of {cols:?} refused"),
            }
        }
    }
}

/// Every reading method once, with the same result as the model, or a panic where it is outside.
fn read(rng: &mut Rng, mat: &Mat<'_>, model: &Model) {
    let (height, width, block) = (mat.rows(), mat.cols(), model.block);
    let (rows, cols) = (range(rng, height), range(rng, width));
    let pieces = caught(|| mat.pieces(rows.start, cols.clone()).map(<[f32]>::to_vec).collect::<Vec<_>>());
    let right =
        (rows.start < height && is_within(&cols, width)).then(|| model.pieces(rows.start, cols.clone()));
    assert_eq!(pieces, right, "pieces of {}, {cols:?}", rows.start);

    let len = rng.int(0..width as i64 + 2) as usize;
    let copied = caught(|| {
        let mut to = vec![f32::NAN; len];
        mat.copy_row(rows.start, cols.start, &mut to);
        to
    });
    let right = (rows.start < height && cols.start <= width && len <= width - cols.start)
        .then(|| model.rows[rows.start][cols.start..][..len].to_vec());
    assert_eq!(copied, right, "copy of {len} from {}, {}", rows.start, cols.start);

    let of_block = caught(|| mat.block_rows(rows.clone(), cols.start).to_vec());
    let right = (is_within(&rows, height) && cols.start < width && cols.start.is_multiple_of(block))
        .then(|| rows.clone().flat_map(|row| model.rows[row][cols.start..][..block].to_vec()).collect());
    assert_eq!(of_block, right, "block of {rows:?}, {}", cols.start);

    let by_cols = caught(|| {
        let mut got = vec![vec![f32::NAN; cols.len()]; rows.len()];
        for (first, len, lines) in mat.col_pieces(rows.clone(), cols.clone()) {
            for (line, got) in lines.zip(&mut got) {
                got[first..first + len].copy_from_slice(line);
            }
        }
        got
    });
    let right = (is_within(&rows, height) && is_within(&cols, width))
        .then(|| rows.clone().map(|row| model.rows[row][cols.clone()].to_vec()).collect::<Vec<_>>());
    assert_eq!(by_cols, right, "columns {cols:?} of {rows:?}");
}

#[test]
fn matrices_agree_with_lists_of_rows() {
    let mut rng = Rng::new(11);
    let mut stamp = 0.0;
    for _ in 0..if cfg!(miri) { 10 } else { 1000 } {
        let (mut model, height, width) = Model::new(&mut rng);
        // Some elements more than the matrix has, which no call may reach.
        let mut values = vec![-1.0; height * width + 3];
        values[..height * width].fill(0.0);
        let mut views = vec![(0..width, MatMut::blocks(&mut values, height, width, model.block))];
        while views.len() < 4 {
            let (cols, view) = views.swap_remove(rng.int(0..views.len() as i64) as usize);
            let at = rng.int(0..cols.len() as i64 + 1) as usize;
            let (left, right) = view.split_at_col(at);
            views.extend([(cols.start..cols.start + at, left), (cols.start + at..cols.end, right)]);
        }
        for _ in 0..30 {
            let (cols, view) = &mut views[rng.int(0..4) as usize];
            stamp += 1.0;
            write(&mut rng, view, cols, &mut model, stamp);
        }
        let (cols, view) = views.swap_remove(0);
        assert!(caught(|| view.split_at_col(cols.len() + 1)).is_none());
        drop(views);
        let mat = Mat::new(&values, height, width, model.block);
        (0..20).for_each(|_| read(&mut rng, &mat, &model));
        assert_eq!(values[height * width..], [-1.0; 3]);
    }
}

/// (rows, columns, columns of a block) of a matrix that a slice of four does not hold.
const TOO_LARGE: [(usize, usize, usize); 9] = [
    (1 << 32, 1 << 32, 1 << 32),
    (1 << 32, 1 << 32, 1),
    (usize::MAX, usize::MAX, usize::MAX),
    (usize::MAX, 2, 2),
    (2, usize::MAX, usize::MAX),
    (1 << 63, 2, 1),
    (5, 1, 1),
    (1, 4, 3),
    (1, 4, 0),
];

#[test]
fn a_slice_is_no_larger_matrix() {
    for (rows, cols, block) in TOO_LARGE {
        let mut values = [0.0; 4];
        assert!(caught(|| Mat::new(&values, rows, cols, block)).is_none(), "{rows}x{cols} by {block}");
        assert!(
            caught(|| _ = MatMut::blocks(&mut values, rows, cols, block)).is_none(),
            "{rows}x{cols} by {block}"
        );
    }
    assert!(caught(|| _ = MatMut::new(&mut [0.0; 4], 1 << 32, 1 << 32)).is_none());
    // No elements at all are a matrix without columns or without rows, however large the other ops.
    let mut none = MatMut::new(&mut [], usize::MAX, 0);
    assert!(
        none.row_mut(usize::MAX - 1, 0..0).is_empty() && caught(|| none.row_mut(0, 0..1).len()).is_none()
    );
    let mut none = MatMut::new(&mut [], 0, usize::MAX);
    assert!(caught(|| none.row_mut(0, 0..0).len()).is_none());
}
