//! The models that find pieces in a text, and their vocabularies.

use super::shape::{Merge, Model};
use super::validate::{ensure, id, piece};
use crate::error::Result;
use std::collections::{HashMap, HashSet};
use std::format;
use std::string::String;

/// All pieces of a unigram model together, in bytes: its trie has a node of some hundred bytes for each. XLM-R's quarter
/// of a million have less than 3 MiB.
const MAX_UNIGRAM: usize = 4 << 20;
/// Longest piece of a unigram model, in bytes: so far is looked ahead from every character of a text. SentencePiece makes
/// none of more than 16 characters.
const MAX_UNIGRAM_PIECE: usize = 64;
/// Longest prefix or suffix of the pieces inside or at the end of a word, in bytes.
const MAX_AFFIX: usize = 16;

pub(super) fn model(model: &Model, most: u32) -> Result<()> {
    match model {
        Model::Bpe {
            vocab,
            merges,
            dropout,
            unk_token,
            continuing_subword_prefix,
            end_of_word_suffix,
            ..
        } => {
            ids(vocab, most)?;
            let random = dropout.is_some_and(|dropout| dropout != 0.0);
            ensure(!random, "model.dropout", || {
                "set; expected none, as answers would differ each time".into()
            })?;
            let prefix = continuing_subword_prefix.as_deref().unwrap_or_default();
            ensure(prefix.is_empty(), "model.continuing_subword_prefix", || {
                format!("{prefix:?}; expected none")
            })?;
            affix("model.end_of_word_suffix", end_of_word_suffix.as_deref().unwrap_or_default())?;
            unk_token.as_ref().map_or(Ok(()), |token| unknown(vocab, token))?;
            merges.iter().enumerate().try_for_each(|(i, merge)| {
                let (a, b) = match merge {
                    Merge::Pair(a, b) => (a.as_str(), b.as_str()),
                    Merge::Joined(both) => both.split_once(' ').unwrap_or_default(),
                };
                let known =
                    vocab.contains_key(a) && vocab.contains_key(b) && vocab.contains_key(&format!("{a}{b}"));
                ensure(known, "model.merges", || {
                    format!("number {i}, {a:?} with {b:?}, is not made of pieces of the vocabulary")
                })
            })
        }
        Model::Unigram { vocab, unk_id, .. } => {
            let mut bytes = 0;
            for (text, score) in vocab {
                piece("model.vocab", text)?;
                ensure(text.len() <= MAX_UNIGRAM_PIECE, "model.vocab", || {
                    format!("a piece of {} bytes; expected at most {MAX_UNIGRAM_PIECE}", text.len())
                })?;
                bytes += text.len();
                ensure(score.is_finite() && score.abs() <= 1e9, "model.vocab", || {
                    format!("score {score} of {text:?}")
                })?;
            }
            ensure(bytes <= MAX_UNIGRAM, "model.vocab", || {
                format!("{bytes} bytes together; expected at most {MAX_UNIGRAM}")
            })?;
            let len = vocab.len();
            size(len, most)?;
            ensure(unk_id.is_some_and(|unk| unk < len), "model.unk_id", || {
                format!("{unk_id:?}; expected the place of a piece, below {len}")
            })
        }
        Model::WordPiece {
            vocab,
            unk_token,
            continuing_subword_prefix: prefix,
            max_input_chars_per_word: longest,
        } => {
            ids(vocab, most)?;
            unknown(vocab, unk_token)?;
            affix("model.continuing_subword_prefix", prefix)?;
            ensure((1..=1000).contains(longest), "model.max_input_chars_per_word", || {
                format!("{longest}; expected 1 to 1000")
            })
        }
    }
}

fn size(len: usize, most: u32) -> Result<()> {
    ensure((1..=most as usize).contains(&len), "model.vocab", || {
        format!("{len} pieces; the model embeds {most} tokens")
    })
}

fn ids(vocab: &HashMap<String, u32>, most: u32) -> Result<()> {
    size(vocab.len(), most)?;
    let mut taken = HashSet::with_capacity(vocab.len());
    vocab.iter().try_for_each(|(text, &number)| {
        piece("model.vocab", text)?;
        id("model.vocab", number, most)?;
        ensure(taken.insert(number), "model.vocab", || format!("id {number} stands for two pieces"))
    })
}

fn unknown(vocab: &HashMap<String, u32>, token: &str) -> Result<()> {
    ensure(vocab.contains_key(token), "model.unk_token", || format!("{token:?} is not in the vocabulary"))
}

fn affix(field: &str, text: &str) -> Result<()> {
    ensure(text.len() <= MAX_AFFIX, field, || format!("{} bytes; expected at most {MAX_AFFIX}", text.len()))
}
