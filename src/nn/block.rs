//! A transformer block, shared by the image and the text tower: pre-norm (arXiv 2010.11929), or post-norm as the first
//! transformers were (arXiv 1706.03762, BERT: arXiv 1810.04805).

use super::forward::Forward;
use super::gate::gate;
use super::merge::Merger;
use super::rope::Rotations;
use crate::format::Act;
use crate::model::Block;
use crate::profile::Op;
use ocelli_kernels::{Activation, Attention, Epilogue, Mat, Operands};

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
    /// Scores of attention fall with the distance of the tokens.
    pub(crate) alibi: bool,
    /// Norms follow the residual sums.
    pub(crate) post_norm: bool,
    /// Channels between the layers of a projection that has two.
    pub(crate) project_hidden: usize,
}

impl Shape {
    /// f32 elements that a tower needs besides the residual stream: qkv and the attended values, then the hidden layer;
    /// outside the blocks the embedded patches, and the inside of an image's projection, which are wider than that only in
    /// odd models.
    pub(crate) fn work_len(&self) -> usize {
        let of_token = (4 * self.heads * self.head_dim).max(self.hidden()).max(self.width);
        self.images * (self.tokens * of_token).max(self.project_hidden)
    }

    /// Channels that the MLP's first layer gives.
    pub(crate) const fn hidden(&self) -> usize {
        if self.gated { 2 * self.mlp_width } else { self.mlp_width }
    }

    /// f32 elements of working memory that attention needs on each thread.
    pub(crate) const fn attention_scratch(&self) -> usize {
        self.attention(1, Operands::F32).scratch_len()
    }

    /// The attention in which the first `queries` tokens of each image attend.
    /// `operands`: of the weights that make queries, keys and values.
    pub(crate) const fn attention(&self, queries: usize, operands: Operands) -> Attention {
        let Shape { tokens, heads, head_dim, causal, alibi, .. } = *self;
        Attention { tokens, queries, heads, head_dim, causal, alibi, operands }
    }
}

/// The kernels' activation for a stored one.
pub(crate) const fn activation(act: Act) -> Activation {
    match act {
        Act::QuickGelu => Activation::QuickGelu,
        Act::Gelu => Activation::Gelu,
        Act::GeluTanh => Activation::GeluTanh,
        Act::Silu => Activation::Silu,
        Act::Relu => Activation::Relu,
    }
}

/// What becomes of the tokens in a block.
pub(crate) struct Course<'b, 'm> {
    /// Turn queries and keys, if positions are rotary.
    pub(crate) rotations: Option<&'b Rotations<'b>>,
    /// So many of each image's first tokens go through attention's output and the MLP: all, but in the last block when only the
    /// class token is read.
    pub(crate) queries: usize,
    /// Merges tokens, in the block of this number, if they are merged.
    pub(crate) merge: Option<(&'b mut Merger<'m>, usize)>,
}

