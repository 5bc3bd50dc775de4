//! Token ids of awkward strings against the library that wrote the fixtures, through a packed file.

#![cfg(feature = "text")]

mod common;

use ocelli::Model;
use ocelli::text::TextTokenizer;
use ocelli_tools::Precision;
use serde_json::Value;

/// `clip-hf` has a tokenizer.json; `clip-hf-gelu-p14` has vocab.json and merges.txt, which the packer joins.
#[test]
fn token_ids_are_the_librarys() {
    let directory = tempfile::tempdir().unwrap();
    for fixture in ["clip-hf", "clip-hf-gelu-p14"] {
        let model = Model::open(common::packed(directory.path(), fixture, Precision::Fp16)).unwrap();
        let tokenizer = TextTokenizer::new(model.file()).unwrap();
        let cases = std::fs::read(common::fixtures().join(fixture).join("tokenizer_cases.json")).unwrap();
        let cases: Vec<Value> = serde_json::from_slice(&cases).unwrap();
        assert_eq!(cases.len(), 41);
        let mut truncated = 0;
        for case in &cases {
            let text = case["text"].as_str().unwrap();
            let ids: Vec<u32> =
                case["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
            let tokens = tokenizer.encode(text).unwrap();
            assert_eq!(tokens.ids, ids, "{fixture}: {text:?}");
            assert!(tokens.ids.len() <= 77 && (!tokens.truncated || tokens.ids.len() == 77));
            truncated += usize::from(tokens.truncated);
        }
        assert_eq!(truncated, 1, "{fixture}: one of the strings is too long");

        // 75 words, the begin and the end fill the context; one more word does not fit.
        let words = |count: usize| tokenizer.encode(&"cat ".repeat(count)).unwrap();
        assert_eq!((words(75).ids.len(), words(75).truncated), (77, false));
        assert_eq!((words(76).ids == words(75).ids, words(76).truncated), (true, true));
    }
}
