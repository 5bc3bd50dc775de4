//! SigLIP's tokenizers: a SentencePiece unigram model (SigLIP) or Gemma's BPE (SigLIP 2), as `tokenizer.json` or as the
//! SentencePiece model itself.

use super::loaded::{Loaded, absent, added_token, check, minify, read};
use super::sentencepiece::{Algorithm, Kind, Model};
use super::settings::Settings;
use crate::source::read_json;
use crate::{Error, Result};
use base64::Engine;
use ocelli::format::Canonical;
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

const FILES: &str = "tokenizer.json, spiece.model or tokenizer.model";

/// Finds and checks the tokenizer of a SigLIP text tower with `vocab` token embeddings and `context` positions.
/// `lower`: the library lower-cases for this kind of model. `pad` is the text tower's own `pad_token_id`, which counts
/// where the tokenizer's files name no padding token.
///
/// # Errors
/// There is none, it is damaged, or it leaves open how a text ends or is padded.
pub fn load_siglip(
    directory: &Path,
    vocab: u32,
    context: u32,
    lower: bool,
    pad: Option<u32>,
) -> Result<Loaded> {
    // The library reads SigLIP's spiece.model, of which tokenizer.json is a copy with small differences, and Gemma's
    // tokenizer.json.
    let (mut json, path) = find(directory, ["spiece.model", "tokenizer.json", "tokenizer.model"])?;
    let whole = path.extension().is_some_and(|end| end == "json");
    let settings = Settings::of(directory)?;
    let unigram = is_unigram(&json, &path)?;
    if unigram && settings.get("do_lower_case") == Some(&Value::Bool(false)) {
        return Err(settings.wrong("do_lower_case", "is false; SigLIP's texts are lower case"));
    }
    if let Some(length) = settings.get("model_max_length").and_then(Value::as_f64)
        && length < f64::from(context)
    {
        let problem = format!("is {length}, but the text tower reads {context} tokens");
        return Err(settings.wrong("model_max_length", problem));
    }
    settings.check_side(unigram, &json, &path)?;
    let changed = if unigram { whole && strip_last(&mut json) } else { settings.end_texts(&mut json)? };
    let text = if changed || !whole { json.to_string() } else { minify(&read(&path)?) };
    let canonical = match (unigram, lower) {
        (true, _) => Some(Canonical::LowerNoPunctuation),
        (false, true) => Some(Canonical::Lower),
        (false, false) => None,
    };
    // The class default of `SiglipTokenizer` pads with the end token.
    finish(text, path, settings, vocab, |end| pad.or(unigram.then_some(end)), canonical)
}

/// The same for open_clip, which gives the tokenizer a text that it has cleaned itself (`clean: canonicalize`). Its
/// unigram models are read by `T5Tokenizer`, whose files have had several forms: all cut at white space, and put a
/// mark before every word.
///
/// # Errors
/// As [`load_siglip`].
pub fn load_open_clip_siglip(directory: &Path, vocab: u32) -> Result<Loaded> {
    let (mut json, path) = find(directory, ["tokenizer.json", "spiece.model", "tokenizer.model"])?;
    let settings = Settings::of(directory)?;
    let unigram = is_unigram(&json, &path)?;
    settings.check_side(unigram, &json, &path)?;
    if unigram {
        words_of_t5(&mut json, &path)?;
    } else {
        settings.end_texts(&mut json)?;
    }
    let canonical = Some(Canonical::OpenClipNoPunctuation);
    finish(json.to_string(), path, settings, vocab, |_| None, canonical)
}

/// The tokenizer of the first of these files that there is.
fn find(directory: &Path, names: [&str; 3]) -> Result<(Value, PathBuf)> {
    let path = names.map(|name| directory.join(name)).into_iter().find(|path| path.exists());
    let path = path.ok_or_else(|| absent(directory, FILES))?;
    let whole = path.extension().is_some_and(|end| end == "json");
    let json = if whole { read_json(&path)? } else { from_pieces(&Model::open(&path)?, &path)? };
    Ok((json, path))
}

fn is_unigram(json: &Value, path: &Path) -> Result<bool> {
    match json["model"]["type"].as_str() {
        Some("Unigram") => Ok(true),
        Some("BPE") => Ok(false),
        _ => {
            let problem = format!("is {}; SigLIP's is Unigram or BPE", json["model"]["type"]);
            Err(Error::field(path, "model.type", problem))
        }
    }
}

