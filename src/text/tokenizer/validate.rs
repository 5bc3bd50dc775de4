//! What a tokenizer may say. A model's tokenizer is input like any other, but the libraries that run it trust theirs:
//! a piece that does not exist, an empty pattern or a damaged table make them panic, loop or take all memory. So every
//! field is checked before they see it, when a checkpoint is converted and when a model's texts are first embedded.

use super::shape::{AddedToken, Model, Shape};
use super::steps::{Growth, decoder, normalizer, post_processor, pre_tokenizer};
use super::vocabulary::model;
use crate::error::{Error, Result};
use std::collections::HashSet;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

/// Longest piece or added token, in bytes. The longest known, runs of 31 spaces in Gemma's, have 93.
const MAX_PIECE: usize = 256;
/// All added tokens together, in bytes: the automaton that finds them has a state for each.
const MAX_ADDED: usize = 1 << 20;
/// Longest explanation of what is wrong, which may quote the file.
const MAX_PROBLEM: usize = 400;

/// The tokens that are found as a whole, before or after normalising.
pub(super) struct AddedTokens {
    pub(super) tokens: Vec<AddedToken>,
    /// One of them takes the white space around it along.
    strips: bool,
}

/// Checks the text of a `tokenizer.json` for a model with `vocab` token embeddings, and gives its added tokens and what
/// finds the pieces of a text.
///
/// # Errors
/// [`Error::Tokenizer`] names the first field that no supported family has so, and what is wrong with it.
pub(super) fn validate(json: &str, vocab: u32) -> Result<(AddedTokens, Model)> {
    let shape: Shape = serde_json::from_str(json)
        .map_err(|error| wrong("its JSON", format!("{error}: not the tokenizer of a supported family")))?;
    model(&shape.model, vocab)?;
    let strips = shape.added_tokens.iter().any(|token| token.lstrip || token.rstrip);
    let added = AddedTokens { tokens: shape.added_tokens, strips };
    added.check(vocab)?;
    let mut growth = Growth::NONE;
    if let Some(part) = &shape.normalizer {
        normalizer(part, 0, &mut growth)?;
    }
    if let Some(part) = &shape.pre_tokenizer {
        pre_tokenizer(part, 0, &mut growth)?;
    }
    growth.check()?;
    if let Some(part) = &shape.post_processor {
        post_processor(part, vocab)?;
    }
    shape.decoder.as_ref().map_or(Ok(()), |part| decoder(part, 0))?;
    Ok((added, shape.model))
}

impl AddedTokens {
    fn check(&self, vocab: u32) -> Result<()> {
        let (mut literals, mut ids, mut bytes) = (HashSet::new(), HashSet::new(), 0);
        for AddedToken { id: number, content, .. } in &self.tokens {
            id("added_tokens", *number, vocab)?;
            let new = literals.insert(content.as_str()) && ids.insert(number);
            ensure(new, "added_tokens", || format!("{content:?} or its id {number} is there twice"))?;
            self.check_literal(content, content)?;
            bytes += content.len();
        }
        ensure(bytes <= MAX_ADDED, "added_tokens", || {
            format!("{bytes} bytes together; expected at most {MAX_ADDED}")
        })
    }

    /// Checks what a text is searched for to find the token `content`.
    pub(super) fn check_literal(&self, content: &str, looked_for: &str) -> Result<()> {
        piece("added_tokens", looked_for)?;
        // The one before could take along all of it, which the library takes for a text that ends before it starts.
        let blank = looked_for.chars().all(char::is_whitespace);
        ensure(!(blank && self.strips), "added_tokens", || {
            format!("{content:?} is white space, and another token takes along what is around it")
        })
    }
}

pub(super) fn wrong(field: &str, problem: impl Into<String>) -> Error {
    let mut problem = problem.into();
    if problem.len() > MAX_PROBLEM {
        problem = problem.chars().take(MAX_PROBLEM).chain(['…']).collect();
    }
    Error::Tokenizer { field: field.to_string(), problem }
}

pub(super) fn ensure(ok: bool, field: &str, problem: impl FnOnce() -> String) -> Result<()> {
    if ok { Ok(()) } else { Err(wrong(field, problem())) }
}

/// A piece of text that stands for a token.
pub(super) fn piece(field: &str, text: &str) -> Result<()> {
    ensure((1..=MAX_PIECE).contains(&text.len()), field, || {
        let found = text.len();
        format!("a piece of {found} bytes; expected 1 to {MAX_PIECE}")
    })
}

pub(super) fn id(field: &str, id: u32, vocab: u32) -> Result<()> {
    ensure(id < vocab, field, || format!("id {id}; the model embeds {vocab} tokens"))
}
