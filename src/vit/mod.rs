//! The image tower: patches in, one vector out.

mod block;
mod encoder;
mod forward;
mod gate;
mod patch_embed;
mod pool;
mod pool_head;
pub mod position;

pub(crate) use block::{Shape, activation, block};
pub(crate) use encoder::{EncoderBuffers, ImageInput, Task, encode, show};
pub(crate) use forward::{Forward, RowBuffer, ThreadScratch};
pub(crate) use pool::project;

use ocelli_kernels::{Lhs, Weights};

/// A point of the forward pass at which [`Session`](crate::Session) can show its tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Tokens with positions, before any norm: [images, tokens, width].
    Embeddings,
    /// The input of the first block: [images, tokens, width].
    PreNorm,
    /// The residual stream after a block: [images, tokens, width].
    Block(usize),
    /// All tokens after the final norm, if there is one: [images, tokens, width].
    FinalNorm,
    /// What the projection or the classifier reads: [images, width].
    Pooled,
    /// The embedding before normalisation: [images, embed_dim].
    Projected,
}

/// Which of its vectors a model gives for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// One vector per patch after the final norm, in the order of the grid: dense features.
    Patch,
    /// The class token after the final norm.
    Class,
    /// What the projection or the classifier reads.
    Pooled,
    /// The embedding: after the projection, if there is one.
    Projected,
}

impl Layer {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Layer::Patch => "patch",
            Layer::Class => "cls",
            Layer::Pooled => "pooled",
            Layer::Projected => "projected",
        }
    }
}

/// Is shown every stage of a forward pass.
pub type Observer<'o> = &'o mut dyn FnMut(Stage, &[f32]);

/// Is shown the weights and the left operand of every GEMM before it runs. Made for calibration, which runs the f32
/// model: [`Rows::row_f32`] shows rows of f32, not codes or halves.
pub type Tap<'t> = &'t dyn Fn(&Weights<'_>, &Lhs<'_>);
