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

use ocelli_kernels::{Rows, Weights};

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

/// Is shown the weights and the left operand of every GEMM before it runs. Made for calibration, which runs the f32
/// model: [`Rows::row_f32`] shows rows of f32, not codes or halves.
pub type Tap<'t> = &'t dyn Fn(&Weights<'_>, &Rows<'_>);