/// Runs one block on the residual stream `x`: [images, tokens, width]. It ends with the tokens that are left, as many of each
/// image as this returns.
pub(crate) fn block(
    forward: &mut Forward<'_>,
    weights: &Block<'_>,
    shape: &Shape,
    course: Course<'_, '_>,
    x: &mut [f32],
    work: &mut [f32],
) -> usize {
    let Shape { images, tokens, width, heads, head_dim, mlp_width, gated, act, eps, post_norm, .. } = *shape;
    let Course { rotations, queries, merge } = course;
    let kernels = forward.kernels;
    let inner = heads * head_dim;
    let x = &mut x[..images * tokens * width];

    // x += out(attention_norm(attention(qkv(norm1 x))))
    let (qkv, rest) = work.split_at_mut(images * tokens * 3 * inner);
    let attended = &mut rest[..images * queries * inner];
    if post_norm {
        forward.convert(Op::Norm, &weights.qkv, x);
    } else {
        forward.produce(Op::Norm, &weights.qkv, images * tokens, |i, row| {
            kernels.layer_norm(&x[i * width..][..width], weights.norm1.gamma, weights.norm1.beta, eps, row);
        });
    }
    // Rotations and gates need whole rows; otherwise wide layers lie in blocks.
    let block_of_qkv = if rotations.is_some() { 3 * inner } else { forward.block_cols(3 * inner) };
    forward.multiply_blocks(Op::Qkv, &weights.qkv, Epilogue::Store, qkv, block_of_qkv);
    if let Some(rotations) = rotations {
        rotations.apply(forward, shape, qkv);
    }
    let values = Mat::new(qkv, images * tokens, 3 * inner, block_of_qkv);
    forward.attend(
        &shape.attention(queries, Operands::of(&weights.qkv.weights)),
        images,
        &values,
        merge.as_ref().map_or(&[], |(merger, _)| merger.key_bias(images * tokens)),
        attended,
    );
    let attended = &*attended;
    if queries < tokens {
        for image in 1..images {
            x.copy_within(
                image * tokens * width..(image * tokens + queries) * width,
                image * queries * width,
            );
        }
    }
    let x = &mut x[..images * queries * width];
    // [heads, queries, head_dim] of each image is a matrix in blocks of a head.
    let heads_of = |image: usize| {
        Mat::new(&attended[image * queries * inner..][..queries * inner], queries, inner, head_dim)
    };
    if let Some(norm) = &weights.attention_norm {
        // Queries, keys and values are done with: the heads' values lie side by side in their place.
        let rows = &mut qkv[..images * queries * inner];
        forward.each_row(2 * size_of_val(rows), Op::AttentionRows, rows, inner, |i, row, _| {
            heads_of(i / queries).copy_row(i % queries, 0, row);
        });
        forward.produce(Op::AttentionRows, &weights.out, images * queries, |i, row| {
            kernels.layer_norm(&rows[i * inner..][..inner], norm.gamma, norm.beta, eps, row);
        });
    } else if images == 1 {
        forward.convert_mat(Op::AttentionRows, &weights.out, &heads_of(0));
    } else {
        forward.produce(Op::AttentionRows, &weights.out, images * queries, |i, row| {
            heads_of(i / queries).copy_row(i % queries, 0, row);
        });
    }
    forward.multiply(Op::Out, &weights.out, Epilogue::Add, x);
    if post_norm {
        forward.norm_rows(&weights.norm1, eps, x);
    }
    let queries = match merge {
        // Behind a norm of what was attended, the keys are gone.
        Some((merger, block)) if queries == tokens && weights.attention_norm.is_none() => {
            let keys = Mat::new(qkv, images * tokens, 3 * inner, block_of_qkv);
            merger.merge(forward, shape, block, &keys, x)
        }
        _ => queries,
    };
    let x = &mut x[..images * queries * width];

    // x += fc2(mlp_norm(act(fc1(norm2 x)))); the activation of a gated MLP is in its gate
    let hidden = &mut work[..images * queries * shape.hidden()];
    if post_norm {
        forward.convert(Op::Norm, &weights.fc1, x);
    } else {
        forward.produce(Op::Norm, &weights.fc1, images * queries, |i, row| {
            kernels.layer_norm(&x[i * width..][..width], weights.norm2.gamma, weights.norm2.beta, eps, row);
        });
    }
    let whole_rows = gated || weights.mlp_norm.is_some();
    let block = if whole_rows { shape.hidden() } else { forward.block_cols(mlp_width) };
    let epilogue = if gated { Epilogue::Store } else { Epilogue::Activate(act) };
    forward.multiply_blocks(Op::Fc1, &weights.fc1, epilogue, hidden, block);
    if gated {
        gate(forward, act, mlp_width, hidden);
    }
    let hidden = Mat::new(hidden, images * queries, shape.hidden(), block);
    if whole_rows {
        forward.produce(Op::HiddenRows, &weights.fc2, images * queries, |i, row| {
            let values = &hidden.pieces(i, 0..mlp_width).next().expect("one block")[..mlp_width];
            match &weights.mlp_norm {
                Some(norm) => kernels.layer_norm(values, norm.gamma, norm.beta, eps, row),
                None => row.copy_from_slice(values),
            }
        });
    } else {
        forward.convert_mat(Op::HiddenRows, &weights.fc2, &hidden);
    }
    forward.multiply(Op::Fc2, &weights.fc2, Epilogue::Add, x);
    if post_norm {
        forward.norm_rows(&weights.norm2, eps, x);
    }
    queries
}
