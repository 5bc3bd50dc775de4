//! The C interface of ocelli, declared in `ocelli.h`: images and texts to embeddings, images to labels.
//!
//! * Functions return an [`OcelliStatus`]; [`ocelli_last_error`] says more.
//! * Handles are opaque: numbers in the type of a pointer, looked up in a table (`handles`). One that was freed, is of
//!   another kind or was never given out is an error, not undefined behaviour.
//! * Pointers to memory are the caller's. Null and misaligned ones are refused; that as many elements are there as the
//!   caller says can't be checked.
//! * No panic leaves the library: `status::guard` turns it into [`OcelliStatus::OCELLI_INTERNAL`].
//! * Embedding, encoding and classifying allocate nothing once the handle is made (`tests/zero_alloc.rs`).

mod arguments;
mod bank;
mod classifier;
mod handles;
mod image;
mod image_encoder;
mod model;
mod picture;
mod runtime;
mod status;
mod text_encoder;
mod version;

pub use bank::*;
pub use classifier::*;
pub use image::*;
pub use image_encoder::*;
pub use model::*;
pub use picture::*;
pub use runtime::*;
pub use status::{OcelliStatus, ocelli_last_error, ocelli_status_name};
pub use text_encoder::*;
pub use version::*;
