//! A pre-norm transformer block (arXiv 2010.11929), shared by the image and the text tower.

use super::forward::Forward;
use super::gate::gate;
use super::position::rope::Rotations;
use crate::format::Act;
use crate::model::Block;
use crate::profile::Op;
use ocelli_kernels::{Activation, Attention, Epilogue};

/// The shape of one pass through the blocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Images, or texts, of the same number of tokens.
    pub(crate) images: usize,
    /// Tokens of each.
    pub(crate) tokens: usize,
    /// Channels of a token.
    pub(crate) width: usize,
    /// Attention heads.
    pub(crate) heads: usize,
    /// Channels of a head.
    pub(crate) head_dim: usize,
    /// Channels that the MLP's second layer reads.
    pub(crate) mlp_width: usize,
    /// The MLP's first layer gives gate and value.
    pub(crate) gated: bool,
    /// Activation inside the MLP.
    pub(crate) act: Activation,
    /// LayerNorm's epsilon.
    pub(crate) eps: f32,
    /// Token i sees tokens 0..=i only.
    pub(crate) causal: bool,
}

impl Shape {
    /// f32 elements that a block needs besides the residual stream: qkv and the attended values, then the hidden layer.
    pub(crate) const fn work_len(&self) -> usize {
        let attention = 4 * self.heads * self.head_dim;
        let widest = if attention > self.hidden() { attention } else { self.hidden() };
        self.images * self.tokens * widest
    }

    /// Channels that the MLP's first layer gives.
    pub(crate) const fn hidden(&self) -> usize {
        if self.gated { 2 * self.mlp_width } else { self.mlp_width }
    }

    /// The attention in which the first `queries` tokens of each image attend.
    pub(crate) const fn attention(&self, queries: usize) -> Attention {
        let Shape { tokens, heads, head_dim, causal, .. } = *self;
        Attention { tokens, queries, heads, head_dim, causal }
    }
}

/// The kernels' activation for a stored one.
pub(crate) const fn activation(act: Act) -> Activation {
    match act {
        Act::QuickGelu => Activation::QuickGelu,
        Act::Gelu => Activation::Gelu,
        Act::GeluTanh => Activation::GeluTanh,
        Act::Silu => Activation::Silu,
    }
}

/// Runs one block on the residual stream `x`: [images, tokens, width]. `rotations` turn queries and keys, if positions
/// are rotary.
///
/// Only the first `queries` tokens of each image go through attention's output and the MLP. If that is not all of them
/// (the last block, when only the class token is read), `x` becomes [images, queries, width].
pub(crate) fn block(
    forward: &mut Forward<'_>,
    weights: &Block<'_>,
    shape: &Shape,
    rotations: Option<&Rotations<'_>>,
    queries: usize,
    x: &mut [f32],
    work: &mut [f32],
) {
    let Shape { images, tokens, width, heads, head_dim, mlp_width, gated, act, eps, .. } = *shape;
    let kernels = forward.kernels;
    let inner = heads * head_dim;
    let x = &mut x[..images * tokens * width];

    // x += out(attention(qkv(norm1 x)))
    let (qkv, rest) = work.split_at_mut(images * tokens * 3 * inner);
    let attended = &mut rest[..images * queries * inner];
    forward.produce(Op::Norm, &weights.qkv, images * tokens, |i, row| {
        kernels.layer_norm(&x[i * width..][..width], weights.norm1.gamma, weights.norm1.beta, eps, row);
    });
    forward.multiply(Op::Qkv, &weights.qkv, Epilogue::Store, qkv);
    if let Some(rotations) = rotations {
        rotations.apply(forward, shape, qkv);
    }
    forward.attend(&shape.attention(queries), images, qkv, attended);
    if queries < tokens {
        for image in 1..images {
            x.copy_within(
                image * tokens * width..(image * tokens + queries) * width,
                image * queries * width,
            );
        }
    }
    let x = &mut x[..images * queries * width];
    forward.produce(Op::AttentionRows, &weights.out, images * queries, |i, row| {
        let (image, query) = (i / queries, i % queries);
        for (head, row) in row.chunks_exact_mut(head_dim).enumerate() {
            row.copy_from_slice(
                &attended[((image * heads + head) * queries + query) * head_dim..][..head_dim],
            );
        }
    });
    forward.multiply(Op::Out, &weights.out, Epilogue::Add, x);

    // x += fc2(mlp_norm(act(fc1(norm2 x)))); the activation of a gated MLP is in its gate
    let hidden = &mut work[..images * queries * shape.hidden()];
    forward.produce(Op::Norm, &weights.fc1, images * queries, |i, row| {
        kernels.layer_norm(&x[i * width..][..width], weights.norm2.gamma, weights.norm2.beta, eps, row);
    });
    if gated {
        forward.multiply(Op::Fc1, &weights.fc1, Epilogue::Store, hidden);
        gate(forward, act, mlp_width, hidden);
    } else {
        forward.multiply(Op::Fc1, &weights.fc1, Epilogue::Activate(act), hidden);
    }
    if gated || weights.mlp_norm.is_some() {
        let of_row = |i: usize| &hidden[i * shape.hidden()..][..mlp_width];
        forward.produce(Op::HiddenRows, &weights.fc2, images * queries, |i, row| match &weights.mlp_norm {
            Some(norm) => kernels.layer_norm(of_row(i), norm.gamma, norm.beta, eps, row),
            None => row.copy_from_slice(of_row(i)),
        });
    } else {
        forward.convert(Op::HiddenRows, &weights.fc2, hidden);
    }
    forward.multiply(Op::Fc2, &weights.fc2, Epilogue::Add, x);
}
