//! An open model: the packed file in memory, and its weights as borrowed views.

#[expect(unsafe_code, reason = "memory maps, and a view that lives beside what it borrows")]
mod open;
mod weights;

pub use open::Model;
pub use weights::{AttentionHead, Block, Linear, Norm, Projection, TextWeights, VisionWeights};
