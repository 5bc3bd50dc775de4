//! The image tower: patches in, one vector out.

mod block;
mod encoder;
mod forward;
mod patch_embed;
mod pool;

pub(crate) use block::{Shape, activation, block};
pub(crate) use encoder::{EncoderBuffers, ImageInput, encode};
pub(crate) use forward::{Forward, RowBuffer, ThreadScratch};
pub(crate) use pool::project;

use ocelli_kernels::Weights;

/// A point of the forward pass at which [`Session`](crate::Session) can show its tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Tokens with positions, before any norm: [images, tokens, width].
    Embeddings,
    /// The input of the first block: [images, tokens, width].
    PreNorm,
    /// The residual stream after a block: [images, tokens, width].
    Block(usize),
    /// What the projection reads: [images, width].
    Pooled,
    /// The embedding before normalisation: [images, embed_dim].
    Projected,
}

/// Is shown every stage of a forward pass.
pub type Observer<'o> = &'o mut dyn FnMut(Stage, &[f32]);

/// Is shown the left operand of every GEMM that reads f32, before it runs: the weights, and the rows, [rows, k], whose
/// starts are [`padded_k`](ocelli_kernels::layout::padded_k) apart and whose padding is zero. GEMMs that read codes or
/// halves are not shown. Made for calibration, which runs the f32 model.
pub type Tap<'t> = &'t dyn Fn(&Weights<'_>, &[f32]);
