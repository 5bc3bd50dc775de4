//! What every step of a forward pass is made of: *produce* rows for the next GEMM, *multiply* them by its weights,
//! *attend*. Each piece of their work is done in the same way whichever thread does it, so one thread and many give the
//! same bits.

use super::orders::Orders;
use super::stage::Tap;
use crate::model::{Linear, Norm, Projection};
use crate::profile::{Op, Profile, Work};
use crate::runtime::{Divisible, Team};
use core::ops::Range;
use ocelli_kernels::pack::{K_ALIGN, MR, padded_k};
use ocelli_kernels::{
    Activation, Attention, Epilogue, Gemm, GemmScratch, Kernels, LhsFormat, LhsMut, Mat, MatMut, Remainders,
    RowScale, Tokens, Weights, gemm,
};

/// Working memory of one thread.
pub(crate) struct Scratch<'a> {
    gemm: &'a mut GemmScratch,
    attention: &'a mut [f32],
    /// MR rows.
    tile: &'a mut [f32],
}

/// Working memory of all threads: one region, cut into equal parts.
pub(crate) struct ThreadScratch<'a> {
    gemm: &'a mut [GemmScratch],
    attention: &'a mut [f32],
    tiles: &'a mut [f32],
}

impl<'a> ThreadScratch<'a> {
    /// `gemm` has one element per thread; the others divide evenly.
    pub(crate) fn new(gemm: &'a mut [GemmScratch], attention: &'a mut [f32], tiles: &'a mut [f32]) -> Self {
        ThreadScratch { gemm, attention, tiles }
    }

    fn parts(&mut self) -> impl Iterator<Item = Scratch<'_>> {
        let threads = self.gemm.len();
        let attention = self.attention.len() / threads;
        let tile = self.tiles.len() / threads;
        self.gemm
            .iter_mut()
            .zip(self.attention.chunks_exact_mut(attention))
            .zip(self.tiles.chunks_exact_mut(tile))
            .map(|((gemm, attention), tile)| Scratch { gemm, attention, tile })
    }
}

/// The rows that the next GEMM reads.
pub(crate) struct RowBuffer<'a> {
    bytes: &'a mut [u8],
    scales: &'a mut [RowScale],
    /// Format, rows (remainders included) and k of what `produce` wrote last.
    shape: (LhsFormat, usize, usize),
    remainders: Remainders,
}

impl<'a> RowBuffer<'a> {
    pub(crate) fn new(bytes: &'a mut [u8], scales: &'a mut [RowScale]) -> Self {
        RowBuffer { bytes, scales, shape: (LhsFormat::F32, 0, 0), remainders: Remainders::default() }
    }

    /// Bytes of the rows and their scales.
    fn bytes_len(&self) -> usize {
        let (format, rows, k) = self.shape;
        let scales = if matches!(format, LhsFormat::I8(_)) { rows * size_of::<RowScale>() } else { 0 };
        format.bytes(rows, k) + scales
    }

    fn rows_mut(&mut self) -> LhsMut<'_> {
        let (format, rows, k) = self.shape;
        LhsMut::new(format, rows, k, self.bytes, self.scales)
    }
}

/// Rows of a left operand: those of the output, then the remainders of some of them.
struct Held {
    /// The output's.
    rows: usize,
    remainders: Remainders,
}

impl Held {
    /// Writes the tile of rows that starts at row `first` into `tile`, rows of `padded_k(k)`: `fill(i, row)` computes row i.
    fn fill(
        &self,
        kernels: &Kernels,
        first: usize,
        k: usize,
        tile: &mut [f32],
        fill: &impl Fn(usize, &mut [f32]),
    ) {
        let Held { rows, remainders: Remainders { count, row: of } } = *self;
        for (i, row) in (first..rows + count).zip(tile.chunks_exact_mut(padded_k(k))) {
            row[k..].fill(0.0);
            match i.checked_sub(rows) {
                None => fill(i, &mut row[..k]),
                Some(group) => {
                    fill(group * (rows / count) + of, &mut row[..k]);
                    kernels.rounding_remainder(row);
                }
            }
        }
    }
}

