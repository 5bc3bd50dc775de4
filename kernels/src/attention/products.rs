//! The two products of attention and the softmax between them, for a few query rows of one head.

use super::panels::{pack_keys, pack_values};
use super::{Attention, Tokens};
use crate::alibi;
use crate::kernels::Kernels;
use crate::matrix::Mat;
use crate::pack::{NR, padded_n};
use crate::table::{Element, MR_MAX, MicroKernelFloat};
use core::ops::Range;
use half::f16;

/// Some queries of one head.
pub(super) struct Part<'a> {
    pub(super) shape: &'a Attention,
    pub(super) from: &'a Tokens<'a>,
    pub(super) head: usize,
    pub(super) queries: Range<usize>,
}

/// The working memory, and what it holds of the last part.
pub(super) struct State<'a> {
    /// The head whose keys and values are packed, and the bytes of their elements.
    pub(super) packed: Option<(usize, usize)>,
    pub(super) scratch: &'a mut [f32],
}

/// What attention multiplies.
pub(super) trait Operand: Element {
    /// By what scores are still to be multiplied, if `scale` is what they are multiplied by in all.
    fn left_of(scale: f32) -> f32;

    /// Columns from `col` on of row `row` as a query: multiplied by what [`left_of`](Self::left_of) leaves out, with zeros
    /// behind it. `room` is as long.
    fn query(
        kernels: &Kernels,
        qkv: &Mat<'_>,
        at: (usize, usize),
        scale: f32,
        room: &mut [f32],
        to: &mut [Self],
    );

    /// `values`, in `room` if they have to be converted.
    fn convert<'v>(kernels: &Kernels, values: &'v [f32], room: &'v mut [Self]) -> &'v [Self];

    /// Writes `values` to as many of them.
    fn store(kernels: &Kernels, values: &[f32], to: &mut [Self]);

    /// `k` as the micro-kernel wants it.
    fn steps(k: usize) -> usize {
        k.next_multiple_of(Self::K_MULTIPLE)
    }
}

impl Operand for f32 {
    fn left_of(scale: f32) -> f32 {
        scale
    }

    fn query(_: &Kernels, qkv: &Mat<'_>, (row, col): (usize, usize), _: f32, _: &mut [f32], to: &mut [f32]) {
        qkv.copy_row(row, col, to);
    }

    fn convert<'v>(_: &Kernels, values: &'v [f32], _: &'v mut [f32]) -> &'v [f32] {
        values
    }

    #[inline(always)]
    fn store(_: &Kernels, values: &[f32], to: &mut [f32]) {
        to.copy_from_slice(values);
    }
}

impl Operand for f16 {
    // Scaled first, sums stay as small as the scores themselves.
    fn left_of(_: f32) -> f32 {
        1.0
    }

    fn query(
        kernels: &Kernels,
        qkv: &Mat<'_>,
        (row, col): (usize, usize),
        scale: f32,
        room: &mut [f32],
        to: &mut [f16],
    ) {
        qkv.copy_row(row, col, room);
        room.iter_mut().for_each(|q| *q *= scale);
        let (values, padding) = to.split_at_mut(room.len());
        kernels.narrow_f16(room, values);
        padding.fill(f16::ZERO);
    }

    fn convert<'v>(kernels: &Kernels, values: &'v [f32], room: &'v mut [f16]) -> &'v [f16] {
        let to = &mut room[..values.len()];
        kernels.narrow_f16(values, to);
        to
    }

    fn store(kernels: &Kernels, values: &[f32], to: &mut [f16]) {
        kernels.narrow_f16(values, to);
    }
}

impl Kernels {
    /// Computes `part` with operands of `T` into `out`, `[query][head_dim]`.
    pub(super) fn attend<T: Operand>(
        &self,
        kernel: &MicroKernelFloat<T>,
        part: &Part<'_>,
        out: &mut [f32],
        state: &mut State<'_>,
    ) {
        let Part { shape, from, head, ref queries } = *part;
        let Tokens { qkv, first: first_token, key_bias } = *from;
        let Attention { tokens, heads, head_dim, causal, alibi, .. } = *shape;
        let (step, count) = (kernel.mr, queries.len());
        let (keys, values, k) = (padded_n(tokens), padded_n(head_dim), T::steps(head_dim));
        let (sums, rest) = state.scratch.split_at_mut(step * values);
        let (scores, rest) = rest.split_at_mut(step * keys);
        let (room, rest) = rest.split_at_mut(head_dim);
        // Queries are done with before there are probabilities.
        let (k_panels, rest) = bytemuck::cast_slice_mut(rest).split_at_mut(keys * k);
        let (v_panels, rows) = rest.split_at_mut(values * keys);
        if state.packed != Some((head, size_of::<T>())) {
            pack_keys(self, from, shape, head, k_panels);
            pack_values(self, from, shape, head, v_panels);
            state.packed = Some((head, size_of::<T>()));
        }
        let scale = 1.0 / libm::sqrtf(head_dim as f32);
        for (query, to) in queries.clone().zip(rows.chunks_exact_mut(k)) {
            T::query(self, qkv, (first_token + query, head * head_dim), scale, room, to);
        }
        scores.fill(0.0);
        kernel.multiply_all(k, rows, k, count, k_panels, k * NR, scores, keys);
        let (scale, mut inverses) = (T::left_of(scale), [0.0; MR_MAX]);
        let unscaled = 1.0 / scale;
        for ((query, row), inverse) in queries.clone().zip(scores.chunks_exact_mut(keys)).zip(&mut inverses) {
            // What is not seen, and what only fills the last panel, counts for nothing.
            let seen = if causal { query + 1 } else { tokens };
            if alibi {
                alibi::bias(head, heads, scale, query, &mut row[..seen]);
            }
            // What is added is multiplied by the scale later.
            for (score, bias) in row[..seen].iter_mut().zip(key_bias) {
                *score += bias * unscaled;
            }
            row[seen..].fill(f32::NEG_INFINITY);
            *inverse = 1.0 / self.softmax(row, scale);
        }
        let probabilities = T::convert(self, &scores[..count * keys], rows);
        sums.fill(0.0);
        let seen = T::steps(tokens);
        kernel.multiply_all(seen, probabilities, keys, count, v_panels, keys * NR, sums, values);
        for ((out, sums), inverse) in
            out.chunks_exact_mut(head_dim).zip(sums.chunks_exact(values)).zip(inverses)
        {
            out.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum * inverse);
        }
    }
}

/// Whether no value is infinite or NaN.
pub(super) fn all_finite(values: &[f32]) -> bool {
    let largest = values.iter().fold(0, |largest: u32, value| largest.max(value.abs().to_bits()));
    largest < f32::INFINITY.to_bits()
}
