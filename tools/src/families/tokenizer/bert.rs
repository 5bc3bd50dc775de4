//! The tokenizers of text towers like BERT's: WordPiece (BERT), a unigram model (XLM-RoBERTa) or byte-level BPE
//! (RoBERTa), as `tokenizer.json` or as the files of older releases.

use super::loaded::{Loaded, absent, added_token, check, minify, read, read_merges};
use super::sentencepiece::{Algorithm, Model};
use super::settings::{Settings, template};
use crate::source::read_json;
use crate::{Error, Result};
use base64::Engine;
use serde_json::{Map, Value, json};
use std::path::Path;

const FILES: &str = "tokenizer.json, vocab.txt, sentencepiece.bpe.model, or vocab.json with merges.txt";

/// Finds and checks the tokenizer of a text tower like BERT's with `vocab` token embeddings.
///
/// # Errors
/// There is none, it is damaged, or it leaves open how a text begins and ends.
pub fn load_bert(directory: &Path, vocab: u32) -> Result<Loaded> {
    let names = ["tokenizer.json", "vocab.txt", "sentencepiece.bpe.model", "vocab.json"];
    let path = names.map(|name| directory.join(name)).into_iter().find(|path| path.exists());
    let path = path.ok_or_else(|| absent(directory, FILES))?;
    let settings = Settings::of(directory)?;
    let mut files = vec![path.clone()];
    let text = match path.file_name().and_then(|name| name.to_str()) {
        Some("vocab.txt") => wordpiece(&path, &settings)?.to_string(),
        Some("sentencepiece.bpe.model") => unigram(&Model::open(&path)?, &path)?.to_string(),
        Some("vocab.json") => {
            let merges = directory.join("merges.txt");
            files.push(merges.clone());
            byte_level(&path, &merges)?.to_string()
        }
        _ => {
            let mut json = read_json(&path)?;
            if settings.decide(&mut json)? { json.to_string() } else { minify(&read(&path)?) }
        }
    };
    let (tokenizer, ids) = check(&text, &path, vocab)?;
    let [_, end] = *ids else {
        let problem =
            format!("encodes the empty text as {ids:?}; expected a token that begins and one that ends it");
        return Err(Error::file(&path, problem));
    };
    // Nothing is padded: a text runs at its own length.
    let named = ["[PAD]", "<pad>"].into_iter().find_map(|name| tokenizer.id(name));
    let pad = settings.pad(&tokenizer)?.or(named).unwrap_or(end);
    files.extend(settings.path.exists().then(|| settings.path.clone()));
    Ok(Loaded { text, path, files, end, pad, canonical: None, longest: settings.longest() })
}

/// The same for open_clip's `strip_sep_token`, which puts zeros, BERT's padding, in place of the token that ends a text.
///
/// # Errors
/// As [`load_bert`]; or token 0 is not the padding.
pub fn load_bert_without_end(directory: &Path, vocab: u32) -> Result<Loaded> {
    let loaded = load_bert(directory, vocab)?;
    let mut json: Value = serde_json::from_str(&loaded.text).map_err(Error::json(&loaded.path))?;
    let (tokenizer, ids) = check(&loaded.text, &loaded.path, vocab)?;
    let name = |id: u32| {
        let tokens = json["model"]["vocab"].as_object()?;
        tokens.iter().find(|(_, value)| **value == id).map(|(token, _)| token.clone())
    };
    let (Some(pad), Some(first)) =
        (name(0).filter(|pad| tokenizer.id(pad) == Some(loaded.pad)), name(ids[0]))
    else {
        let problem = "has no padding token with the id 0, which takes the end token's place";
        return Err(Error::file(&loaded.path, problem));
    };
    json["post_processor"] = template(&[(&first, ids[0].into())], &[(&pad, 0)]);
    let text = json.to_string();
    check(&text, &loaded.path, vocab)?;
    Ok(Loaded { text, end: 0, ..loaded })
}

impl Settings {
    /// `BertTokenizer` makes its normaliser of its own arguments, whatever the file says. Whether that changed anything.
    fn decide(&self, tokenizer: &mut Value) -> Result<bool> {
        let class = self.get("tokenizer_class").and_then(Value::as_str).unwrap_or("BertTokenizer");
        let own = ["BertTokenizer", "BertTokenizerFast"].contains(&class);
        if !own || tokenizer["normalizer"]["type"] != "BertNormalizer" {
            return Ok(false);
        }
        let normalizer = self.normalizer()?;
        let changed = tokenizer["normalizer"] != normalizer;
        tokenizer["normalizer"] = normalizer;
        Ok(changed)
    }

    /// The normaliser of `BertTokenizer`, with the defaults of its class.
    fn normalizer(&self) -> Result<Value> {
        let strip_accents = match self.get("strip_accents") {
            None | Some(Value::Null) => Value::Null,
            Some(_) => self.is_on("strip_accents", false)?.into(),
        };
        Ok(json!({
            "type": "BertNormalizer", "clean_text": true,
            "handle_chinese_chars": self.is_on("tokenize_chinese_chars", true)?,
            "strip_accents": strip_accents, "lowercase": self.is_on("do_lower_case", true)?,
        }))
    }

