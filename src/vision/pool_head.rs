//! Pooling by attention with one constant query: SigLIP's `MultiheadAttentionPoolingHead` (arXiv 2303.15343; "MAP head"
//! of arXiv 2106.04560).
//!
//! ```text
//! y = out(attention(query, kv(x)))        query: the probe after its projection, from the packed file
//! pooled = y + fc2(act(fc1(head_norm y)))
//! ```

use crate::model::AttentionHead;
use crate::nn::{Forward, Shape};
use crate::profile::Op;
use ocelli_kernels::{Epilogue, Mat, Operands, Remainders};

/// The shape of a pass through `head`, which may have other heads and another MLP than the blocks of `shape`.
pub(crate) fn head_shape(head: &AttentionHead<'_>, shape: &Shape) -> Shape {
    let (heads, mlp_width) = (head.heads, head.fc1.weights.n());
    Shape { heads, head_dim: head.query.len() / heads, mlp_width, gated: false, ..*shape }
}

/// Pools the normed tokens `x`, [images, tokens, width], into `pooled`, [images, width].
///
/// `shape` is the head's own ([`head_shape`]); `key_bias` is added to the scores of each token, [images, tokens] or empty. `work` holds [images, tokens, 3·heads·head_dim] and a row of heads for
/// each image, or the hidden layer of each.
pub(crate) fn pool_by_attention(
    forward: &mut Forward<'_>,
    head: &AttentionHead<'_>,
    shape: &Shape,
    key_bias: &[f32],
    x: &[f32],
    work: &mut [f32],
    pooled: &mut [f32],
) {
    let Shape { images, tokens, width, heads, head_dim, mlp_width, act, eps, .. } = *shape;
    let kernels = forward.kernels;
    let (inner, rows) = (heads * head_dim, images * tokens);

    let (qkv, rest) = work.split_at_mut(rows * 3 * inner);
    forward.convert(Op::Norm, &head.kv, x);
    // Keys and values are written to the end and spread from there, so that each has room for a query before it.
    forward.multiply(Op::Qkv, &head.kv, Epilogue::Store, &mut qkv[rows * inner..]);
    for row in 0..rows {
        let from = rows * inner + row * 2 * inner;
        qkv.copy_within(from..from + 2 * inner, row * 3 * inner + inner);
    }
    for image in 0..images {
        qkv[image * tokens * 3 * inner..][..inner].copy_from_slice(head.query);
    }
    let attended = &mut rest[..images * inner];
    let qkv = Mat::new(qkv, rows, 3 * inner, 3 * inner);
    forward.attend(&shape.attention(1, Operands::of(&head.kv.weights)), images, &qkv, key_bias, attended);
    let pooled = &mut pooled[..images * width];
    // One query per image: its heads lie one after the other already, and the embedding is made of it.
    forward.remainders = Remainders { count: images, row: 0 };
    forward.convert(Op::AttentionRows, &head.out, attended);
    forward.multiply(Op::Out, &head.out, Epilogue::Store, pooled);

    let hidden = &mut work[..images * mlp_width];
    forward.produce(Op::Norm, &head.fc1, images, |i, row| {
        kernels.layer_norm(&pooled[i * width..][..width], head.norm.gamma, head.norm.beta, eps, row);
    });
    forward.multiply(Op::Fc1, &head.fc1, Epilogue::Activate(act), hidden);
    forward.convert(Op::HiddenRows, &head.fc2, hidden);
    forward.multiply(Op::Fc2, &head.fc2, Epilogue::Add, pooled);
}
