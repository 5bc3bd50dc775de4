//! The text tower: words in, one vector out.

mod encoder;
mod template;
#[cfg(feature = "text")]
mod tokenizer;

pub(crate) use encoder::{TextBuffers, encode, pooled_token};
pub use template::{DEFAULT_TEMPLATE, fill, templates};
#[cfg(feature = "text")]
pub use tokenizer::{TextTokenizer, Tokens};