    /// The special token `key`, or the default of its class, with its id.
    fn special<'s>(
        &'s self,
        key: &str,
        default: &'s str,
        vocab: &Value,
        path: &Path,
    ) -> Result<(&'s str, u64)> {
        let token = self.token(key).unwrap_or(default);
        let id = vocab.get(token).and_then(Value::as_u64);
        id.map(|id| (token, id))
            .ok_or_else(|| Error::file(path, format!("has no piece {token:?}, the {key}")))
    }
}

/// `vocab.txt`: a piece on each line, in the order of their ids.
fn wordpiece(path: &Path, settings: &Settings) -> Result<Value> {
    let mut vocab = Map::new();
    for (id, line) in read(path)?.lines().enumerate() {
        // The library leaves the white space at a line's end out. A piece of nothing else is never found.
        let piece = if line.trim_end().is_empty() { line } else { line.trim_end() };
        if !piece.is_empty() {
            vocab.insert(piece.into(), id.into());
        }
    }
    let vocab = Value::Object(vocab);
    let special = |key, default| settings.special(key, default, &vocab, path);
    let ((cls, cls_id), (sep, sep_id)) = (special("cls_token", "[CLS]")?, special("sep_token", "[SEP]")?);
    let (unknown, unknown_id) = special("unk_token", "[UNK]")?;
    let mut added = vec![(cls, cls_id), (sep, sep_id), (unknown, unknown_id)];
    added.extend(
        ["pad_token", "mask_token"]
            .into_iter()
            .zip(["[PAD]", "[MASK]"])
            .filter_map(|(key, default)| special(key, default).ok()),
    );
    added.sort_by_key(|(_, id)| *id);
    let added: Vec<Value> = added.into_iter().map(|(token, id)| added_token(id, token, false)).collect();
    Ok(json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": added,
        "normalizer": settings.normalizer()?,
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": [sep, sep_id], "cls": [cls, cls_id]},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {
            "type": "WordPiece", "unk_token": unknown, "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab,
        },
    }))
}

/// `XLMRobertaTokenizer`: the pieces of a SentencePiece model under the ids of fairseq, which puts its own special tokens
/// before them and a mask behind.
fn unigram(model: &Model, path: &Path) -> Result<Value> {
    if model.algorithm != Algorithm::Unigram || !model.dummy_prefix || model.byte_fallback {
        return Err(Error::file(path, "has settings that XLM-RoBERTa's unigram model does not have"));
    }
    let own = ["<s>", "<pad>", "</s>", "<unk>"];
    // The model's own are <unk>, <s> and </s>.
    let first = model.pieces.iter().take(3).map(|piece| piece.text.as_str()).collect::<Vec<_>>();
    if first != ["<unk>", "<s>", "</s>"] {
        return Err(Error::file(
            path,
            format!("starts with the pieces {first:?}; XLM-RoBERTa's are <unk>, <s>, </s>"),
        ));
    }
    let special = own.iter().map(|token| json!([token, 0.0]));
    let pieces = model.pieces[3..].iter().map(|piece| json!([piece.text, piece.score]));
    let vocab: Vec<Value> = special.chain(pieces).chain([json!(["<mask>", 0.0])]).collect();
    let mask = vocab.len() - 1;
    let mut added: Vec<Value> =
        own.iter().enumerate().map(|(id, token)| added_token(id as u64, token, false)).collect();
    added.push(added_token(mask as u64, "<mask>", false));
    let charsmap = base64::engine::general_purpose::STANDARD.encode(&model.charsmap);
    let normalizer = json!({"type": "Precompiled", "precompiled_charsmap": charsmap});
    let space =
        json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true});
    Ok(json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": added,
        "normalizer": if model.charsmap.is_empty() { Value::Null } else { normalizer },
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, space]},
        "post_processor": template(&[("<s>", 0)], &[("</s>", 2)]),
        "decoder": space,
        "model": {"type": "Unigram", "unk_id": 3, "vocab": vocab, "byte_fallback": false},
    }))
}

/// `RobertaTokenizer`: GPT-2's byte-level BPE.
fn byte_level(path: &Path, merges: &Path) -> Result<Value> {
    let (vocab, merges) = (read_json(path)?, read_merges(merges)?);
    let mut added = Vec::new();
    for token in ["<s>", "<pad>", "</s>", "<unk>", "<mask>"] {
        let id = vocab.get(token).and_then(Value::as_u64);
        let id = id.ok_or_else(|| Error::field(path, token, "has no id"))?;
        added.push((token, id));
    }
    let (cls, sep) = (added[0], added[2]);
    added.sort_by_key(|(_, id)| *id);
    let added: Vec<Value> = added.into_iter().map(|(token, id)| added_token(id, token, false)).collect();
    let bytes =
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    Ok(json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": bytes,
        "post_processor": {
            "type": "RobertaProcessing", "sep": sep, "cls": cls, "trim_offsets": true, "add_prefix_space": false,
        },
        "decoder": bytes,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocab, "merges": merges,
        },
    }))
}
