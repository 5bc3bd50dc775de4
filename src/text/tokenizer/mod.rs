//! Text to token ids, with the tokenizer that came with the checkpoint.

mod charsmap;
mod shape;
mod validate;

pub use validate::validate;

use super::canonical;
use crate::error::{Error, Result};
use crate::format::{Canonical, File, TextConfig};
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::string::String;
use std::vec::Vec;

/// Longest text, in bytes. Models read some hundred; a limit keeps the time for one text short.
pub const MAX_TEXT_BYTES: usize = 16 << 10;

/// What `work` in the tokenizer's library gives. The library panics where it finds what [`validate`] should have refused:
/// that is an error of the file, not the end of the program.
fn guarded<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T> {
    let unusable = |problem: String| Error::Tokenizer { field: "its library".into(), problem };
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| unusable(std::format!("{error}"))),
        Err(_) => Err(unusable("panicked: the file is damaged".into())),
    }
}

/// A text as token ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// The ids, with the tokens that begin and end a text, padded only if the model demands it.
    pub ids: Vec<u32>,
    /// The text was longer than the model takes, and was cut before its end token.
    pub truncated: bool,
}

/// The tokenizer of a packed file.
pub struct TextTokenizer {
    inner: tokenizers::Tokenizer,
    config: TextConfig,
}

impl TextTokenizer {
    /// The tokenizer in `file`.
    ///
    /// # Errors
    /// The file has no text tower or no tokenizer, or the tokenizer is damaged.
    pub fn new(file: File<'_>) -> Result<TextTokenizer> {
        let json = file.tokenizer().filter(|_| file.has_text()).ok_or_else(|| {
            Error::Message(
                "this model has no text tower; use a label bank made from the full model (ocelli labels), or convert \
                 the checkpoint without --vision-only"
                    .into(),
            )
        })?;
        validate(json)?;
        let inner = guarded(|| {
            let mut inner: tokenizers::Tokenizer = json.parse()?;
            // Whatever the checkpoint's tokenizer.json says about lengths, the model's own rule is applied below.
            inner.with_padding(None);
            inner.with_truncation(None)?;
            Ok(inner)
        })?;
        Ok(TextTokenizer { inner, config: file.config().text })
    }

    /// What the tokenizer sees of `text`.
    fn canonical<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match Canonical::from_stored(self.config.canonical) {
            None => text.into(),
            Some(Canonical::OpenClip) => canonical::open_clip(text).into(),
            Some(Canonical::Lower) => self.between_special_tokens(text, canonical::lower).into(),
            Some(Canonical::LowerNoPunctuation) => {
                self.between_special_tokens(text, canonical::siglip).into()
            }
        }
    }

    /// `text` with `change` made to what stands between the literals of special tokens: the libraries find those first.
    fn between_special_tokens(&self, text: &str, change: fn(&str) -> String) -> String {
        let added = self.inner.get_added_tokens_decoder();
        let (mut out, mut rest) = (String::new(), text);
        let next = |rest: &str| {
            let found = added.values().filter(|token| token.special && !token.content.is_empty());
            let at = |content: &str| rest.find(content).map(|at| (at, content.len()));
            found
                .filter_map(|token| at(&token.content))
                .min_by_key(|&(at, len)| (at, core::cmp::Reverse(len)))
        };
        while let Some((at, len)) = next(rest) {
            out += &change(&rest[..at]);
            out += &rest[at..at + len];
            rest = &rest[at + len..];
        }
        out + &change(rest)
    }

    /// Token ids of `text`.
    ///
    /// # Errors
    /// More than [`MAX_TEXT_BYTES`]; the tokenizer fails, or gives an id that the model has no row for.
    pub fn encode(&self, text: &str) -> Result<Tokens> {
        if text.len() > MAX_TEXT_BYTES {
            let found = text.len();
            return Err(Error::Message(std::format!(
                "a text of {found} bytes; at most {MAX_TEXT_BYTES} are possible"
            )));
        }
        let encoding = guarded(|| self.inner.encode_fast(self.canonical(text), true))?;
        let mut ids = encoding.get_ids().to_vec();
        let context = self.config.context as usize;
        let truncated = ids.len() > context;
        if truncated {
            let end = ids[ids.len() - 1];
            ids.truncate(context);
            ids[context - 1] = end;
        }
        if self.config.padded != 0 {
            ids.resize(context, self.config.pad);
        }
        match ids.iter().find(|&&id| id >= self.config.vocab) {
            Some(id) => Err(Error::Message(std::format!(
                "tokenizer gives id {id} for {text:?}, but the model has {} tokens",
                self.config.vocab
            ))),
            None => Ok(Tokens { ids, truncated }),
        }
    }
}

impl core::fmt::Debug for TextTokenizer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("TextTokenizer").finish_non_exhaustive()
    }
}
