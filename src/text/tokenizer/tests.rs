//! Tokenizers that are damaged or hostile: small ones of every kind, and mutations of the fixtures'.

use super::CheckedTokenizer;
use serde_json::{Value, json};
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

const VOCAB: u32 = 1000;
const TEXTS: [&str; 5] =
    ["", "a", "A photo of 2 Cats, naïve café 🐱  </s> <|endoftext|>", "ab\u{0}\n\u{2581} <0x41>", "İﷺé"];

fn tokenizer(json: &Value) -> Result<CheckedTokenizer, String> {
    CheckedTokenizer::from_json(&json.to_string(), VOCAB).map_err(|error| error.to_string())
}

/// The tokenizer of a fixture, with what CLIP's has in the first 900 of its 49,408 tokens, or in its last two.
fn fixture(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/{name}/tokenizer.json", env!("CARGO_MANIFEST_DIR"));
    let mut json: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    if name == "clip-hf" {
        json["model"]["merges"].as_array_mut().unwrap().truncate(300);
        json["model"]["vocab"].as_object_mut().unwrap().retain(|_, id| id.as_u64().unwrap() < 900);
        for (i, end) in ["<|startoftext|>", "<|endoftext|>"].into_iter().enumerate() {
            let id = 900 + i;
            json["model"]["vocab"][end] = id.into();
            json["added_tokens"][i]["id"] = id.into();
            json["post_processor"][["cls", "sep"][i]][1] = id.into();
        }
    }
    if let Some(pieces) = json["model"]["vocab"].as_object_mut().filter(|_| name.starts_with("siglip2")) {
        pieces.retain(|_, id| id.as_u64().unwrap() < VOCAB.into());
        let known = pieces.clone();
        let has = |piece: &Value| known.contains_key(piece.as_str().unwrap());
        let joined = |a: &Value, b: &Value| {
            known.contains_key(&(a.as_str().unwrap().to_string() + b.as_str().unwrap()))
        };
        json["model"]["merges"]
            .as_array_mut()
            .unwrap()
            .retain(|pair| has(&pair[0]) && has(&pair[1]) && joined(&pair[0], &pair[1]));
    }
    json
}

/// Fixtures' tokenizers, and two that the families to come have: BERT's, and XLM-R's in its older spelling.
fn good() -> [Value; 6] {
    let bert = json!({
        "version": "1.0",
        "added_tokens": [added(0, "[UNK]"), added(1, "[CLS]"), added(2, "[SEP]")],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3, "photo": 4, "##s": 5, "cat": 6}},
    });
    let mask = json!({"id": 3, "content": "<mask>", "single_word": false, "lstrip": true, "rstrip": false,
        "normalized": true, "special": true});
    let charsmap = fixture("siglip-hf")["normalizer"]["normalizers"][4].clone();
    assert_eq!(charsmap["type"], "Precompiled");
    let xlm = json!({
        "version": "1.0",
        "added_tokens": [added(0, "<s>"), added(1, "</s>"), added(2, "<unk>"), mask],
        "normalizer": {"type": "Sequence", "normalizers": [charsmap,
            {"type": "Strip", "strip_left": false, "strip_right": true},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "\u{2581}"}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"},
            {"type": "Metaspace", "replacement": "\u{2581}", "str_rep": "\u{2581}", "add_prefix_space": true}]},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "</s>", "type_id": 0}}],
            "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]},
                "</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}},
        "model": {"type": "Unigram", "unk_id": 2, "vocab": [["<s>", 0.0], ["</s>", 0.0], ["<unk>", 0.0],
            ["<mask>", 0.0], ["\u{2581}a", -1.0], ["\u{2581}", -2.0], ["a", -3.0], ["b", -4.0]]},
    });
    [
        fixture("clip-hf"),
        fixture("siglip-hf"),
        fixture("siglip2-fixres"),
        fixture("siglip2-naflex"),
        bert,
        xlm,
    ]
}

fn added(id: u32, content: &str) -> Value {
    json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": true})
}

#[test]
fn every_familys_tokenizer_passes() {
    for json in &good() {
        let tokenizer = tokenizer(json).unwrap();
        for text in TEXTS {
            assert!(tokenizer.ids(text).unwrap().iter().all(|&id| id < VOCAB), "{text:?}");
        }
    }
    let [.., bert, xlm] = good();
    assert_eq!(tokenizer(&bert).unwrap().ids("A Photo  of cats").unwrap(), [1, 3, 4, 0, 6, 5, 2]);
    assert_eq!(tokenizer(&xlm).unwrap().ids("ａ ab <mask>").unwrap(), [0, 4, 4, 7, 3, 1]);
}

/// A unigram model of three pieces, with `value` at `path`.
fn with(path: &str, value: Value) -> Value {
    let mut json = json!({
        "version": "1.0", "added_tokens": [added(0, "<unk>")], "normalizer": null, "pre_tokenizer": null,
        "post_processor": null, "decoder": null,
        "model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0], ["b", -2.0]]},
    });
    assert!(tokenizer(&json).unwrap().ids("ab").unwrap() == [1, 2]);
    *json.pointer_mut(path).unwrap() = value;
    json
}

