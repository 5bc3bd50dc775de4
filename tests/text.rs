//! Token ids of awkward strings against the library that wrote the fixtures, through a packed file.

use ocelli::Model;
use ocelli::text::TextTokenizer;
use ocelli_tools::families::ModelOptions;
use ocelli_tools::{ConvertOptions, Precision, convert};
use serde_json::{Value, json};
use std::path::Path;

fn cases(fixture: &str) -> Vec<Value> {
    cases_of(fixture, 41)
}

fn cases_of(fixture: &str, count: usize) -> Vec<Value> {
    let cases = std::fs::read(ocelli_tests::fixtures().join(fixture).join("tokenizer_cases.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_slice(&cases).unwrap();
    assert_eq!(cases.len(), count);
    cases
}

fn ids(case: &Value) -> Vec<u32> {
    case.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// Checks the ids of all cases, filled up with `pad` if there is one. `long` of them are too long for the model.
fn check(
    name: &str,
    model: &Path,
    cases: &[Value],
    ids: impl Fn(&Value) -> Vec<u32>,
    pad: Option<u32>,
    long: usize,
) {
    let model = Model::open(model).unwrap();
    let tokenizer = TextTokenizer::new(model.file()).unwrap();
    let context = model.file().config().text.context as usize;
    let (mut truncated, mut wrong) = (0, Vec::new());
    for case in cases {
        let text = case["text"].as_str().unwrap();
        let mut expected = ids(case);
        if let Some(pad) = pad {
            expected.resize(context, pad);
        }
        let tokens = tokenizer.encode(text).unwrap();
        if tokens.ids != expected {
            wrong.push(format!("{text:?}: {:?} instead of {expected:?}", tokens.ids));
        }
        truncated += usize::from(tokens.truncated);
    }
    assert!(wrong.is_empty(), "{name}: {} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(truncated, long, "{name}: strings that are too long");
}

/// `clip-hf` has a tokenizer.json; `clip-hf-gelu-p14` has vocab.json and merges.txt, which the packer joins.
#[test]
fn clips_token_ids_are_those_of_transformers() {
    let directory = tempfile::tempdir().unwrap();
    for fixture in ["clip-hf", "clip-hf-gelu-p14"] {
        let path = ocelli_tests::packed(directory.path(), fixture, Precision::Fp16);
        check(fixture, &path, &cases(fixture), |case| ids(&case["ids"]), None, 1);

        // 75 words, the begin and the end fill the context; one more word does not fit.
        let model = Model::open(path).unwrap();
        let tokenizer = TextTokenizer::new(model.file()).unwrap();
        let words = |count: usize| tokenizer.encode(&"cat ".repeat(count)).unwrap();
        assert_eq!((words(75).ids.len(), words(75).truncated), (77, false));
        assert_eq!((words(76).ids == words(75).ids, words(76).truncated), (true, true));
    }
}

/// WordPiece, unigram and byte-level models, as `tokenizer.json` and as the files of older releases; awkward strings, and labels
/// in Chinese, Japanese, Korean, Arabic, Persian, Hebrew, Hindi, Thai, Cyrillic, Greek, emoji and mixtures of them.
#[test]
fn token_ids_of_towers_like_berts_are_those_of_their_libraries() {
    let directory = tempfile::tempdir().unwrap();
    // openclip-xlmr and openclip-nllb clean texts before. In chinese-clip and dual-vit-xlmr the tokenizer has no limit.
    for (fixture, long) in [
        ("dual-dinov2-bert", 1),
        ("chinese-clip", 1),
        ("jina-clip-v1", 1),
        ("dual-vit-xlmr", 2),
        ("openclip-xlmr", 2),
        ("mclip", 2),
        ("openclip-nllb", 2),
    ] {
        let path = ocelli_tests::packed(directory.path(), fixture, Precision::Fp16);
        check(fixture, &path, &cases_of(fixture, 125), |case| ids(&case["ids"]), None, long);
    }
    // RoBERTa's byte-level BPE, in a model that has fewer than its 50,265 tokens.
    let tokenizer = ocelli_tests::fixtures().join("roberta");
    let path = ocelli_tests::packed_with(directory.path(), "chinese-clip", tokenizer, Precision::Fp16);
    check("roberta", &path, &cases_of("roberta", 125), |case| ids(&case["ids"]), None, 5);
}

/// open_clip cleans texts in its own way and has other special tokens; its vocabulary is read from either layout.
#[test]
fn open_clips_token_ids_are_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let cases = cases("clip-hf");
    let own = |case: &Value| ids(case.get("open_clip_ids").unwrap_or(&case["ids"]));
    assert_eq!(cases.iter().filter(|case| case.get("open_clip_ids").is_some()).count(), 9);
    for tokenizer in ["clip-hf", "clip-hf-gelu-p14"] {
        let path = ocelli_tests::packed_with(directory.path(), "clip-openclip", tokenizer, Precision::Fp16);
        check(&format!("clip-openclip with {tokenizer}"), &path, &cases, own, None, 1);
    }
}

/// SigLIP has `tokenizer.json` and `spiece.model`, SigLIP 2 `tokenizer.json` and `tokenizer.model`: each alone must do.
#[test]
fn siglips_token_ids_are_those_of_transformers_and_padded_to_64() {
    let directory = tempfile::tempdir().unwrap();
    for (fixture, pieces, pad) in [
        ("siglip-hf", "spiece.model", 1),
        ("siglip2-fixres", "tokenizer.model", 0),
        // Lower-cased.
        ("siglip2-naflex", "tokenizer.model", 0),
    ] {
        let mut cases = cases(fixture);
        if fixture == "siglip-hf" {
            // What the rules leave of the last character is a space, which goes.
            cases.push(json!({"text": "\u{b2} \u{feff}", "ids": [3, 996, 1]}));
        }
        let path = ocelli_tests::packed(directory.path(), fixture, Precision::Fp16);
        check(fixture, &path, &cases, |case| ids(&case["ids"]), Some(pad), 2);

        for file in [pieces, "tokenizer.json"] {
            let alone = directory.path().join(format!("{fixture} {file}"));
            std::fs::create_dir(&alone).unwrap();
            for file in [file, "tokenizer_config.json"] {
                std::fs::copy(ocelli_tests::fixtures().join(fixture).join(file), alone.join(file)).unwrap();
            }
            let path = ocelli_tests::packed_with(directory.path(), fixture, &alone, Precision::Fp16);
            check(&format!("{fixture}, {file}"), &path, &cases, |case| ids(&case["ids"]), Some(pad), 2);
        }
    }
}

/// open_clip cleans a text itself before SigLIP's tokenizers; a unigram model alone serves as well as `tokenizer.json`.
#[test]
fn open_clips_siglip_token_ids_are_its_own() {
    let directory = tempfile::tempdir().unwrap();
    for (fixture, pieces, pad) in [
        ("open-clip-siglip", "siglip-hf/spiece.model", 1),
        ("open-clip-siglip2", "siglip2-fixres/tokenizer.model", 0),
    ] {
        let cases = cases(fixture);
        let path = ocelli_tests::packed(directory.path(), fixture, Precision::Fp16);
        check(fixture, &path, &cases, |case| ids(&case["ids"]), Some(pad), 2);

        let alone = directory.path().join(format!("{fixture} alone"));
        std::fs::create_dir(&alone).unwrap();
        let pieces = ocelli_tests::fixtures().join(pieces);
        std::fs::copy(&pieces, alone.join(pieces.file_name().unwrap())).unwrap();
        let settings = "tokenizer_config.json";
        std::fs::copy(ocelli_tests::fixtures().join(fixture).join(settings), alone.join(settings)).unwrap();
        let path = ocelli_tests::packed_with(directory.path(), fixture, &alone, Precision::Fp16);
        check(&format!("{fixture}, alone"), &path, &cases, |case| ids(&case["ids"]), Some(pad), 2);
    }
}

/// CLIPA's texts have no end token; MetaCLIP 2's run at their own length.
#[test]
fn open_clips_own_towers_take_tokenizers_of_transformers() {
    let directory = tempfile::tempdir().unwrap();
    for (fixture, pad, long) in [("open-clip-clipa", Some(0), 6), ("open-clip-worldwide", None, 1)] {
        let path = ocelli_tests::packed(directory.path(), fixture, Precision::Fp16);
        check(fixture, &path, &cases(fixture), |case| ids(&case["ids"]), pad, long);
    }
}

/// Chinese, Arabic, German, Japanese, Russian and others, with SentencePiece models that have pieces for them.
#[test]
fn multilingual_labels_become_the_ids_of_transformers() {
    let directory = tempfile::tempdir().unwrap();
    let tokenizers = ocelli_tests::fixtures().join("multilingual");
    let cases: Vec<Value> =
        serde_json::from_slice(&std::fs::read(tokenizers.join("cases.json")).unwrap()).unwrap();
    assert_eq!(cases.len(), 44);
    for (fixture, tokenizer, pad, lowercase, ids_of) in [
        ("siglip-hf", "siglip", 1, false, "siglip"),
        ("siglip2-fixres", "siglip2", 0, false, "siglip2"),
        ("siglip2-fixres", "siglip2", 0, true, "siglip2_lower"),
    ] {
        let output = directory.path().join(ids_of);
        let mut options =
            ConvertOptions::new(ocelli_tests::fixtures().join(fixture), &output, Precision::Fp16);
        options.model = ModelOptions {
            tokenizer: Some(tokenizers.join(tokenizer)),
            lowercase,
            ..ModelOptions::default()
        };
        convert(&options).unwrap();
        check(ids_of, &output, &cases, |case| ids(&case[ids_of]), Some(pad), 0);
    }
}
