//! Texts, through every family's canonicalisation and tokenizer.

use crate::seeds::fixtures;
use ocelli::Model;
use ocelli::text::TextTokenizer;
use ocelli_tools::{ConvertOptions, Precision, convert};
use std::sync::OnceLock;

/// Longest text, in bytes: long enough for every rule, short enough for many tries in a second.
const MAX_TEXT: usize = 1024;

/// Tokenises the input as each family does.
pub fn run(data: &[u8]) {
    static TOKENIZERS: OnceLock<Vec<TextTokenizer>> = OnceLock::new();
    let text = String::from_utf8_lossy(&data[..data.len().min(MAX_TEXT)]);
    for tokenizer in TOKENIZERS.get_or_init(load) {
        let tokens = tokenizer.encode(&text).expect("any text can be tokenised");
        assert!(!tokens.ids.is_empty());
    }
}

fn load() -> Vec<TextTokenizer> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let families = [
        ("clip-hf", "clip-hf"),
        ("clip-openclip", "clip-hf"),
        ("siglip-hf", "siglip-hf"),
        ("siglip2-fixres", "siglip2-fixres"),
        ("siglip2-naflex", "siglip2-naflex"),
    ];
    let tokenizer = |(family, tokenizer): (&str, &str)| {
        let output = folder.path().join(family);
        let mut options = ConvertOptions::new(fixtures().join(family), &output, Precision::Fp32);
        options.model.tokenizer = Some(fixtures().join(tokenizer));
        convert(&options).expect("fixtures can be converted");
        let model = Model::open(&output).expect("a model");
        TextTokenizer::new(model.file()).expect("a tokenizer")
    };
    families.map(tokenizer).into()
}