fn bpe(change: &[(&str, Value)]) -> Value {
    let mut model =
        json!({"type": "BPE", "unk_token": "a", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]});
    assert!(
        tokenizer(&with("/model", model.clone()).tap("added_tokens", json!([]))).unwrap().ids("ab").unwrap()
            == [2]
    );
    for (key, value) in change {
        model[key] = value.clone();
    }
    with("/model", model).tap("added_tokens", json!([]))
}

trait Tap {
    fn tap(self, key: &str, value: Value) -> Self;
}

impl Tap for Value {
    fn tap(mut self, key: &str, value: Value) -> Value {
        self[key] = value;
        self
    }
}

#[test]
fn each_kind_of_hostile_tokenizer_is_refused_by_the_field_that_is_wrong() {
    let charsmap = |base64: &str| json!({"type": "Precompiled", "precompiled_charsmap": base64});
    let replace = |pattern: Value, by: &str| json!({"type": "Replace", "pattern": pattern, "content": by});
    let several =
        |part: Value, count: usize| json!({"type": "Sequence", "normalizers": std::vec![part; count]});
    let split = |pattern: Value| json!({"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": false});
    let template = |single: Value| {
        json!({"type": "TemplateProcessing", "single": single, "pair": [],
        "special_tokens": {"</s>": {"id": "</s>", "ids": [5000], "tokens": ["</s>"]}}})
    };
    let token = |id: u32, content: &str, flag: &str| added(id, content).tap(flag, true.into());
    let deep = (0..200).fold(json!({"type": "NFC"}), |part, _| several(part, 1));
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true});
    let pieces = |count: u32| (0..count).map(|i| (format!("{i}"), Value::from(i))).collect::<Value>();
    for (json, says) in [
        (with("/added_tokens", json!([added(3, "")])), "added_tokens: a piece of 0 bytes"),
        (with("/added_tokens", json!([added(u32::MAX, "x")])), "added_tokens: id 4294967295"),
        (with("/added_tokens", json!([added(7, "x")])), "added_tokens: \"x\" has id 7; its place gives 3"),
        (with("/added_tokens", json!([added(2, "a")])), "added_tokens: \"a\" has id 2; its place gives 1"),
        (with("/added_tokens", json!([added(3, "x"), added(3, "y")])), "there twice"),
        (with("/added_tokens", json!([added(3, &"x".repeat(300))])), "300 bytes"),
        (with("/added_tokens", json!([token(3, " ", "lstrip"), token(4, "x", "rstrip")])), "white space"),
        (
            with("/added_tokens", json!([token(3, " . ", "normalized"), token(4, "x", "rstrip")]))
                .tap("normalizer", fixture("siglip-hf")["normalizer"]["normalizers"][1].clone()),
            "white space",
        ),
        (
            with("/added_tokens", json!([token(3, ".", "normalized")]))
                .tap("normalizer", fixture("siglip-hf")["normalizer"]["normalizers"][1].clone()),
            "0 bytes",
        ),
        (with("/normalizer", charsmap("")), "normalizer.precompiled_charsmap"),
        (with("/normalizer", charsmap("AAAAAA==")), "normalizer.precompiled_charsmap"),
        (with("/normalizer", charsmap("/////w==")), "normalizer.precompiled_charsmap"),
        (with("/normalizer", replace(json!({"String": "a"}), "aaaaaaaa")), "normalizer: String(\"a\")"),
        (with("/normalizer", replace(json!({"String": ""}), "zz")), "normalizer: String(\"\")"),
        (with("/normalizer", replace(json!({"Regex": "(x+x+)+y"}), "z")), "normalizer: Regex"),
        (with("/normalizer", several(json!({"type": "NFKC"}), 3)), "1331 times as long"),
        (with("/normalizer", several(good()[5]["normalizer"]["normalizers"][0].clone(), 2)), "times as long"),
        (with("/normalizer", several(several(json!({"type": "NFC"}), 1), 1)), "1 deep"),
        (with("/normalizer", deep), "recursion limit"),
        (with("/normalizer", json!({"type": "StripAccents"})), "unknown variant `StripAccents`"),
        (with("/normalizer", json!({"type": "NFC", "more": 1})), "unknown field `more`"),
        (with("/pre_tokenizer", split(json!({"Regex": ""}))), "pre_tokenizer: texts are split by"),
        (
            with("/pre_tokenizer", json!({"type": "Sequence", "pretokenizers": std::vec![byte_level; 16]})),
            "65536 times as long",
        ),
        (with("/pre_tokenizer", json!({"type": "Metaspace", "replacement": "\0"})), "pre_tokenizer: spaces"),
        (
            with("/post_processor", template(json!([{"Sequence": {"id": "B", "type_id": 0}}]))),
            "post_processor",
        ),
        (
            with("/post_processor", template(json!([{"SpecialToken": {"id": "X", "type_id": 0}}]))),
            "post_processor",
        ),
        (with("/post_processor", template(json!([{"Sequence": {"id": "A", "type_id": 0}}]))), "id 5000"),
        (with("/model/vocab", json!([["", 0.0], ["", -1.0]])), "model.vocab: a piece of 0 bytes"),
        (with("/model/vocab", json!([])), "model.vocab: 0 pieces"),
        (
            with("/model/vocab", json!(std::vec![("a", 0.0); 1001])),
            "model.vocab: 1001 pieces; the model embeds 1000",
        ),
        (with("/model/vocab", json!([["a", 1e300]])), "score"),
        (with("/model/vocab", json!([["a".repeat(1 << 20), 0.0]])), "1048576 bytes"),
        (with("/model/vocab", json!([["a".repeat(65), 0.0]])), "model.vocab: a piece of 65 bytes"),
        (with("/model/unk_id", Value::Null), "model.unk_id"),
        (with("/model/unk_id", 3.into()), "model.unk_id"),
        (
            with("/model", json!({"type": "WordLevel", "vocab": {}, "unk_token": "u"})),
            "unknown variant `WordLevel`",
        ),
        (bpe(&[("dropout", 1.0.into())]), "model.dropout"),
        (bpe(&[("unk_token", "zz".into())]), "model.unk_token"),
        (bpe(&[("merges", json!(["a a"]))]), "model.merges: number 0"),
        (bpe(&[("merges", json!(["a"]))]), "model.merges: number 0"),
        (bpe(&[("merges", json!([["a", "b", "c"]]))]), "its JSON"),
        (bpe(&[("vocab", json!({"a": 0, "b": u32::MAX, "ab": 1}))]), "model.vocab: id 4294967295"),
        (bpe(&[("vocab", json!({"a": 0, "b": 0, "ab": 1}))]), "stands for two"),
        (bpe(&[("vocab", pieces(1001))]), "1001 pieces"),
        (bpe(&[("continuing_subword_prefix", "b".into())]), "model.continuing_subword_prefix"),
        (bpe(&[("end_of_word_suffix", "x".repeat(99).into())]), "model.end_of_word_suffix: 99 bytes"),
        (
            good()[4].clone().tap(
                "model",
                json!({"type": "WordPiece", "vocab": {"a": 0}, "unk_token": "[UNK]",
            "max_input_chars_per_word": 100, "continuing_subword_prefix": "##"}),
            ),
            "model.unk_token",
        ),
    ] {
        let error = tokenizer(&json).unwrap_err();
        assert!(error.contains(says), "{says}: {error}");
        assert!(!error.contains("its library") && error.len() < 600, "{error}");
    }
}

