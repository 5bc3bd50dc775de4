//! NLLB's tokenizer: BPE from `tokenizer.json`, with the language of the text before it and an end token behind it.

use super::loaded::{Loaded, absent, check, read};
use super::settings::{Settings, template};
use crate::{Error, Result};
use serde_json::Value;
use std::path::Path;

/// Finds and checks the tokenizer of an NLLB text tower with `vocab` token embeddings.
///
/// # Errors
/// There is none, it is damaged, or does not know its own language.
pub fn load_nllb(directory: &Path, vocab: u32) -> Result<Loaded> {
    let path = directory.join("tokenizer.json");
    if !path.exists() {
        return Err(absent(directory, "tokenizer.json"));
    }
    let settings = Settings::of(directory)?;
    let mut json: Value = serde_json::from_str(&read(&path)?).map_err(Error::json(&path))?;
    let id = |token: &str| {
        let added = json["added_tokens"].as_array().into_iter().flatten();
        let added = added.filter(|added| added["content"] == token).find_map(|added| added["id"].as_u64());
        added.or(json["model"]["vocab"][token].as_u64())
    };
    // `NllbTokenizer` makes its post-processor of these settings, whatever the file has.
    let (key, default) = ("src_lang", "eng_Latn");
    let language = settings.get(key).and_then(Value::as_str).unwrap_or(default);
    let language_id = id(language)
        .ok_or_else(|| settings.wrong(key, format!("is {language:?}, which the tokenizer does not have")))?;
    let end_id = id("</s>").ok_or_else(|| Error::file(&path, "has no token </s>"))?;
    let (language, end) = ((language, language_id), ("</s>", end_id));
    json["post_processor"] = if settings.is_on("legacy_behaviour", false)? {
        template(&[], &[end, language])
    } else {
        template(&[language], &[end])
    };
    let text = json.to_string();
    let (tokenizer, ids) = check(&text, &path, vocab)?;
    let end = ids.last().copied().unwrap_or_default();
    let pad = settings.pad(&tokenizer)?.or(tokenizer.id("<pad>")).unwrap_or(end);
    let mut files = vec![path.clone()];
    files.extend(settings.path.exists().then(|| settings.path.clone()));
    Ok(Loaded { text, path, files, end, pad, canonical: None, longest: settings.longest() })
}
