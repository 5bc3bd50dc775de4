//! The text tower: words in, one vector out.

#[cfg(feature = "text")]
mod canonical;
mod encoder;
mod template;
#[cfg(feature = "text")]
mod tokenizer;

pub(crate) use encoder::{TextBuffers, encode, pooled_token};
pub use template::{DEFAULT_TEMPLATE, fill, parse_labels, read_labels, templates};
#[cfg(feature = "text")]
pub use tokenizer::{CheckedTokenizer, MAX_TEXT_BYTES, TextTokenizer, Tokens};
