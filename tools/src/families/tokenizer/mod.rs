//! Tokenizers: whatever files a checkpoint has, one `tokenizer.json` that the runtime reads comes out.

mod bert;
mod clip;
mod loaded;
mod nllb;
mod sentencepiece;
mod settings;
mod siglip;
#[cfg(test)]
mod tests;

pub use bert::{load_bert, load_bert_without_end};
pub use clip::{load_clip, load_open_clip};
pub use loaded::Loaded;
pub use nllb::load_nllb;
pub use siglip::{load_open_clip_siglip, load_siglip};