/// The tools of a forward pass, for one call.
pub(crate) struct Forward<'s> {
    pub(crate) kernels: &'s Kernels,
    pub(crate) team: &'s mut Team,
    pub(crate) profile: &'s mut Profile,
    pub(crate) scratch: ThreadScratch<'s>,
    pub(crate) rows: RowBuffer<'s>,
    /// Of the tower's int8 weights, and the bytes that hold them.
    pub(crate) orders: (&'s Orders, &'s [u8]),
    /// The rows that int8 holds in two: those of the token that an embedding is read from, while there is one.
    pub(crate) remainders: Remainders,
    /// Is shown what weights are multiplied by; `None` in every pass but calibration's.
    pub(crate) tap: Option<Tap<'s>>,
}

impl Forward<'_> {
    /// The width of the blocks in which an output of `n` columns lies best, if nobody needs whole rows of it.
    pub(crate) fn block_cols(&self, n: usize) -> usize {
        let block = self.kernels.block_cols();
        if n.is_multiple_of(block) { block } else { n }
    }

    /// Writes `rows` rows for the GEMM by `next`: `fill(i, row)` computes row i, `k` f32, from as many, which is then
    /// converted to what the GEMM reads.
    pub(crate) fn produce(
        &mut self,
        op: Op,
        next: &Linear<'_>,
        rows: usize,
        fill: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        self.produce_from(rows * next.weights.k() * size_of::<f32>(), op, next, rows, fill);
    }

    /// The same from `read` bytes.
    pub(crate) fn produce_from(
        &mut self,
        read: usize,
        op: Op,
        next: &Linear<'_>,
        rows: usize,
        fill: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        let k = next.weights.k();
        let (kernels, held, width) = (self.kernels, self.held(next, rows), padded_k(k));
        self.write_tiles(read, op, next, &held, |part, at, first, scratch| {
            held.fill(kernels, first, k, scratch, &fill);
            kernels.pack_lhs_panel(part, at, &Mat::new(scratch, MR, width, width), 0);
        });
    }

    /// Writes the rows of `values`, [rows, k], for the GEMM by `next`.
    pub(crate) fn convert(&mut self, op: Op, next: &Linear<'_>, values: &[f32]) {
        let k = next.weights.k();
        self.convert_mat(op, next, &Mat::new(values, values.len() / k, k, k));
    }

    /// Writes the rows of `x`, which has `k` columns, for the GEMM by `next`.
    pub(crate) fn convert_mat(&mut self, op: Op, next: &Linear<'_>, x: &Mat<'_>) {
        let kernels = self.kernels;
        if x.block().is_multiple_of(K_ALIGN) {
            let (read, held) = (x.rows() * x.cols() * size_of::<f32>(), self.held(next, x.rows()));
            let (k, width) = (x.cols(), padded_k(x.cols()));
            self.write_tiles(read, op, next, &held, |part, at, first, scratch| {
                if first + MR <= held.rows || held.remainders.count == 0 {
                    return kernels.pack_lhs_panel(part, at, x, first);
                }
                held.fill(kernels, first, k, scratch, &|i, row| x.copy_row(i, 0, row));
                kernels.pack_lhs_panel(part, at, &Mat::new(scratch, MR, width, width), 0);
            });
        } else {
            self.produce(op, next, x.rows(), |i, row| x.copy_row(i, 0, row));
        }
    }

    /// How `rows` rows are held for the GEMM by `next`.
    fn held(&self, next: &Linear<'_>, rows: usize) -> Held {
        let int8 = matches!(next.weights, Weights::I8(_));
        Held { rows, remainders: if int8 { self.remainders } else { Remainders::default() } }
    }

    /// Calls `write(part, at, first, scratch)` for every tile of rows: it starts at row `first`, which is row `at` of a
    /// thread's `part`; `scratch` has room for a tile. All calls together read `read` bytes.
    fn write_tiles(
        &mut self,
        read: usize,
        op: Op,
        next: &Linear<'_>,
        held: &Held,
        write: impl Fn(&mut LhsMut<'_>, usize, usize, &mut [f32]) + Sync,
    ) {
        let Forward { kernels, team, profile, scratch, rows: buffer, .. } = self;
        let (k, rows) = (next.weights.k(), held.rows + held.remainders.count);
        buffer.remainders = held.remainders;
        buffer.shape = (kernels.lhs_format(&next.weights), rows, k);
        let work = Work::moved(read + buffer.bytes_len());
        let tiles = rows.div_ceil(MR);
        let tiles = Divisible::new(tiles, piece(tiles, team), buffer.rows_mut(), |part, tiles, at| {
            part.split_at_row((at - tiles.start) * MR)
        });
        profile.time(op, work, || {
            team.divide(tiles, scratch.parts(), |tiles, mut part, scratch| {
                for at in (0..part.rows()).step_by(MR) {
                    write(&mut part, at, tiles.start * MR + at, &mut scratch.tile[..MR * padded_k(k)]);
                }
            });
        });
    }

    /// Calls `change(i, row, tile)` for every row i of `values`, which has rows of `len`; `tile` has room for MR rows. All
    /// calls together read and write `moved` bytes.
    pub(crate) fn each_row(
        &mut self,
        moved: usize,
        op: Op,
        values: &mut [f32],
        len: usize,
        change: impl Fn(usize, &mut [f32], &mut [f32]) + Sync,
    ) {
        let Forward { team, profile, scratch, .. } = self;
        let rows = values.len() / len;
        let rows = Divisible::new(rows, piece(rows, team), values, |values, rows, at| {
            values.split_at_mut((at - rows.start) * len)
        });
        profile.time(op, Work::moved(moved), || {
            team.divide(rows, scratch.parts(), |rows, values, scratch| {
                rows.zip(values.chunks_exact_mut(len)).for_each(|(i, row)| change(i, row, scratch.tile));
            });
        });
    }

    /// `out = epilogue(rows · Wᵀ + b)` with the rows of the last `produce`. `out`: [rows, n].
    pub(crate) fn multiply(&mut self, op: Op, linear: &Linear<'_>, epilogue: Epilogue, out: &mut [f32]) {
        self.multiply_blocks(op, linear, epilogue, out, linear.weights.n());
    }

    /// The same with `out` in blocks of `block` columns, [n/block, rows, block].
    pub(crate) fn multiply_blocks(
        &mut self,
        op: Op,
        linear: &Linear<'_>,
        epilogue: Epilogue,
        out: &mut [f32],
        block: usize,
    ) {
        let Forward { kernels, team, profile, scratch, rows: buffer, orders, tap, remainders: embedded } =
            self;
        let read = buffer.bytes_len() + linear.bytes_len();
        let remainders = buffer.remainders;
        let lhs = buffer.rows_mut();
        let lhs = lhs.as_lhs();
        if let Some(tap) = tap {
            tap(&linear.weights, &lhs, *embedded);
        }
        let Linear { weights, bias } = *linear;
        let weights = orders.0.attach(weights, orders.1);
        let (rows, n) = (lhs.rows() - remainders.count, weights.n());
        let written = rows * n * size_of::<f32>();
        let moved = read + if epilogue == Epilogue::Add { 2 * written } else { written };
        let macs = gemm::macs(rows, n, weights.k());
        let work = match weights {
            Weights::I8(_) => Work { macs_i8: macs, ..Work::moved(moved) },
            _ => Work { macs_float: macs, ..Work::moved(moved) },
        };
        let panels = |groups| gemm::group_panels(n, groups);
        let (groups, out) = (gemm::groups(n), MatMut::blocks(out, rows, n, block));
        let groups = Divisible::new(groups, piece(groups, team), out, |out, groups, at| {
            out.split_at_col(gemm::channels(n, panels(groups.start..at)).len())
        });
        let gemm = Gemm { lhs, weights, bias, epilogue, remainders };
        profile.time(op, work, || {
            team.divide(groups, scratch.parts(), |groups, mut out, scratch| {
                kernels.gemm(&gemm, panels(groups), &mut out, scratch.gemm);
            });
        });
    }

    /// Attention of `images` images (or texts) of the same shape. `qkv`: images·tokens rows of
    /// 3·heads·head_dim; `key_bias`: as many numbers, added to the scores of each, or none; `out`: [images, heads, queries,
    /// head_dim].
    pub(crate) fn attend(
        &mut self,
        shape: &Attention,
        images: usize,
        qkv: &Mat<'_>,
        key_bias: &[f32],
        out: &mut [f32],
    ) {
        let Forward { kernels, team, profile, scratch, .. } = self;
        let items = kernels.attention_items(shape);
        let image_rows = shape.heads * shape.queries;
        // A run of items over all images, and where its rows start.
        let row = |item: usize| {
            item / items * image_rows + kernels.attention_rows(shape, item % items..item % items).start
        };
        let len = |items: Range<usize>| (row(items.end) - row(items.start)) * shape.head_dim;
        // A thread packs the keys and values of a head for the items that it does of it: best all.
        let all = Divisible::new(images * items, items / shape.heads, out, |out, items, at| {
            out.split_at_mut(len(items.start..at))
        });
        // Queries and the result, keys and values.
        let values = 2 * images * shape.heads * shape.head_dim * (shape.queries + shape.tokens);
        let moved = values * size_of::<f32>();
        let work = Work { macs_float: images as u64 * shape.macs(), ..Work::moved(moved) };
        profile.time(Op::Attention, work, || {
            team.divide(all, scratch.parts(), |part, mut values, scratch| {
                let mut item = part.start;
                while item < part.end {
                    let image = item / items;
                    let end = part.end.min((image + 1) * items);
                    let (out, others) = values.split_at_mut(len(item..end));
                    let (items, first) = (item - image * items..end - image * items, image * shape.tokens);
                    let key_bias = key_bias.get(first..first + shape.tokens).unwrap_or_default();
                    let tokens = Tokens { qkv, first, key_bias };
                    kernels.attention(shape, &tokens, items, out, scratch.attention);
                    (values, item) = (others, end);
                }
            });
        });
    }

    /// `x = norm(x)` for every row of `x`, which has the norm's width.
    pub(crate) fn norm_rows(&mut self, norm: &Norm<'_>, eps: f32, x: &mut [f32]) {
        let (kernels, width) = (self.kernels, norm.gamma.len());
        self.each_row(2 * size_of_val(x), Op::Norm, x, width, |_, row, tile| {
            let before = &mut tile[..width];
            before.copy_from_slice(row);
            kernels.layer_norm(before, norm.gamma, norm.beta, eps, row);
        });
    }

    /// `pooled = tanh(pooler pooled)`, row by row, where there is a pooler. `work` has room for as much.
    pub(crate) fn pooler(&mut self, pooler: Option<&Linear<'_>>, pooled: &mut [f32], work: &mut [f32]) {
        let Some(linear) = pooler else { return };
        let dense = &mut work[..pooled.len()];
        self.apply(linear, pooled, dense);
        for (pooled, dense) in pooled.iter_mut().zip(dense) {
            *pooled = f64::from(*dense).tanh() as f32;
        }
    }

    /// The projection of each row of `pooled`, which went through the pooler, or these rows themselves where there is
    /// none. `work` has room for the inside of a projection of two layers.
    pub(crate) fn project(
        &mut self,
        projection: &Projection<'_>,
        pooled: &[f32],
        work: &mut [f32],
        out: &mut [f32],
    ) {
        let Some(project) = &projection.project else { return out.copy_from_slice(pooled) };
        let Some(fc1) = &projection.fc1 else { return self.apply(project, pooled, out) };
        let hidden = &mut work[..pooled.len() / fc1.weights.k() * fc1.weights.n()];
        self.convert(Op::Project, fc1, pooled);
        self.multiply(Op::Project, fc1, Epilogue::Activate(Activation::Gelu), hidden);
        self.apply(project, hidden, out);
    }

    /// `out = x · Wᵀ + b` for the rows of `x`, after the last block.
    pub(crate) fn apply(&mut self, linear: &Linear<'_>, x: &[f32], out: &mut [f32]) {
        self.convert(Op::Project, linear, x);
        self.multiply(Op::Project, linear, Epilogue::Store, out);
    }
}

/// Units of a piece of `units`: small enough that threads of unequal speed end close together.
fn piece(units: usize, team: &Team) -> usize {
    (units / (8 * team.threads())).max(1)
}
