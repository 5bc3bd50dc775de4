//! What comes out of every family's files, and what reading them has in common.

use crate::source::mistaken;
use crate::{Error, Result};
use ocelli::format::{Canonical, TextConfig};
use ocelli::text::CheckedTokenizer;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// A tokenizer that loads.
pub struct Loaded {
    /// Its JSON without spaces.
    pub text: String,
    /// The file it was read from, for messages.
    pub path: PathBuf,
    /// All files that were read.
    pub files: Vec<PathBuf>,
    /// The id that ends every text.
    pub end: u32,
    /// The id that fills a text up to the length that the model wants.
    pub pad: u32,
    /// What happens to a text before.
    pub canonical: Option<Canonical>,
    /// Most tokens of a text, if the tokenizer's files say so.
    pub longest: Option<u32>,
}

impl Loaded {
    /// The configuration of a text tower with what its tokenizer says: how texts begin and end, and how long they are at
    /// most.
    pub fn complete(&self, config: TextConfig) -> TextConfig {
        TextConfig {
            context: config.context.min(self.longest.unwrap_or(u32::MAX)),
            eos: self.end,
            pad: self.pad,
            canonical: self.canonical.map_or(0, |canonical| canonical as u32),
            ..config
        }
    }
}

/// The refusal of a folder that has none of the files that a family's tokenizer is in.
pub(super) fn absent(directory: &Path, files: &str) -> Error {
    Error::file(
        directory,
        format!(
            "no tokenizer here ({files}), which the text tower needs: name its folder with --tokenizer DIR, or leave \
             the text tower out with --vision-only"
        ),
    )
}

pub(super) fn read(path: &Path) -> Result<String> {
    String::from_utf8(read_bytes(path)?).map_err(|_| Error::file(path, "is not UTF-8 text"))
}

pub(super) fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(path).map_err(Error::io("read", path))?;
    mistaken(path, &bytes).map_or(Ok(bytes), Err)
}

/// `merges.txt`: which two pieces become one, the most frequent first.
pub(super) fn read_merges(path: &Path) -> Result<Value> {
    let text = read(path)?;
    let mut merges = Vec::new();
    for (i, line) in text.lines().enumerate() {
        if line.is_empty() || (i == 0 && line.starts_with("#version")) {
            continue;
        }
        let Some((left, right)) = line.split_once(' ').filter(|(_, right)| !right.contains(' ')) else {
            return Err(Error::file(path, format!("line {} is not two tokens: {line:?}", i + 1)));
        };
        merges.push(json!([left, right]));
    }
    Ok(merges.into())
}

/// Checks a tokenizer of a model with `vocab` token embeddings. Returns it with the ids that it gives the empty text:
/// the tokens that begin and end every text.
pub(super) fn check(text: &str, path: &Path, vocab: u32) -> Result<(CheckedTokenizer, Vec<u32>)> {
    let checked = || {
        let tokenizer = CheckedTokenizer::from_json(text, vocab)?;
        let ids = tokenizer.ids("")?;
        Ok((tokenizer, ids))
    };
    checked().map_err(|error: ocelli::Error| Error::Ocelli(error.in_file(path)))
}

/// An entry of `added_tokens`: a literal that stands for one token wherever it occurs.
pub(super) fn added_token(id: u64, content: &str, strip: bool) -> Value {
    json!({
        "id": id, "content": content, "single_word": false, "lstrip": strip, "rstrip": strip, "normalized": false,
        "special": true,
    })
}

/// Valid JSON without the spaces between its tokens. Numbers keep their digits, which parsing and printing would not
/// promise.
pub(super) fn minify(text: &str) -> String {
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
