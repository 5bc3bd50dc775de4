//! The steps between a text and its pieces, and what is put around them.

use super::charsmap;
use super::shape::{Decoder, Metaspace, Normalizer, Pattern, PostProcessor, PreTokenizer, TemplatePiece};
use super::validate::{ensure, id, piece, wrong};
use crate::error::Result;
use std::format;

/// How many times as long as a text what the model sees of it may be. SigLIP's come to 150 (its charsmap's longest
/// replacement has 33 bytes).
const MAX_GROWTH: f64 = 256.0;
/// Most components of a sequence, and most pieces of a template.
const MAX_PARTS: usize = 16;

/// What may be replaced by what; no pattern takes more than linear time.
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

impl Pattern {
    /// The length of the shortest text that it finds, in bytes.
    fn shortest(&self) -> usize {
        match self {
            Pattern::String(text) => text.len(),
            Pattern::Regex(regex) if regex == " {2,}" => 2,
            Pattern::Regex(_) => 1,
        }
    }
}

/// How many times as long a text can be after the steps so far, in bytes.
pub(super) struct Growth(f64);

impl Growth {
    pub(super) const NONE: Growth = Growth(1.0);

    fn by(&mut self, factor: f64) {
        self.0 *= factor.max(1.0);
    }

    pub(super) fn check(&self) -> Result<()> {
        ensure(self.0 <= MAX_GROWTH, "normalizer and pre_tokenizer", || {
            format!("a text could become {} times as long; expected at most {MAX_GROWTH}", self.0)
        })
    }
}

/// Sequences hold components, not other sequences.
fn parts(field: &str, count: usize, depth: usize) -> Result<()> {
    ensure(depth == 0 && count <= MAX_PARTS, field, || {
        format!("{count} components in a sequence, {depth} deep; expected at most {MAX_PARTS} in one")
    })
}

pub(super) fn normalizer(part: &Normalizer, depth: usize, growth: &mut Growth) -> Result<()> {
    growth.by(match part {
        Normalizer::Sequence { normalizers } => {
            parts("normalizer", normalizers.len(), depth)?;
            return normalizers.iter().try_for_each(|part| normalizer(part, depth + 1, growth));
        }
        Normalizer::Replace { pattern, content } => {
            let known = REPLACEMENTS.iter().any(|(known, by)| known.is(pattern) && by == content);
            ensure(known, "normalizer", || {
                format!("{pattern:?} is replaced by {content:?}, which no supported family does")
            })?;
            content.len() as f64 / pattern.shortest() as f64
        }
        Normalizer::Precompiled { precompiled_charsmap } => charsmap::check(precompiled_charsmap)
            .map_err(|problem| wrong("normalizer.precompiled_charsmap", problem))?
            as f64,
        // What Unicode has: <https://unicode.org/faq/normalization.html#12>, and U+0130 in lower case.
        Normalizer::Nfc {} => 3.0,
        Normalizer::Nfkc {} => 11.0,
        Normalizer::Lowercase {} => 1.5,
        Normalizer::Strip { .. } => 1.0,
        // Spaces around ideographs, canonical decomposition, lower case.
        Normalizer::Bert { .. } => 5.0 / 3.0 * 3.0 * 1.5,
    });
    Ok(())
}

/// SentencePiece's mark for a space is the only one.
fn metaspace(field: &str, replacement: &str) -> Result<()> {
    ensure(replacement == "\u{2581}", field, || {
        format!("spaces become {replacement:?}; expected \"\u{2581}\"")
    })
}

pub(super) fn pre_tokenizer(part: &PreTokenizer, depth: usize, growth: &mut Growth) -> Result<()> {
    growth.by(match part {
        PreTokenizer::Sequence { pretokenizers } => {
            parts("pre_tokenizer", pretokenizers.len(), depth)?;
            return pretokenizers.iter().try_for_each(|part| pre_tokenizer(part, depth + 1, growth));
        }
        PreTokenizer::Split { pattern, .. } => {
            ensure(SPLITS.iter().any(|known| known.is(pattern)), "pre_tokenizer", || {
                format!("texts are split by {pattern:?}, which no supported family does")
            })?;
            1.0
        }
        PreTokenizer::Metaspace(Metaspace { replacement, .. }) => {
            metaspace("pre_tokenizer", replacement)?;
            // The mark before a letter that stands alone.
            4.0
        }
        // A character of one byte or two for each byte.
        PreTokenizer::ByteLevel(_) => 2.0,
        PreTokenizer::Bert {} | PreTokenizer::WhitespaceSplit {} => 1.0,
    });
    Ok(())
}

pub(super) fn post_processor(part: &PostProcessor, vocab: u32) -> Result<()> {
    const FIELD: &str = "post_processor";
    match part {
        PostProcessor::Roberta { sep, cls, .. } | PostProcessor::Bert { sep, cls } => {
            for (token, number) in [sep, cls] {
                piece(FIELD, token)?;
                id(FIELD, *number, vocab)?;
            }
            Ok(())
        }
        PostProcessor::Template { single, pair, special_tokens } => {
            for (name, token) in special_tokens {
                ensure(token.id == *name && token.ids.len() == token.tokens.len(), FIELD, || {
                    format!("special token {name:?} does not fit its entry")
                })?;
                ensure((1..=MAX_PARTS).contains(&token.ids.len()), FIELD, || {
                    format!("{} ids for special token {name:?}", token.ids.len())
                })?;
                token.ids.iter().try_for_each(|&number| id(FIELD, number, vocab))?;
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

pub(super) fn decoder(part: &Decoder, depth: usize) -> Result<()> {
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
        Decoder::Metaspace(Metaspace { replacement, .. }) => metaspace("decoder", replacement),
        Decoder::ByteLevel(_)
        | Decoder::ByteFallback {}
        | Decoder::Fuse {}
        | Decoder::Strip { .. }
        | Decoder::WordPiece { .. } => Ok(()),
    }
}