/// Checks the tokenizer `text`. `pad` is the padding token where the settings name none, given the end token.
fn finish(
    text: String,
    path: PathBuf,
    settings: Settings,
    vocab: u32,
    pad: impl FnOnce(u32) -> Option<u32>,
    canonical: Option<Canonical>,
) -> Result<Loaded> {
    let (tokenizer, ids) = check(&text, &path, vocab)?;
    let end = match *ids {
        [end] => end,
        ref ids => {
            let problem = format!("encodes the empty text as {ids:?}; SigLIP's is an end token alone");
            return Err(Error::file(&path, problem));
        }
    };
    let pad = settings.pad(&tokenizer)?.or_else(|| pad(end));
    let pad = pad.ok_or_else(|| {
        settings.wrong("pad_token", "is missing, and so is a pad_token_id of the text tower")
    })?;
    let mut files = vec![path.clone()];
    files.extend(settings.path.exists().then_some(settings.path));
    Ok(Loaded { text, path, files, end, pad, canonical, longest: None })
}

/// Gives a unigram tokenizer the steps of `T5Tokenizer`: the model's own rules, cuts at white space, a mark before each
/// word. Those in the file must be one of the forms in which it was saved.
fn words_of_t5(tokenizer: &mut Value, path: &Path) -> Result<()> {
    let all = |key: &str, list: &str| -> Vec<Value> {
        match &tokenizer[key] {
            Value::Null => Vec::new(),
            step => step[list].as_array().cloned().unwrap_or_else(|| vec![step.clone()]),
        }
    };
    let (rules, cuts) = (all("normalizer", "normalizers"), all("pre_tokenizer", "pretokenizers"));
    for (key, steps, known) in [
        ("normalizer", &rules, &["Precompiled", "Strip", "Replace"][..]),
        ("pre_tokenizer", &cuts, &["WhitespaceSplit", "Metaspace"]),
    ] {
        if let Some(step) = steps.iter().find(|step| !known.iter().any(|known| step["type"] == *known)) {
            let problem = format!("has a step {}, which T5's tokenizers do not have", step["type"]);
            return Err(Error::field(path, key, problem));
        }
    }
    let charsmap = rules.into_iter().find(|step| step["type"] == "Precompiled");
    (tokenizer["normalizer"], tokenizer["pre_tokenizer"]) = unigram_steps(charsmap);
    Ok(())
}

/// Normalizer and pre-tokenizer of a SentencePiece model whose rules for characters are `charsmap`.
fn unigram_steps(charsmap: Option<Value>) -> (Value, Value) {
    let mut normalizers: Vec<Value> = charsmap.into_iter().collect();
    normalizers.push(json!({"type": "Strip", "strip_left": true, "strip_right": true}));
    normalizers.push(json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}));
    let space =
        json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true});
    (json!({"type": "Sequence", "normalizers": normalizers}), space)
}

impl Settings {
    /// Texts must be padded on the right. The class default of `SiglipTokenizer` is that; `GemmaTokenizer`'s is not.
    fn check_side(&self, unigram: bool, tokenizer: &Value, path: &Path) -> Result<()> {
        let (side, key, file) = match (self.get("padding_side"), tokenizer["padding"].get("direction")) {
            (Some(side), _) => (side, "padding_side", self.path.as_path()),
            (None, Some(side)) => (side, "padding.direction", path),
            (None, None) if unigram => return Ok(()),
            (None, None) => {
                return Err(self.wrong("padding_side", "is missing, and the class default would be \"left\""));
            }
        };
        match side.as_str() {
            Some("right" | "Right") => Ok(()),
            _ => Err(Error::field(file, key, format!("is {side}; only \"right\" is supported"))),
        }
    }

    /// Where `add_bos_token` or `add_eos_token` are given, they and not the file's own post-processor say what begins
    /// and ends a text.
    fn end_texts(&self, tokenizer: &mut Value) -> Result<bool> {
        let flag = |key: &str| match self.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(on)) => Ok(Some(*on)),
            Some(other) => Err(self.wrong(key, format!("is {other}, expected true or false"))),
        };
        let (bos, eos) = (flag("add_bos_token")?, flag("add_eos_token")?);
        if bos.is_none() && eos.is_none() {
            return Ok(false);
        }
        // The class defaults of `GemmaTokenizer`.
        if bos.unwrap_or(true) {
            return Err(
                self.wrong("add_bos_token", "is true or missing; SigLIP's texts have no token before them")
            );
        }
        if !eos.unwrap_or(false) {
            return Err(self.wrong("add_eos_token", "is false or missing; SigLIP's texts have an end token"));
        }
        let end = self.token("eos_token").ok_or_else(|| self.wrong("eos_token", "is missing"))?.to_string();
        let vocab = &tokenizer["model"]["vocab"];
        let id = vocab.get(&end).and_then(Value::as_u64).ok_or_else(|| {
            self.wrong("eos_token", format!("is {end:?}, which the tokenizer does not have"))
        })?;
        tokenizer["post_processor"] = template(&end, id);
        Ok(true)
    }
}

/// SentencePiece strips a text after its rules have replaced characters, which may leave a space at its end; the
/// `tokenizer.json` of SigLIP only before. Whether it was changed.
fn strip_last(tokenizer: &mut Value) -> bool {
    let Some(normalizers) = tokenizer["normalizer"]["normalizers"].as_array_mut() else { return false };
    normalizers.push(json!({"type": "Strip", "strip_left": true, "strip_right": true}));
    true
}

