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
