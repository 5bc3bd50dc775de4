//! A tokenizer whose `tokenizer.json` was checked before its library saw it.

use super::shape::Model;
use super::validate::{AddedTokens, validate, wrong};
use crate::error::Result;
use serde::de::DeserializeOwned;
use std::format;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::string::{String, ToString};
use std::vec::Vec;
use tokenizers::models::{bpe::BPE, unigram::Unigram, wordpiece::WordPiece};
use tokenizers::{
    DecoderWrapper, ModelWrapper, NormalizedString, Normalizer, NormalizerWrapper, PostProcessorWrapper,
    PreTokenizerWrapper, Tokenizer, TokenizerImpl,
};

/// What a `tokenizer.json` describes, without a rule for the length of texts.
pub struct CheckedTokenizer {
    inner: tokenizers::Tokenizer,
}

/// What `work` in the tokenizer's library gives. The library panics where it finds what [`validate`] should have
/// refused: that is an error of the file, not the end of the program.
fn guarded<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| wrong("its library", error.to_string())),
        Err(_) => Err(wrong("its library", "panicked: the file is damaged")),
    }
}

/// Reads `json`, whose model is known. `Tokenizer::from_str` must find out which it is, and copies all of it twice for
/// that.
fn parse<M: DeserializeOwned + tokenizers::Model + Into<ModelWrapper>>(
    json: &str,
) -> tokenizers::Result<Tokenizer> {
    type Read<M> =
        TokenizerImpl<M, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;
    Ok(serde_json::from_str::<Read<M>>(json)?.into())
}

impl CheckedTokenizer {
    /// The tokenizer that `json` describes, for a model with `vocab` token embeddings.
    ///
    /// # Errors
    /// [`Error::Tokenizer`](crate::Error::Tokenizer) names the first field that no supported family has so, and why.
    pub fn from_json(json: &str, vocab: u32) -> Result<CheckedTokenizer> {
        // What was checked is let go of before the library makes its own of it: both together take much memory.
        let (added, parse) = {
            let (added, model) = validate(json, vocab)?;
            let parse = match model {
                Model::Bpe { .. } => parse::<BPE>,
                Model::Unigram { .. } => parse::<Unigram>,
                Model::WordPiece { .. } => parse::<WordPiece>,
            };
            (added, parse)
        };
        let inner = guarded(|| {
            let mut inner = parse(json)?;
            // Whatever the file says about lengths, the model's own rule counts.
            inner.with_padding(None).with_truncation(None)?;
            Ok(inner)
        })?;
        let checked = CheckedTokenizer { inner };
        checked.check_added(&added)?;
        Ok(checked)
    }

    /// Checks what the library made of the added tokens: it gives those without a piece the next ids, whatever the file
    /// says, and looks for some of them as the normaliser leaves them.
    fn check_added(&self, added: &AddedTokens) -> Result<()> {
        for token in &added.tokens {
            let (content, id, found) = (&token.content, token.id, self.id(&token.content));
            if found != Some(id) {
                let found = found.map_or("none".into(), |id| id.to_string());
                return Err(wrong(
                    "added_tokens",
                    format!("{content:?} has id {id}; its place gives {found}"),
                ));
            }
            let looked_for = match self.inner.get_normalizer() {
                Some(normalizer) if token.normalized => guarded(|| {
                    let mut text = NormalizedString::from(content.as_str());
                    normalizer.normalize(&mut text)?;
                    Ok(text.get().to_string())
                })?,
                _ => content.clone(),
            };
            added.check_literal(content, &looked_for)?;
        }
        Ok(())
    }

    /// Token ids of `text`, with those that begin and end it.
    ///
    /// # Errors
    /// The tokenizer fails, which no text should make it do.
    pub fn ids(&self, text: &str) -> Result<Vec<u32>> {
        guarded(|| self.inner.encode_fast(text, true)).map(|encoding| encoding.get_ids().to_vec())
    }

    /// The id of a token.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The literals of special tokens.
    pub(super) fn specials(&self) -> Vec<String> {
        let added = self.inner.get_added_tokens_decoder();
        added.into_values().filter(|token| token.special).map(|token| token.content).collect()
    }
}

impl core::fmt::Debug for CheckedTokenizer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("CheckedTokenizer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_library_is_an_error_of_the_file() {
        let broken = std::vec![0_u8];
        let at = broken.len();
        let error = guarded(|| Ok(broken[at])).unwrap_err().to_string();
        assert!(error.contains("damaged"), "{error}");
    }
}
