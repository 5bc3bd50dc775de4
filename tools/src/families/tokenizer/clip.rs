//! CLIP's byte-level BPE: the `tokenizer.json` of a checkpoint, or one made of `vocab.json` and `merges.txt`.

use super::loaded::{Loaded, absent, added_token, check, minify, read, read_merges};
use crate::source::read_json;
use crate::{Error, Result};
use ocelli::format::Canonical;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

const START: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";
const FILES: &str = "tokenizer.json, or vocab.json with merges.txt";
/// What a text is split into: contractions, runs of letters, single digits, runs of anything else.
const WORDS: &str = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// Finds and checks the tokenizer of a CLIP text tower of transformers with `vocab` token embeddings.
///
/// # Errors
/// There is none, it is damaged, or it is not CLIP's.
pub fn load_clip(directory: &Path, vocab: u32) -> Result<Loaded> {
    let (whole, parts) = (directory.join("tokenizer.json"), directory.join("vocab.json"));
    let (text, files) = if whole.exists() {
        (read(&whole)?, vec![whole])
    } else if parts.exists() {
        let merges = directory.join("merges.txt");
        (transformers(read_json(&parts)?, read_merges(&merges)?, &parts)?.to_string(), vec![parts, merges])
    } else {
        return Err(absent(directory, FILES));
    };
    finish(text, files, vocab, None)
}

/// Finds CLIP's vocabulary and merges in the files of transformers, and makes of them the tokenizer that open_clip has
/// built in: other special tokens, and its own cleaning of the text.
///
/// # Errors
/// As [`load_clip`].
pub fn load_open_clip(directory: &Path, vocab: u32) -> Result<Loaded> {
    let (whole, parts) = (directory.join("tokenizer.json"), directory.join("vocab.json"));
    let (text, files) = if whole.exists() {
        let mut json = read_json(&whole)?;
        let model = json.get_mut("model").map(Value::take).unwrap_or_default();
        if model["type"] != "BPE" || model["end_of_word_suffix"] != "</w>" {
            return Err(Error::field(&whole, "model", "is not CLIP's BPE, which ends words with </w>"));
        }
        (open_clip(model["vocab"].clone(), model["merges"].clone(), &whole)?.to_string(), vec![whole])
    } else if parts.exists() {
        let merges = directory.join("merges.txt");
        (open_clip(read_json(&parts)?, read_merges(&merges)?, &parts)?.to_string(), vec![parts, merges])
    } else {
        return Err(absent(directory, FILES));
    };
    finish(text, files, vocab, Some(Canonical::OpenClip))
}

fn finish(text: String, files: Vec<PathBuf>, vocab: u32, canonical: Option<Canonical>) -> Result<Loaded> {
    let path = files[0].clone();
    let (_, ids) = check(&text, &path, vocab)?;
    match *ids {
        // Nothing after the end token is seen, so any padding does; open_clip pads with 0.
        [_, end] => {
            let pad = if canonical.is_some() { 0 } else { end };
            Ok(Loaded { text: minify(&text), path, files, end, pad, canonical, longest: None })
        }
        ref ids => Err(Error::file(
            &path,
            format!("encodes the empty text as {ids:?}; CLIP's is a start token and an end token"),
        )),
    }
}

fn id(vocab: &Value, token: &str, path: &Path) -> Result<u64> {
    vocab.get(token).and_then(Value::as_u64).ok_or_else(|| Error::field(path, token, "has no id"))
}

/// The `tokenizer.json` that transformers makes of CLIP's two older files.
fn transformers(vocab: Value, merges: Value, path: &Path) -> Result<Value> {
    let ends = [(START, id(&vocab, START, path)?), (END, id(&vocab, END, path)?)];
    let normalizer = json!({"type": "Sequence", "normalizers": [
        {"type": "NFC"},
        {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
        {"type": "Lowercase"},
    ]});
    let split = format!(r"<\|startoftext\|>|<\|endoftext\|>|{WORDS}");
    Ok(tokenizer(ends, normalizer, &split, vocab, merges))
}

/// The same for open_clip's `SimpleTokenizer`, which gets its text cleaned and in lower case.
fn open_clip(vocab: Value, merges: Value, path: &Path) -> Result<Value> {
    let ends = [("<start_of_text>", id(&vocab, START, path)?), ("<end_of_text>", id(&vocab, END, path)?)];
    let Value::Object(tokens) = vocab else { return Err(Error::field(path, "model.vocab", "is no object")) };
    let mut renamed: Map<String, Value> =
        tokens.into_iter().filter(|(token, _)| token != START && token != END).collect();
    renamed.extend(ends.map(|(token, id)| (token.to_string(), id.into())));
    let split = format!("(?i)<start_of_text>|<end_of_text>|{WORDS}");
    Ok(tokenizer(ends, Value::Null, &split, renamed.into(), merges))
}

fn tokenizer(
    [(start, start_id), (end, end_id)]: [(&str, u64); 2],
    normalizer: Value,
    split: &str,
    vocab: Value,
    merges: Value,
) -> Value {
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [added_token(start_id, start, false), added_token(end_id, end, false)],
        "normalizer": normalizer,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": split}, "behavior": "Removed", "invert": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        ]},
        "post_processor": {
            "type": "RobertaProcessing", "sep": [end, end_id], "cls": [start, start_id],
            "trim_offsets": false, "add_prefix_space": false,
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": end, "continuing_subword_prefix": "",
            "end_of_word_suffix": "</w>", "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocab, "merges": merges,
        },
    })
}
