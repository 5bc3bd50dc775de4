//! Looking into a forward pass.

use ocelli_kernels::{Lhs, Remainders, Weights};

/// A point of the forward pass at which an encoder can show its tensors.
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

/// Is shown every stage of a forward pass.
pub type Observer<'o> = &'o mut dyn FnMut(Stage, &[f32]);

/// Is shown the weights and the left operand of every GEMM before it runs, and which rows of it an int8 operand holds in
/// two, which are those that the embedding is read from. Made for calibration, which runs the f32 model: [`Lhs::row_f32`]
/// shows rows of f32, not codes or halves.
pub type Tap<'t> = &'t dyn Fn(&Weights<'_>, &Lhs<'_>, Remainders);

/// Shows `values` to whoever watches.
pub(crate) fn show(observer: &mut Option<Observer<'_>>, stage: Stage, values: &[f32]) {
    if let Some(observer) = observer {
        observer(stage, values);
    }
}
