//! What a tokenizer may say. A model's tokenizer is input like any other, but the libraries that run it trust theirs:
//! a piece that does not exist, an empty pattern or a damaged table make them panic, loop or take all memory. So every
//! field is checked before they see it, when a checkpoint is converted and when a model's texts are first embedded.

use super::charsmap;
use super::shape::{
    AddedToken, Decoder, Merge, Model, Normalizer, Pattern, PostProcessor, PreTokenizer, Shape, TemplatePiece,
};
use crate::error::{Error, Result};
use std::collections::HashSet;
use std::format;
use std::string::String;

/// Ids are below this.
const MAX_ID: u32 = 10_000_000;
/// Longest piece or added token, in bytes.
const MAX_PIECE: usize = 1024;
/// Most components of a sequence, and most pieces of a template.
const MAX_PARTS: usize = 16;

/// What may be replaced by what: no text grows, and no pattern takes more than linear time.
const REPLACEMENTS: [(KnownPattern, &str); 7] = [
    (KnownPattern::Regex(r"\s+"), " "),
    (KnownPattern::Regex(" {2,}"), " "),
    (KnownPattern::Regex(" {2,}"), "\u{2581}"),
    (KnownPattern::Regex(r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"##), ""),
    (KnownPattern::String(" "), "\u{2581}"),
    (KnownPattern::String("``"), "\""),
    (KnownPattern::String("''"), "\""),
];

/// What texts may be split by: CLIP's words, in the spellings of its libraries, and spaces.
const SPLITS: [KnownPattern; 4] = [
    KnownPattern::Regex(
        r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    ),
    KnownPattern::Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"),
    KnownPattern::Regex(
        r"(?i)<start_of_text>|<end_of_text>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    ),
    KnownPattern::String(" "),
];

/// A [`Pattern`] that is known.
enum KnownPattern {
    String(&'static str),
    Regex(&'static str),
}

impl KnownPattern {
    fn is(&self, other: &Pattern) -> bool {
        match (self, other) {
            (KnownPattern::String(known), Pattern::String(found)) => known == found,
            (KnownPattern::Regex(known), Pattern::Regex(found)) => known == found,
            _ => false,
        }
    }
}

/// Checks the text of a `tokenizer.json`.
///
/// # Errors
/// [`Error::Tokenizer`] names the first field that no supported family has so, and what is wrong with it.
pub fn validate(json: &str) -> Result<()> {
    let shape: Shape = serde_json::from_str(json)
        .map_err(|error| wrong("its JSON", format!("{error}: not the tokenizer of a supported family")))?;
    model(&shape.model)?;
    added_tokens(&shape.added_tokens, shape.normalizer.as_ref())?;
    if let Some(part) = &shape.normalizer {
        normalizer(part, 0)?;
    }
    if let Some(part) = &shape.pre_tokenizer {
        pre_tokenizer(part, 0)?;
    }
    if let Some(part) = &shape.post_processor {
        post_processor(part)?;
    }
    shape.decoder.as_ref().map_or(Ok(()), |part| decoder(part, 0))
}

fn wrong(field: &str, problem: impl Into<String>) -> Error {
    Error::Tokenizer { field: field.into(), problem: problem.into() }
}

fn ensure(ok: bool, field: &str, problem: impl FnOnce() -> String) -> Result<()> {
    if ok { Ok(()) } else { Err(wrong(field, problem())) }
}

/// A piece of text that stands for a token.
fn piece(field: &str, text: &str) -> Result<()> {
    ensure((1..=MAX_PIECE).contains(&text.len()), field, || {
        let found = text.len();
        format!("a piece of {found} bytes; expected 1 to {MAX_PIECE}")
    })
}

fn id(field: &str, id: u32) -> Result<()> {
    ensure(id < MAX_ID, field, || format!("id {id}; expected less than {MAX_ID}"))
}

fn vocab<'v>(entries: impl IntoIterator<Item = (&'v String, &'v u32)>) -> Result<()> {
    let mut ids = HashSet::new();
    for (text, &number) in entries {
        piece("model.vocab", text)?;
        id("model.vocab", number)?;
        ensure(ids.insert(number), "model.vocab", || format!("id {number} stands for two pieces"))?;
    }
    ensure(!ids.is_empty(), "model.vocab", || "no pieces".into())
}

fn model(model: &Model) -> Result<()> {
    match model {
        Model::Bpe {
            vocab: pieces,
            merges,
            dropout,
            unk_token,
            continuing_subword_prefix,
            end_of_word_suffix,
            ..
        } => {
            vocab(pieces)?;
            let random = dropout.is_some_and(|dropout| dropout != 0.0);
            ensure(!random, "model.dropout", || {
                "set; expected none, as answers would differ each time".into()
            })?;
            let prefix = continuing_subword_prefix.as_deref().unwrap_or_default();
            ensure(prefix.is_empty(), "model.continuing_subword_prefix", || {
                format!("{prefix:?}; expected none")
            })?;
            let suffix = end_of_word_suffix.as_deref().unwrap_or_default();
            ensure(suffix.len() <= MAX_PIECE, "model.end_of_word_suffix", || "too long".into())?;
            let known = unk_token.as_ref().is_none_or(|token| pieces.contains_key(token));
            ensure(known, "model.unk_token", || format!("{unk_token:?} is not in the vocabulary"))?;
            for (i, merge) in merges.iter().enumerate() {
                let (a, b) = match merge {
                    Merge::Pair(a, b) => (a.as_str(), b.as_str()),
                    Merge::Joined(both) => both.split_once(' ').unwrap_or_default(),
                };
                let known = [a, b].into_iter().all(|part| !part.is_empty() && pieces.contains_key(part))
                    && pieces.contains_key(&format!("{a}{b}"));
                ensure(known, "model.merges", || {
                    format!("number {i}, {a:?} with {b:?}, is not made of pieces of the vocabulary")
                })?;
            }
            Ok(())
        }
        Model::Unigram { vocab, unk_id, .. } => {
            for (text, score) in vocab {
                piece("model.vocab", text)?;
                ensure(score.is_finite() && score.abs() <= 1e9, "model.vocab", || {
                    format!("score {score} of {text:?}")
                })?;
            }
            let len = vocab.len();
            ensure(len > 0 && len < MAX_ID as usize, "model.vocab", || format!("{len} pieces"))?;
            ensure(unk_id.is_some_and(|unk| unk < len), "model.unk_id", || {
                format!("{unk_id:?}; expected the place of a piece, below {len}")
            })
        }
        Model::WordPiece {
            vocab: pieces,
            unk_token,
            continuing_subword_prefix: prefix,
            max_input_chars_per_word: most,
        } => {
            vocab(pieces)?;
            ensure(pieces.contains_key(unk_token), "model.unk_token", || {
                format!("{unk_token:?} is not in the vocabulary")
            })?;
            ensure(prefix.len() <= MAX_PIECE, "model.continuing_subword_prefix", || "too long".into())?;
            ensure((1..=1000).contains(most), "model.max_input_chars_per_word", || {
                format!("{most}; expected 1 to 1000")
            })
        }
    }
}

fn added_tokens(tokens: &[AddedToken], normalizer: Option<&Normalizer>) -> Result<()> {
    let table = |part: &Normalizer| matches!(part, Normalizer::Precompiled { .. });
    let rewrites = match normalizer {
        Some(Normalizer::Sequence { normalizers }) => normalizers.iter().any(table),
        Some(part) => table(part),
        None => false,
    };
    for AddedToken { id: number, content, normalized, .. } in tokens {
        piece("added_tokens", content)?;
        id("added_tokens", *number)?;
        // A token that is normalised is looked for as what becomes of it, which must not be nothing.
        let stays = content.chars().any(char::is_alphanumeric) && !rewrites;
        ensure(!normalized || stays, "added_tokens", || {
            format!("{content:?} is normalised, and nothing may be left of it")
        })?;
    }
    ensure(tokens.len() < MAX_ID as usize, "added_tokens", || "too many".into())
}

/// Sequences hold components, not other sequences.
fn parts(field: &str, count: usize, depth: usize) -> Result<()> {
    ensure(depth == 0 && count <= MAX_PARTS, field, || {
        format!("{count} components in a sequence, {depth} deep; expected at most {MAX_PARTS} in one")
    })
}

fn normalizer(part: &Normalizer, depth: usize) -> Result<()> {
    match part {
        Normalizer::Sequence { normalizers } => {
            parts("normalizer", normalizers.len(), depth)?;
            normalizers.iter().try_for_each(|part| normalizer(part, depth + 1))
        }
        Normalizer::Replace { pattern, content } => {
            let known = REPLACEMENTS.iter().any(|(known, by)| known.is(pattern) && by == content);
            ensure(known, "normalizer", || {
                format!("{pattern:?} is replaced by {content:?}, which no supported family does")
            })
        }
        Normalizer::Precompiled { precompiled_charsmap } => charsmap::check(precompiled_charsmap)
            .map_err(|problem| wrong("normalizer.precompiled_charsmap", problem)),
        Normalizer::Nfc {}
        | Normalizer::Nfkc {}
        | Normalizer::Lowercase {}
        | Normalizer::Strip { .. }
        | Normalizer::BertNormalizer { .. } => Ok(()),
    }
}

/// SentencePiece's mark for a space is the only one.
fn metaspace(field: &str, replacement: &str) -> Result<()> {
    ensure(replacement == "\u{2581}", field, || {
        format!("spaces become {replacement:?}; expected \"\u{2581}\"")
    })
}

fn pre_tokenizer(part: &PreTokenizer, depth: usize) -> Result<()> {
    match part {
        PreTokenizer::Sequence { pretokenizers } => {
            parts("pre_tokenizer", pretokenizers.len(), depth)?;
            pretokenizers.iter().try_for_each(|part| pre_tokenizer(part, depth + 1))
        }
        PreTokenizer::Split { pattern, .. } => {
            ensure(SPLITS.iter().any(|known| known.is(pattern)), "pre_tokenizer", || {
                format!("texts are split by {pattern:?}, which no supported family does")
            })
        }
        PreTokenizer::Metaspace { replacement, .. } => metaspace("pre_tokenizer", replacement),
        PreTokenizer::ByteLevel { .. }
        | PreTokenizer::BertPreTokenizer {}
        | PreTokenizer::WhitespaceSplit {} => Ok(()),
    }
}

fn post_processor(part: &PostProcessor) -> Result<()> {
    const FIELD: &str = "post_processor";
    match part {
        PostProcessor::RobertaProcessing { sep, cls, .. } | PostProcessor::BertProcessing { sep, cls } => {
            for (token, number) in [sep, cls] {
                piece(FIELD, token)?;
                id(FIELD, *number)?;
            }
            Ok(())
        }
        PostProcessor::TemplateProcessing { single, pair, special_tokens } => {
            for (name, token) in special_tokens {
                ensure(token.id == *name && token.ids.len() == token.tokens.len(), FIELD, || {
                    format!("special token {name:?} does not fit its entry")
                })?;
                ensure((1..=MAX_PARTS).contains(&token.ids.len()), FIELD, || {
                    format!("{} ids for special token {name:?}", token.ids.len())
                })?;
                token.ids.iter().try_for_each(|&number| id(FIELD, number))?;
            }
            for (template, sequences) in [(single, &["A"][..]), (pair, &["A", "B"])] {
                ensure(template.len() <= MAX_PARTS, FIELD, || format!("{} pieces", template.len()))?;
                for part in template {
                    let (known, name) = match part {
                        TemplatePiece::Sequence { id, .. } => (sequences.contains(&id.as_str()), id),
                        TemplatePiece::SpecialToken { id, .. } => (special_tokens.contains_key(id), id),
                    };
                    ensure(known, FIELD, || format!("a template names {name:?}, which does not exist"))?;
                }
            }
            let text = |part: &TemplatePiece| matches!(part, TemplatePiece::Sequence { .. });
            let texts = single.iter().filter(|part| text(part)).count();
            ensure(texts == 1, FIELD, || format!("the text occurs {texts} times; expected once"))
        }
    }
}

fn decoder(part: &Decoder, depth: usize) -> Result<()> {
    match part {
        Decoder::Sequence { decoders } => {
            parts("decoder", decoders.len(), depth)?;
            decoders.iter().try_for_each(|part| decoder(part, depth + 1))
        }
        Decoder::Replace { pattern, .. } => {
            ensure(matches!(pattern, Pattern::String(text) if !text.is_empty()), "decoder", || {
                format!("{pattern:?} is replaced; expected a text")
            })
        }
        Decoder::Metaspace { replacement, .. } => metaspace("decoder", replacement),
        Decoder::ByteLevel { .. }
        | Decoder::ByteFallback {}
        | Decoder::Fuse {}
        | Decoder::Strip { .. }
        | Decoder::WordPiece { .. } => Ok(()),
    }
}
