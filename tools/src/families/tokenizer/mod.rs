//! Tokenizers: whatever files a checkpoint has, one `tokenizer.json` that the runtime reads comes out.

mod clip;
mod loaded;
mod sentencepiece;
mod siglip;
#[cfg(test)]
mod tests;

pub use clip::{load_clip, load_open_clip};
pub use loaded::Loaded;
pub use siglip::{load_open_clip_siglip, load_siglip};
