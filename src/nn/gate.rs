//! The gate of a gated MLP (SwiGLU, arXiv 2002.05202).

use super::forward::Forward;
use crate::profile::Op;
use ocelli_kernels::Activation;

/// `hidden[i][c] = act(hidden[i][c]) · hidden[i][width + c]` for c below `width`: of every row of 2·width, gate then
/// value, the first half becomes what goes on.
pub(crate) fn gate(forward: &mut Forward<'_>, act: Activation, width: usize, hidden: &mut [f32]) {
    let kernels = forward.kernels;
    // Reads both halves, writes the first.
    let moved = size_of_val(hidden) / 2 * 3;
    forward.each_row(moved, Op::Gate, hidden, 2 * width, |_, row, _| {
        let (gate, value) = row.split_at_mut(width);
        kernels.activate(act, gate);
        gate.iter_mut().zip(value).for_each(|(gate, value)| *gate *= *value);
    });
}
