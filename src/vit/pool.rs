//! From the last block's tokens to the embedding.

use super::forward::Forward;
use crate::model::{Linear, Norm};
use crate::profile::Op;
use ocelli_kernels::Epilogue;

/// `pooled[i] = norm(x[token(i)])`, then `out = pooled · Wᵀ`, or `pooled` itself where there is no projection.
#[expect(clippy::too_many_arguments, reason = "two buffers in, two out")]
pub(crate) fn project(
    forward: &mut Forward<'_>,
    norm: Option<&Norm<'_>>,
    eps: f32,
    width: usize,
    projection: Option<&Linear<'_>>,
    x: &[f32],
    token: impl Fn(usize) -> usize,
    pooled: &mut [f32],
    out: &mut [f32],
) {
    for (i, pooled) in pooled.chunks_exact_mut(width).enumerate() {
        let x = &x[token(i) * width..][..width];
        match norm {
            Some(norm) => forward.kernels.layer_norm(x, norm.gamma, norm.beta, eps, pooled),
            None => pooled.copy_from_slice(x),
        }
    }
    match projection {
        Some(linear) => {
            forward.convert(Op::Project, linear, pooled);
            forward.multiply(Op::Project, linear, Epilogue::Store, out);
        }
        None => out.copy_from_slice(pooled),
    }
}