/// The post-processor that ends every text with `end`.
fn template(end: &str, id: u64) -> Value {
    let single =
        json!([{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": end, "type_id": 0}}]);
    let pair = json!([
        {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": end, "type_id": 0}},
        {"Sequence": {"id": "B", "type_id": 0}}, {"SpecialToken": {"id": end, "type_id": 0}},
    ]);
    json!({
        "type": "TemplateProcessing", "single": single, "pair": pair,
        "special_tokens": {end: {"id": end, "ids": [id], "tokens": [end]}},
    })
}

/// The `tokenizer.json` that a SentencePiece model stands for.
fn from_pieces(model: &Model, path: &Path) -> Result<Value> {
    match model.algorithm {
        Algorithm::Unigram => unigram(model, path),
        Algorithm::Bpe => bpe(model, path),
    }
}

fn special<'p>(model: &'p Model, names: &[&'p str], path: &Path) -> Result<(&'p str, u64)> {
    let found = names.iter().find_map(|name| model.id(name).map(|id| (*name, id as u64)));
    found.ok_or_else(|| Error::file(path, format!("has no piece {}", names.join(" or "))))
}

/// As `SiglipTokenizer` uses a unigram model. The text comes canonicalised; what is left is the model's own rules.
fn unigram(model: &Model, path: &Path) -> Result<Value> {
    if !model.dummy_prefix || !model.remove_extra_spaces || model.byte_fallback {
        return Err(Error::file(path, "has settings that SigLIP's unigram models do not have"));
    }
    let (end, end_id) = special(model, &["</s>"], path)?;
    let unknown = model.pieces.iter().position(|piece| piece.kind == Kind::Unknown);
    let unknown = unknown.ok_or_else(|| Error::file(path, "has no unknown token"))?;
    let vocab: Vec<Value> = model.pieces.iter().map(|piece| json!([piece.text, piece.score])).collect();
    let charsmap = (!model.charsmap.is_empty()).then(|| {
        let charsmap = base64::engine::general_purpose::STANDARD.encode(&model.charsmap);
        json!({"type": "Precompiled", "precompiled_charsmap": charsmap})
    });
    let (normalizer, space) = unigram_steps(charsmap);
    Ok(json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [
            added_token(end_id, end, true), added_token(unknown as u64, &model.pieces[unknown].text, true),
        ],
        "normalizer": normalizer,
        "pre_tokenizer": space,
        "post_processor": template(end, end_id),
        "decoder": space,
        "model": {"type": "Unigram", "unk_id": unknown, "vocab": vocab, "byte_fallback": false},
    }))
}

/// As `GemmaTokenizer` uses a BPE model.
fn bpe(model: &Model, path: &Path) -> Result<Value> {
    if model.dummy_prefix || model.remove_extra_spaces || !model.charsmap.is_empty() {
        return Err(Error::file(path, "has settings that Gemma's BPE models do not have"));
    }
    let (end, end_id) = special(model, &["<eos>", "</s>"], path)?;
    let (unknown, _) = special(model, &["<unk>"], path)?;
    let mut vocab = Map::new();
    for (id, piece) in model.pieces.iter().enumerate() {
        if vocab.insert(piece.text.clone(), id.into()).is_some() {
            return Err(Error::file(path, format!("has the piece {:?} twice", piece.text)));
        }
    }
    let added: Vec<Value> = model
        .pieces
        .iter()
        .enumerate()
        .filter(|(_, piece)| matches!(piece.kind, Kind::Control | Kind::Unknown | Kind::UserDefined))
        .map(|(id, piece)| added_token(id as u64, &piece.text, false))
        .collect();
    Ok(json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": added,
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"},
        "pre_tokenizer":
            {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false},
        "post_processor": template(end, end_id),
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "\u{2581}"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"},
        ]},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": model.byte_fallback,
            "ignore_merges": false, "vocab": vocab, "merges": merges(model),
        },
    }))
}

/// Every way to make a piece of two others, in the order of the pieces: what `SentencePieceExtractor` of transformers
/// takes for the merges of a model that does not store them.
fn merges(model: &Model) -> Vec<[&str; 2]> {
    let ids: HashSet<&str> = model.pieces.iter().map(|piece| piece.text.as_str()).collect();
    let mut merges = Vec::new();
    for piece in model.pieces.iter().filter(|piece| matches!(piece.kind, Kind::Normal | Kind::UserDefined)) {
        // Shorter left parts first.
        let splits = piece.text.char_indices().skip(1).map(|(at, _)| piece.text.split_at(at));
        merges.extend(splits.filter(|(l, r)| ids.contains(l) && ids.contains(r)).map(|(l, r)| [l, r]));
    }
    merges
}
