//! Tokenizers: inside a model file, and as a checkpoint's `tokenizer.json` or `spiece.model`.

use crate::input::Input;
use crate::pack::pack;
use bytemuck::Zeroable;
use ocelli::format::{Config, Pooling, Scoring, TextConfig, TowerConfig, feature};
use ocelli::text::TextTokenizer;
use ocelli_tools::families::tokenizer::{load_clip, load_open_clip, load_siglip};

const TEXT: &str = "a photo of 2 Cats, naïve café 🐱  <|endoftext|>";

/// One byte that says where the tokenizer is, one for the text's rules, then the tokenizer.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let (door, rules) = (input.u8() % 4, input.u8());
    let Some(name) = ["", "tokenizer.json", "tokenizer.json", "spiece.model"].get(usize::from(door)) else {
        return;
    };
    if name.is_empty() {
        if let Ok(json) = std::str::from_utf8(input.0) {
            encode(json, rules);
        }
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join(name), input.0).expect("a temporary file");
    let loaded = match door {
        1 if rules & 4 == 0 => load_clip(folder.path(), 1000),
        1 => load_open_clip(folder.path(), 1000),
        _ => load_siglip(folder.path(), 1000, 16, rules & 4 != 0, None),
    };
    if let Ok(loaded) = loaded {
        encode(&loaded.text, rules);
    }
}

/// Opens a model with this tokenizer and tokenises some texts.
fn encode(json: &str, rules: u8) {
    let Some(model) = pack(&config(rules), Some(json)) else { return };
    let Ok(tokenizer) = TextTokenizer::new(model.file()) else { return };
    for text in ["", "a", TEXT, &"ab ".repeat(100)] {
        if let Ok(tokens) = tokenizer.encode(text) {
            assert!(tokens.ids.len() <= 16 && tokens.ids.iter().all(|&id| id < 1000));
        }
    }
}

/// The smallest text tower: 1000 tokens, texts of 16.
fn config(rules: u8) -> Config {
    let mut config = Config::zeroed();
    (config.score.kind, config.score.embed_dim) = (Scoring::Softmax as u32, 1);
    (config.score.logit_scale, config.checkpoint_id[0]) = (1.0, rules);
    let features = feature::QKV_BIAS | feature::OUT_BIAS | feature::MLP_BIAS | feature::FINAL_NORM;
    let pooling = Pooling::ArgMax as u32;
    let (width, depth, heads, head_dim, mlp_width, act, norm_eps) = (1, 1, 1, 1, 1, 1, 1e-5);
    let tower = TowerConfig {
        width,
        depth,
        heads,
        head_dim,
        mlp_width,
        act,
        norm_eps,
        pooling,
        features,
        ..TowerConfig::zeroed()
    };
    let canonical = u32::from(rules & 3);
    config.text = TextConfig {
        tower,
        vocab: 1000,
        context: 16,
        causal: 1,
        eos: 2,
        pad: 1,
        canonical,
        ..TextConfig::zeroed()
    };
    config
}
