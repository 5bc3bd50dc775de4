//! What happens to a text before its tokenizer sees it. Where a library does it in the tokenizer itself, nothing.

mod charmaps;
mod ftfy;
mod html;
mod mojibake;

use std::string::String;

/// Lower case letter by letter, whatever stands around it: `Siglip2Tokenizer` of transformers.
pub(super) fn lower(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// `SiglipTokenizer.canonicalize_text` of transformers: lower case, no ASCII punctuation, single spaces.
pub(super) fn siglip(text: &str) -> String {
    let mut text = text.to_lowercase();
    text.retain(|c| !c.is_ascii_punctuation());
    single_spaces(&text)
}

/// `SimpleTokenizer` of open_clip: `fix_text` of ftfy, HTML references decoded twice, single spaces, lower case.
pub(super) fn open_clip(text: &str) -> String {
    let text = html::unescape(&html::unescape(&ftfy::fix_text(text)));
    single_spaces(&text).to_lowercase()
}

/// The words of `text` with one space between them.
fn single_spaces(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // What Python takes for white space.
    for word in text.split(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)) {
        if !word.is_empty() && !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}
