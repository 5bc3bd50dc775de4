//! What happens to a text before its tokenizer sees it. Where a library does it in the tokenizer itself, nothing.

mod charmaps;
mod ftfy;
mod html;
mod mojibake;

use std::string::String;

/// How many more bytes may be read while a text is repaired until nothing changes. ftfy has no such end, and texts can be
/// made that need as many rounds as they have letters; others need two or three.
struct Effort(usize);

impl Effort {
    /// Enough for 16 rounds, and for some more of a short text.
    fn on(text: &str) -> Effort {
        Effort(16 * (text.len() + 64))
    }

    /// Whether `text` may be read once more.
    fn allows(&mut self, text: &str) -> bool {
        let left = self.0.checked_sub(text.len());
        self.0 = left.unwrap_or(0);
        left.is_some()
    }
}

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
    open_clip_case(text).to_lowercase()
}

/// `HFTokenizer` of open_clip: the same with its capitals.
pub(super) fn open_clip_case(text: &str) -> String {
    single_spaces(&html::unescape(&html::unescape(&ftfy::fix_text(text))))
}

/// `canonicalize` of open_clip: cleaned in the same way, underscores as spaces, no ASCII punctuation.
pub(super) fn open_clip_no_punctuation(text: &str) -> String {
    let text = html::unescape(&html::unescape(&ftfy::fix_text(text)));
    let mut text = text.replace('_', " ");
    text.retain(|c| !c.is_ascii_punctuation());
    single_spaces(&text.to_lowercase())
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::vec::Vec;

    /// Awkward strings, many of them decoded wrongly, and what open_clip 3.3.0 with ftfy 6.3.1 and transformers 5.23.0
    /// make of them before they tokenise.
    #[test]
    fn texts_become_what_the_libraries_make_of_them() {
        let cases = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/canonical/cases.json"));
        let cases: Vec<Value> = serde_json::from_str(cases).unwrap();
        assert_eq!(cases.len(), 400);
        let mut wrong = Vec::new();
        for case in &cases {
            let text = case["text"].as_str().unwrap();
            for (rule, found) in [("open_clip", open_clip(text)), ("siglip", siglip(text))] {
                let expected = case[rule].as_str().unwrap();
                if found != expected {
                    wrong.push(std::format!("{rule} {text:?}: {found:?} instead of {expected:?}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    }

    /// Each round of ftfy shortens this by a letter: without a limit it would be read some thousand times.
    #[test]
    fn a_text_that_changes_in_every_round_is_left_after_some() {
        let text = |letters| String::from("Ã") + &"\u{83}".repeat(letters) + "\u{a9}";
        assert_eq!(mojibake::fix_encoding(&text(3), &mut Effort::on(&text(3))), "é");
        let long = text(4000);
        let mut effort = Effort::on(&long);
        let rounds = effort.0 / long.len();
        assert_eq!(rounds, 16);
        let left = mojibake::fix_encoding(&long, &mut effort).chars().count();
        assert!((4000 - rounds..4000).contains(&left), "{left}");
        assert!(open_clip(&long).len() < 2 * long.len());
    }

    #[test]
    fn lower_case_looks_at_one_letter_at_a_time() {
        // The final sigma of "σας" would need a look at its neighbours.
        assert_eq!(lower("ΣΑΣ Straße"), "σασ straße");
    }
}
