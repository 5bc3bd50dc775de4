//! Text to token ids, with the tokenizer that came with the checkpoint.

mod charsmap;
mod checked;
mod shape;
mod steps;
#[cfg(test)]
mod tests;
mod validate;
mod vocabulary;

pub use checked::CheckedTokenizer;

use super::{canonical, no_text};
use crate::error::{Error, Name, Result};
use crate::format::{Canonical, File, TextConfig};
use aho_corasick::{AhoCorasick, MatchKind};
use std::borrow::Cow;
use std::string::String;
use std::vec::Vec;

/// Longest text, in bytes. Models read some hundred; a limit keeps the time for one text short.
pub const MAX_TEXT_BYTES: usize = 16 << 10;

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
    inner: CheckedTokenizer,
    /// Finds the literals of special tokens.
    specials: AhoCorasick,
    config: TextConfig,
}

impl TextTokenizer {
    /// The tokenizer in `file`.
    ///
    /// # Errors
    /// The file has no text tower or no tokenizer, or the tokenizer is damaged.
    pub fn new(file: File<'_>) -> Result<TextTokenizer> {
        let json = file.tokenizer().filter(|_| file.has_text()).ok_or_else(no_text)?;
        let config = file.config().text;
        let inner = CheckedTokenizer::from_json(json, config.vocab)?;
        let specials = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(inner.specials())
            .map_err(|error| validate::wrong("added_tokens", std::format!("{error}")))?;
        Ok(TextTokenizer { inner, specials, config })
    }

    /// What the tokenizer sees of `text`.
    fn canonical<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match Canonical::from_stored(self.config.canonical) {
            None => text.into(),
            Some(Canonical::OpenClip) => canonical::open_clip(text).into(),
            Some(Canonical::OpenClipCase) => canonical::open_clip_case(text).into(),
            Some(Canonical::OpenClipNoPunctuation) => canonical::open_clip_no_punctuation(text).into(),
            Some(Canonical::Lower) => self.between_special_tokens(text, canonical::lower).into(),
            Some(Canonical::LowerNoPunctuation) => {
                self.between_special_tokens(text, canonical::siglip).into()
            }
        }
    }

    /// `text` with `change` made to what stands between the literals of special tokens: the libraries find those first.
    fn between_special_tokens(&self, text: &str, change: fn(&str) -> String) -> String {
        let (mut out, mut done) = (String::new(), 0);
        for found in self.specials.find_iter(text) {
            out += &change(&text[done..found.start()]);
            out += &text[found.range()];
            done = found.end();
        }
        out + &change(&text[done..])
    }

    /// Token ids of `text`.
    ///
    /// # Errors
    /// More than [`MAX_TEXT_BYTES`], or the tokenizer fails.
    pub fn encode(&self, text: &str) -> Result<Tokens> {
        if text.len() > MAX_TEXT_BYTES {
            let start = Name::new(text);
            return Err(Error::TextTooLong { start, limit: MAX_TEXT_BYTES, found: text.len() });
        }
        let mut ids = self.inner.ids(&self.canonical(text))?;
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
        Ok(Tokens { ids, truncated })
    }
}

impl core::fmt::Debug for TextTokenizer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("TextTokenizer").finish_non_exhaustive()
    }
}
