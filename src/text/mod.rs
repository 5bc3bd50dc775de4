//! The text tower: words in, one vector out.

#[cfg(feature = "text")]
mod canonical;
mod encoder;
mod template;
#[cfg(feature = "text")]
mod tokenizer;

pub(crate) use encoder::{TextBuffers, encode, read_token};
pub use template::{DEFAULT_TEMPLATE, fill, parse_labels, read_labels, templates};
#[cfg(feature = "text")]
pub use tokenizer::{CheckedTokenizer, MAX_TEXT_BYTES, TextTokenizer, Tokens};

/// Of a model that embeds images only.
pub(crate) fn no_text() -> crate::Error {
    crate::Error::ModelLacks {
        part: "text tower",
        remedy: "use a label bank made from the full model (ocelli labels), or convert the checkpoint without \
                 --vision-only",
    }
}
