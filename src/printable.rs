//! Text from outside on its way to a terminal: names of files, labels and classes may hold anything.

use std::borrow::Cow;
use std::string::String;

/// `text` with every character escaped as `\u{..}` that a terminal would obey instead of show: controls (C0, DEL, C1),
/// controls of direction, line and paragraph separators, and marks without width that can hide a name. Joiners stay:
/// emoji and several scripts need them.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unprintable) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_unprintable(c) {
            true => escaped.extend(c.escape_unicode()),
            false => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

/// Most characters of a text from outside that a message quotes.
const MAX_QUOTED: usize = 80;

/// The beginning of `text`, which says that it goes on: for messages that quote it.
pub fn excerpt(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MAX_QUOTED) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(std::format!("{}…", &text[..end])),
    }
}

/// Whether [`printable`] escapes `c`.
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        let (short, long) = ("é".repeat(80), "é".repeat(81));
        assert!(matches!(excerpt(&short), Cow::Borrowed(same) if same == short));
        assert_eq!(excerpt(&long), short + "…");
    }

    #[test]
    fn what_a_terminal_obeys_is_escaped_and_the_rest_stays() {
        for (text, shown) in [
            ("a\u{1b}[2Jb\rc\n", "a\\u{1b}[2Jb\\u{d}c\\u{a}"),
            ("\u{7f}\u{9b}31m", "\\u{7f}\\u{9b}31m"),
            ("gpj.\u{202e}exe", "gpj.\\u{202e}exe"),
            ("\u{2066}\u{2028}\u{feff}", "\\u{2066}\\u{2028}\\u{feff}"),
        ] {
            assert_eq!(printable(text), shown);
        }
        for plain in ["naïve кот 猫 עברית", "👩\u{200d}🚀", "می\u{200c}خواهم", "a\\u{1b}"]
        {
            assert!(matches!(printable(plain), Cow::Borrowed(same) if same == plain));
        }
    }
}