/// Numbers that are as good as random and the same in every run (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

fn children(value: &mut Value) -> Vec<&mut Value> {
    match value {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(fields) => fields.values_mut().collect(),
        _ => Vec::new(),
    }
}

/// A place in `json`, near its root or at a leaf.
fn place<'j>(json: &'j mut Value, random: &mut Random) -> &'j mut Value {
    let (mut at, mut left) = (json, 1 + random.below(6));
    while left > 0 && !children(at).is_empty() {
        let mut below = children(at);
        let chosen = random.below(below.len());
        at = below.swap_remove(chosen);
        left -= 1;
    }
    at
}

/// Something else of the same type, or of any.
fn mutate(at: &Value, other: Value, random: &mut Random) -> Value {
    match (at, random.below(12)) {
        (Value::Bool(on), 0..9) => json!(!on),
        (Value::Number(_), 0..4) => json!(random.below(1200)),
        (Value::Number(_), 4..7) => json!([-1.0, 1e7, 1e308, 0.5][random.below(4)]),
        (Value::Number(_), 7) => json!(u32::MAX),
        (Value::String(_), 0..4) => json!(["", " ", "\0", "\u{2581}", "a", "x+"][random.below(6)]),
        (Value::String(_), 4) => "a".repeat(random.below(2000)).into(),
        (Value::String(text), 5..8) => text.to_uppercase().replace('A', "").into(),
        (Value::Array(items), 0..4) => items[random.below(items.len() + 1)..].into(),
        (Value::Array(items), 4..8) => items[..random.below(items.len() + 1)].into(),
        (_, 8) => json!([at.clone(), at.clone()]),
        (_, 9) => json!({"type": "Sequence", "normalizers": [at.clone()], "pretokenizers": [at.clone()]}),
        (_, 10) => Value::Null,
        _ => other,
    }
}

#[test]
fn mutations_of_good_tokenizers_are_refused_or_work_and_never_panic_in_their_library() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut works, mut refused) = (0, 0);
    for json in good() {
        for _ in 0..200 {
            let mut mutated = json.clone();
            for _ in 0..=random.below(2) {
                let other = place(&mut mutated, &mut random).clone();
                let at = place(&mut mutated, &mut random);
                *at = mutate(at, other, &mut random);
            }
            match tokenizer(&mutated) {
                Ok(tokenizer) => {
                    works += 1;
                    for text in TEXTS {
                        assert!(tokenizer.ids(text).unwrap().iter().all(|&id| id < VOCAB));
                    }
                }
                Err(error) => {
                    refused += 1;
                    assert!(!error.contains("panicked"), "{error}");
                }
            }
        }
    }
    assert!(works > 200 && refused > 400, "{works} work, {refused} are refused");
}
