//! Tokenizers: the `tokenizer.json` of a checkpoint, or one made of `vocab.json` and `merges.txt`.

use crate::source::read_json;
use crate::{Error, Result};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tokenizers::Tokenizer;

const START: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";

/// A tokenizer that loads.
pub struct Loaded {
    /// Its JSON without spaces.
    pub text: String,
    /// The file it was read from, for messages.
    pub path: PathBuf,
    /// The id that ends every text.
    pub end: u32,
}

/// Finds and checks the tokenizer of a CLIP text tower with `vocab` token embeddings.
pub fn load_clip(directory: &Path, vocab: u32) -> Result<Loaded> {
    let (whole, parts) = (directory.join("tokenizer.json"), directory.join("vocab.json"));
    let (text, path) = if whole.exists() {
        (fs::read_to_string(&whole).map_err(Error::io("read", &whole))?, whole)
    } else if parts.exists() {
        (build_clip(&parts, &directory.join("merges.txt"))?.to_string(), parts)
    } else {
        return Err(Error::file(
            directory,
            "no tokenizer here (tokenizer.json, or vocab.json with merges.txt), which the text tower needs: name \
             its folder with --tokenizer DIR, or leave the text tower out with --vision-only",
        ));
    };
    let unusable = |e: tokenizers::Error| Error::file(&path, format!("not a usable tokenizer: {e}"));
    let mut tokenizer: Tokenizer = text.parse().map_err(unusable)?;
    // Some files ask for padding to 77, which would hide the end token.
    tokenizer.with_padding(None).with_truncation(None).map_err(unusable)?;
    let size = tokenizer.get_vocab_size(true);
    if size > vocab as usize {
        return Err(Error::file(&path, format!("has {size} tokens, but the model embeds {vocab}")));
    }
    let empty = tokenizer.encode("", true).map_err(unusable)?;
    match *empty.get_ids() {
        [_, end] => Ok(Loaded { text: minify(&text), path, end }),
        ref ids => Err(Error::file(
            &path,
            format!("encodes the empty text as {ids:?}; CLIP's is a start token and an end token"),
        )),
    }
}

/// The `tokenizer.json` that transformers makes of CLIP's two older files.
fn build_clip(vocab_path: &Path, merges_path: &Path) -> Result<Value> {
    let vocab = read_json(vocab_path)?;
    let id = |token: &str| {
        vocab.get(token).and_then(Value::as_u64).ok_or_else(|| Error::field(vocab_path, token, "has no id"))
    };
    let (start, end) = (id(START)?, id(END)?);
    let text = fs::read_to_string(merges_path).map_err(Error::io("read", merges_path))?;
    let mut merges = Vec::new();
    for (i, line) in text.lines().enumerate() {
        if line.is_empty() || (i == 0 && line.starts_with("#version")) {
            continue;
        }
        let Some((left, right)) = line.split_once(' ').filter(|(_, right)| !right.contains(' ')) else {
            return Err(Error::file(merges_path, format!("line {} is not two tokens: {line:?}", i + 1)));
        };
        merges.push([left, right]);
    }
    let added = |id: u64, content: &str| {
        json!({
            "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        })
    };
    let split =
        r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [added(start, START), added(end, END)],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
            {"type": "Lowercase"},
        ]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": split}, "behavior": "Removed", "invert": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        ]},
        "post_processor": {
            "type": "RobertaProcessing", "sep": [END, end], "cls": [START, start],
            "trim_offsets": false, "add_prefix_space": false,
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": END, "continuing_subword_prefix": "",
            "end_of_word_suffix": "</w>", "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocab, "merges": merges,
        },
    }))
}

/// Valid JSON without the spaces between its tokens. Numbers keep their digits, which parsing and printing would not
/// promise.
fn minify(text: &str) -> String {
    let (mut out, mut in_string, mut escaped) = (String::with_capacity(text.len()), false, false);
    for c in text.chars() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = c == '\\' && !escaped;
        } else if c.is_ascii_whitespace() {
            continue;
        } else {
            in_string = c == '"';
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::minify;

    #[test]
    fn minifying_keeps_strings_and_numbers() {
        let text = "{ \"a b\" : [ 1.50 , \"\\\\\" , \" \\\" x\" ],\n\t\"c\\\\\\\"\": \"\\u0020 \" }";
        assert_eq!(minify(text), "{\"a b\":[1.50,\"\\\\\",\" \\\" x\"],\"c\\\\\\\"\":\"\\u0020 \"}");
        let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(parse(&minify(text)), parse(text));
    }
}
