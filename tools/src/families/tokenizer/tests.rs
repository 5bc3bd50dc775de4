//! Hostile and damaged tokenizers at conversion.

use super::sentencepiece::Model;
use super::{Loaded, load_clip, load_open_clip, load_siglip};
use crate::Result;
use ocelli::text::CheckedTokenizer;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const TEXTS: [&str; 4] =
    ["", "a photo of 2 cats", "naïve café ﷺ 猫 🐱 </s>", "\u{0}\u{ad}\u{2581}\u{feff}\u{1d15e}"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)
}

/// SigLIP's tokenizer in a folder that has nothing but `bytes` in a file `name`.
fn siglip(name: &str, bytes: &[u8]) -> Result<Loaded> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(name), bytes).unwrap();
    load_siglip(folder.path(), 1000, 16, false, Some(1))
}

/// Each loader checks what it read before a library sees it, and says which file and field it was.
#[test]
fn a_hostile_tokenizer_json_is_refused_by_file_and_field() {
    let clip: Value = serde_json::from_slice(&fs::read(fixture("clip-hf/tokenizer.json")).unwrap()).unwrap();
    let siglip_json: Value =
        serde_json::from_slice(&fs::read(fixture("siglip-hf/tokenizer.json")).unwrap()).unwrap();
    let grow = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "a".repeat(30)});
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    let clips: [fn(&Path, u32) -> Result<Loaded>; 2] = [load_clip, load_open_clip];
    let mut seen = 0;
    for (place, value, field, of_clip, of_open_clip) in [
        ("/model/merges/0", json!(["\u{0}", "\u{0}"]), "model.merges", true, true),
        ("/model/vocab/a", u32::MAX.into(), "model.vocab", true, true),
        // open_clip takes the vocabulary and the merges and makes the rest itself.
        ("/normalizer", grow.clone(), "normalizer", true, false),
        ("/model/dropout", 1.0.into(), "model.dropout", true, false),
        ("/added_tokens/0/content", "".into(), "added_tokens", true, false),
    ] {
        let mut hostile = clip.clone();
        *hostile.pointer_mut(place).unwrap() = value;
        fs::write(&path, hostile.to_string()).unwrap();
        for (load, refused) in clips.into_iter().zip([of_clip, of_open_clip]) {
            match load(folder.path(), 49408) {
                Ok(_) => assert!(!refused, "{place}"),
                Err(error) => {
                    seen += 1;
                    let error = error.to_string();
                    assert!(refused && error.contains("tokenizer.json") && error.contains(field), "{error}");
                    assert!(!error.contains("its library"), "{error}");
                }
            }
        }
    }
    assert_eq!(seen, 7);

    for (place, value, field) in [
        ("/normalizer", json!({"type": "Sequence", "normalizers": [grow]}), "normalizer"),
        ("/model/unk_id", 1_000_000.into(), "model.unk_id"),
        ("/model/vocab/0/0", "".into(), "model.vocab"),
        ("/model/type", "WordLevel".into(), "model.type"),
    ] {
        let mut hostile = siglip_json.clone();
        *hostile.pointer_mut(place).unwrap() = value;
        let error = siglip("tokenizer.json", hostile.to_string().as_bytes()).err().unwrap().to_string();
        assert!(error.contains("tokenizer.json") && error.contains(field), "{error}");
        assert!(!error.contains("its library"), "{error}");
    }
}

/// The bytes of a `spiece.model`, and where its compiled rules lie in them.
fn pieces() -> (Vec<u8>, std::ops::Range<usize>) {
    let path = fixture("siglip-hf/spiece.model");
    let (bytes, charsmap) = (fs::read(&path).unwrap(), Model::open(&path).unwrap().charsmap);
    let start = bytes.windows(charsmap.len()).position(|part| part == charsmap).unwrap();
    (bytes, start..start + charsmap.len())
}

#[test]
fn a_sentencepiece_model_with_damaged_rules_is_refused() {
    let (good, charsmap) = pieces();
    assert!(siglip("spiece.model", &good).is_ok());
    let trie = u32::from_le_bytes(good[charsmap.start..][..4].try_into().unwrap()) as usize;
    let texts = charsmap.start + 4 + trie..charsmap.end;
    for (damage, byte, says) in [
        // The trie's size, its root, and the texts that it leads to.
        (charsmap.start..charsmap.start + 4, 0xff, "cut off inside its trie"),
        (charsmap.start..charsmap.start + 4, 0, "trie of 0 bytes"),
        (charsmap.start + 4..charsmap.start + 8, 0x7f, "points outside"),
        (texts.clone(), 0xff, "not UTF-8"),
        (texts, b'x', "more than"),
    ] {
        let mut damaged = good.clone();
        damaged[damage].fill(byte);
        let error = siglip("spiece.model", &damaged).err().unwrap().to_string();
        let named = error.contains("spiece.model") && error.contains("precompiled_charsmap");
        assert!(named && error.contains(says), "{error}: {says}");
    }
}

/// Half of the damage is in the compiled rules, which a library walks through without looking.
#[test]
fn damaged_sentencepiece_models_are_refused_or_work() {
    let (good, charsmap) = pieces();
    let (mut works, mut refused, mut state) = (0, 0, 0x9e37_79b9_7f4a_7c15u64);
    let mut random = |below: usize| {
        // xorshift
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for round in 0..200 {
        let mut damaged = good.clone();
        for _ in 0..=random(4) {
            let at = match round % 2 {
                0 => charsmap.start + random(charsmap.len()),
                _ => random(good.len()),
            };
            damaged[at] = random(256) as u8;
        }
        match siglip("spiece.model", &damaged) {
            Ok(loaded) => {
                works += 1;
                let tokenizer = CheckedTokenizer::from_json(&loaded.text, 1000).unwrap();
                for text in TEXTS {
                    assert!(tokenizer.ids(text).unwrap().iter().all(|&id| id < 1000), "round {round}");
                }
            }
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().contains("panicked"), "round {round}: {error}");
            }
        }
    }
    assert!(works > 20 && refused > 20, "{works} work, {refused} are refused");
}
