//! The shapes of a `tokenizer.json` that the supported families have, as strict types: any other component, and any
//! field that is not known, is an error. What the fields say is checked in `validate`.

use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::HashMap;
use std::string::String;
use std::vec::Vec;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shape {
    #[serde(rename = "version", default)]
    _version: IgnoredAny,
    // Lengths are the model's business: whatever is said here is switched off.
    #[serde(rename = "truncation", default)]
    _truncation: IgnoredAny,
    #[serde(rename = "padding", default)]
    _padding: IgnoredAny,
    #[serde(default)]
    pub(super) added_tokens: Vec<AddedToken>,
    #[serde(default)]
    pub(super) normalizer: Option<Normalizer>,
    #[serde(default)]
    pub(super) pre_tokenizer: Option<PreTokenizer>,
    #[serde(default)]
    pub(super) post_processor: Option<PostProcessor>,
    #[serde(default)]
    pub(super) decoder: Option<Decoder>,
    pub(super) model: Model,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AddedToken {
    pub(super) id: u32,
    pub(super) content: String,
    #[serde(rename = "single_word", default)]
    _single_word: bool,
    #[serde(default)]
    pub(super) lstrip: bool,
    #[serde(default)]
    pub(super) rstrip: bool,
    #[serde(default)]
    pub(super) normalized: bool,
    #[serde(rename = "special", default)]
    _special: bool,
}

/// A pattern; which ones are possible is listed in `validate`.
#[derive(Deserialize, PartialEq, Eq, Debug)]
pub(super) enum Pattern {
    String(String),
    Regex(String),
}

#[derive(Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub(super) enum Normalizer {
    Sequence {
        normalizers: Vec<Normalizer>,
    },
    #[serde(rename = "NFC")]
    Nfc {},
    #[serde(rename = "NFKC")]
    Nfkc {},
    Lowercase {},
    Replace {
        pattern: Pattern,
        content: String,
    },
    Strip {
        #[serde(rename = "strip_left")]
        _left: bool,
        #[serde(rename = "strip_right")]
        _right: bool,
    },
    Precompiled {
        precompiled_charsmap: String,
    },
    #[serde(rename = "BertNormalizer")]
    Bert {
        #[serde(rename = "clean_text")]
        _clean_text: bool,
        #[serde(rename = "handle_chinese_chars")]
        _handle_chinese_chars: bool,
        #[serde(rename = "strip_accents")]
        _strip_accents: Option<bool>,
        #[serde(rename = "lowercase")]
        _lowercase: bool,
    },
}

/// Bytes as letters (GPT-2), before a tokenizer's pieces and after them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ByteLevel {
    #[serde(rename = "add_prefix_space", default)]
    _add_prefix_space: bool,
    #[serde(rename = "trim_offsets", default)]
    _trim_offsets: bool,
    #[serde(rename = "use_regex", default)]
    _use_regex: bool,
}

/// Spaces as letters (SentencePiece), likewise.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metaspace {
    pub(super) replacement: String,
    #[serde(rename = "prepend_scheme", default)]
    _prepend_scheme: Option<String>,
    #[serde(rename = "split", default)]
    _split: Option<bool>,
    #[serde(rename = "add_prefix_space", default)]
    _add_prefix_space: Option<bool>,
    #[serde(rename = "str_rep", default)]
    _str_rep: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub(super) enum PreTokenizer {
    Sequence {
        pretokenizers: Vec<PreTokenizer>,
    },
    Split {
        pattern: Pattern,
        #[serde(rename = "behavior")]
        _behavior: String,
        #[serde(rename = "invert", default)]
        _invert: bool,
    },
    ByteLevel(#[expect(dead_code, reason = "reading it is the check")] ByteLevel),
    Metaspace(Metaspace),
    #[serde(rename = "BertPreTokenizer")]
    Bert {},
    WhitespaceSplit {},
}

#[derive(Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub(super) enum PostProcessor {
    #[serde(rename = "RobertaProcessing")]
    Roberta {
        sep: (String, u32),
        cls: (String, u32),
        #[serde(rename = "trim_offsets", default)]
        _trim_offsets: bool,
        #[serde(rename = "add_prefix_space", default)]
        _add_prefix_space: bool,
    },
    #[serde(rename = "BertProcessing")]
    Bert { sep: (String, u32), cls: (String, u32) },
    #[serde(rename = "TemplateProcessing")]
    Template {
        single: Vec<TemplatePiece>,
        pair: Vec<TemplatePiece>,
        special_tokens: HashMap<String, TemplateToken>,
    },
}

#[derive(Deserialize)]
pub(super) enum TemplatePiece {
    Sequence {
        id: String,
        #[serde(rename = "type_id")]
        _type_id: u32,
    },
    SpecialToken {
        id: String,
        #[serde(rename = "type_id")]
        _type_id: u32,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TemplateToken {
    pub(super) id: String,
    pub(super) ids: Vec<u32>,
    pub(super) tokens: Vec<String>,
}

/// Never run, but the library reads it.
#[derive(Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub(super) enum Decoder {
    Sequence {
        decoders: Vec<Decoder>,
    },
    ByteLevel(#[expect(dead_code, reason = "reading it is the check")] ByteLevel),
    Metaspace(Metaspace),
    Replace {
        pattern: Pattern,
        #[serde(rename = "content")]
        _content: String,
    },
    ByteFallback {},
    Fuse {},
    Strip {
        #[serde(rename = "content")]
        _content: char,
        #[serde(rename = "start")]
        _start: u32,
        #[serde(rename = "stop")]
        _stop: u32,
    },
    WordPiece {
        #[serde(rename = "prefix")]
        _prefix: String,
        #[serde(rename = "cleanup")]
        _cleanup: bool,
    },
}

#[derive(Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub(super) enum Model {
    #[serde(rename = "BPE")]
    Bpe {
        vocab: HashMap<String, u32>,
        merges: Vec<Merge>,
        #[serde(default)]
        dropout: Option<f32>,
        #[serde(default)]
        unk_token: Option<String>,
        #[serde(default)]
        continuing_subword_prefix: Option<String>,
        #[serde(default)]
        end_of_word_suffix: Option<String>,
        #[serde(rename = "fuse_unk", default)]
        _fuse_unk: bool,
        #[serde(rename = "byte_fallback", default)]
        _byte_fallback: bool,
        #[serde(rename = "ignore_merges", default)]
        _ignore_merges: bool,
    },
    Unigram {
        vocab: Vec<(String, f64)>,
        #[serde(default)]
        unk_id: Option<usize>,
        #[serde(rename = "byte_fallback", default)]
        _byte_fallback: bool,
    },
    WordPiece {
        vocab: HashMap<String, u32>,
        unk_token: String,
        continuing_subword_prefix: String,
        max_input_chars_per_word: usize,
    },
}

/// `"a b"`, or `["a", "b"]` in newer files.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Merge {
    Joined(String),
    Pair(String, String),
}
