//! What `ftfy.fix_text` (6.3.1, default settings) makes of a text: open_clip passes every text through it.

use super::{Effort, html, mojibake};
use fancy_regex::Regex;
use std::borrow::Cow;
use std::string::{String, ToString};
use std::sync::OnceLock;
use tokenizers::NormalizedString;

/// `text` without mojibake, entities, ligatures, curly quotes, full-width forms and control characters; line by line.
pub(super) fn fix_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // From the first `<` on this may be HTML, whose references are meant.
    let mut unescape = true;
    for line in text.split_inclusive('\n') {
        unescape &= !line.contains('<');
        out.push_str(&fix_line(line, unescape));
    }
    out
}

fn fix_line(line: &str, unescape: bool) -> String {
    let mut text = line.to_string();
    let mut effort = Effort::on(line);
    while effort.allows(&text) {
        let mut fixed = if unescape { html::unescape_unambiguous(&text) } else { text.clone() };
        fixed = mojibake::fix_encoding(&fixed, &mut effort);
        fixed = mojibake::fix_c1_controls(&fixed);
        fixed = fixed.chars().map(ligature).collect();
        fixed = widths(&fixed);
        fixed = fixed.chars().map(straight).collect();
        fixed = fixed.replace("\r\n", "\n").replace(['\r', '\u{2028}', '\u{2029}', '\u{85}'], "\n");
        fixed = remove_terminal_escapes(&fixed);
        fixed.retain(|c| !is_stray_control(c));
        fixed = nfc(&fixed);
        if fixed == text {
            break;
        }
        text = fixed;
    }
    text
}

fn nfc(text: &str) -> String {
    let mut text = NormalizedString::from(text);
    text.nfc();
    text.get().into()
}

fn nfkc(text: &str) -> String {
    let mut text = NormalizedString::from(text);
    text.nfkc();
    text.get().into()
}

/// Latin ligatures and digraphs taken apart.
fn ligature(c: char) -> Cow<'static, str> {
    Cow::Borrowed(match c {
        'Ĳ' => "IJ",
        'ĳ' => "ij",
        'ŉ' => "ʼn",
        'Ǳ' => "DZ",
        'ǲ' => "Dz",
        'ǳ' => "dz",
        'Ǆ' => "DŽ",
        'ǅ' => "Dž",
        'ǆ' => "dž",
        'Ǉ' => "LJ",
        'ǈ' => "Lj",
        'ǉ' => "lj",
        'Ǌ' => "NJ",
        'ǋ' => "Nj",
        'ǌ' => "nj",
        'ﬀ' => "ff",
        'ﬁ' => "fi",
        'ﬂ' => "fl",
        'ﬃ' => "ffi",
        'ﬄ' => "ffl",
        'ﬅ' => "ſt",
        'ﬆ' => "st",
        _ => return Cow::Owned(c.to_string()),
    })
}

/// Half-width and full-width forms at their usual width, and the ideographic space as a space.
fn widths(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{3000}' => out.push(' '),
            '\u{ff01}'..='\u{ffef}' => out.push_str(&nfkc(c.encode_utf8(&mut [0; 4]))),
            _ => out.push(c),
        }
    }
    out
}

/// Curly quotes as straight ones.
fn straight(c: char) -> char {
    match c {
        '\u{201c}'..='\u{201f}' => '"',
        '\u{2bc}' | '\u{2018}'..='\u{201b}' => '\'',
        _ => c,
    }
}

/// Without `ESC [ 1 ; 31 m` and the like.
fn remove_terminal_escapes(text: &str) -> String {
    static ESCAPE: OnceLock<Regex> = OnceLock::new();
    let escape = ESCAPE.get_or_init(|| Regex::new(r"\x1b\[[\d;]*[a-zA-Z]").expect("a valid pattern"));
    escape.replace_all(text, "").into_owned()
}

/// Control characters that no text means.
fn is_stray_control(c: char) -> bool {
    matches!(
        c,
        '\0'..='\u{8}' | '\u{b}' | '\u{e}'..='\u{1f}' | '\u{7f}' | '\u{206a}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffc}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_what_ftfy_makes_of_them() {
        // From `ftfy.fix_text`, ftfy 6.3.1.
        for (text, expected) in [
            ("schÃ¶n â€œlike thisâ€\u{9d} voilÃ le travail", "schön \"like this\" voilà le travail"),
            ("l’humanitÃ© LUÐ³ rÃ©union", "l'humanité LUг réunion"),
            ("ﬁne ＬＯＵＤ　ﾀ ½ …", "fine LOUD タ ½ …"),
            ("&lt;b&gt; &eacute;\n<i> &eacute;\n&eacute;", "<b> é\n<i> &eacute;\n&eacute;"),
            ("\u{1b}[36;44mblue\u{1b}[0m \u{1b}[x\u{feff}", "blue "),
            ("a\r\nb\u{2028}c\u{85}", "a\nb\nc…"),
        ] {
            assert_eq!(fix_text(text), expected, "{text}");
        }
    }
}
