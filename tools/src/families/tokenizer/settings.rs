//! `tokenizer_config.json`: what the libraries' classes are told beside the tokenizer itself.

use crate::source::read_json;
use crate::{Error, Result};
use ocelli::text::CheckedTokenizer;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// What `tokenizer_config.json` says, if it is there.
pub(super) struct Settings {
    pub(super) json: Value,
    pub(super) path: PathBuf,
}

impl Settings {
    pub(super) fn of(directory: &Path) -> Result<Settings> {
        let path = directory.join("tokenizer_config.json");
        let json = if path.exists() { read_json(&path)? } else { Value::Null };
        Ok(Settings { json, path })
    }

    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.json.get(key)
    }

    pub(super) fn wrong(&self, key: &str, problem: impl Into<String>) -> Error {
        Error::field(&self.path, key, problem)
    }

    /// A special token: a string, or an object with its `content`.
    pub(super) fn token(&self, key: &str) -> Option<&str> {
        let token = self.get(key)?;
        token.as_str().or_else(|| token.get("content")?.as_str())
    }

    pub(super) fn pad(&self, tokenizer: &CheckedTokenizer) -> Result<Option<u32>> {
        let Some(token) = self.token("pad_token") else { return Ok(None) };
        let problem = || self.wrong("pad_token", format!("is {token:?}, which the tokenizer does not have"));
        tokenizer.id(token).ok_or_else(problem).map(Some)
    }

    /// A switch, which is off where it is `null`.
    pub(super) fn is_on(&self, key: &str, default: bool) -> Result<bool> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::Null) => Ok(false),
            Some(Value::Bool(on)) => Ok(*on),
            Some(other) => Err(self.wrong(key, format!("is {other}, expected true or false"))),
        }
    }

    /// Most tokens of a text, if there is such a limit: the libraries write a huge number for none.
    pub(super) fn longest(&self) -> Option<u32> {
        let longest = self.get("model_max_length").and_then(Value::as_f64)?;
        (1.0..1e9).contains(&longest).then_some(longest as u32)
    }
}

/// The post-processor that puts these tokens, each with its id, before and behind every text.
pub(super) fn template(before: &[(&str, u64)], behind: &[(&str, u64)]) -> Value {
    let special = |(token, _): &(&str, u64)| json!({"SpecialToken": {"id": token, "type_id": 0}});
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let single: Vec<Value> =
        before.iter().map(special).chain([text]).chain(behind.iter().map(special)).collect();
    let entry =
        |(token, id): &(&str, u64)| (token.to_string(), json!({"id": token, "ids": [id], "tokens": [token]}));
    let tokens: Map<String, Value> = before.iter().chain(behind).map(entry).collect();
    json!({"type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": tokens})
}
