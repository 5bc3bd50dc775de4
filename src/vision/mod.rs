//! The image tower: patches in, one vector out.

mod encoder;
mod layer;
mod patch_embed;
mod pool;
mod pool_head;
pub mod position;

pub(crate) use encoder::{EncoderBuffers, Task, encode};
pub use layer::Layer;
pub(crate) use patch_embed::ImageInput;
pub(crate) use pool_head::head_shape;
