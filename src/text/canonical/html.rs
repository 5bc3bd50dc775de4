//! HTML character references, as Python's `html.unescape` decodes them (<https://html.spec.whatwg.org/#entities-list>),
//! and the stricter reading of them that ftfy has.

use std::collections::HashMap;
use std::string::String;
use std::sync::OnceLock;

/// `name codepoint [codepoint]`, in hexadecimal, sorted by name: the HTML standard's table of named references.
const ENTITIES: &str = include_str!("entities.txt");

/// What the references to these numbers stand for: Windows-1252 where HTML was wrong about Latin-1.
const WINDOWS_1252: [(u32, char); 27] = [
    (0x80, '€'),
    (0x82, '‚'),
    (0x83, 'ƒ'),
    (0x84, '„'),
    (0x85, '…'),
    (0x86, '†'),
    (0x87, '‡'),
    (0x88, 'ˆ'),
    (0x89, '‰'),
    (0x8a, 'Š'),
    (0x8b, '‹'),
    (0x8c, 'Œ'),
    (0x8e, 'Ž'),
    (0x91, '‘'),
    (0x92, '’'),
    (0x93, '“'),
    (0x94, '”'),
    (0x95, '•'),
    (0x96, '–'),
    (0x97, '—'),
    (0x98, '˜'),
    (0x99, '™'),
    (0x9a, 'š'),
    (0x9b, '›'),
    (0x9c, 'œ'),
    (0x9e, 'ž'),
    (0x9f, 'Ÿ'),
];

/// The characters of a named reference; `name` is without `&`, with its semicolon if it has one.
fn named(name: &str) -> Option<String> {
    static TABLE: OnceLock<HashMap<&str, &str>> = OnceLock::new();
    let table = TABLE.get_or_init(|| ENTITIES.lines().filter_map(|line| line.split_once(' ')).collect());
    table
        .get(name)?
        .split(' ')
        .map(|code| u32::from_str_radix(code, 16).ok().and_then(char::from_u32))
        .collect()
}

/// The characters of a numeric reference.
fn numbered(number: Option<u32>) -> Option<char> {
    let Some(number) = number else { return Some('\u{fffd}') };
    match number {
        0 => Some('\u{fffd}'),
        0x0d => Some('\r'),
        0x81 | 0x8d | 0x8f | 0x90 | 0x9d => char::from_u32(number),
        0x80..=0x9f => WINDOWS_1252.iter().find(|(code, _)| *code == number).map(|(_, character)| *character),
        0x01..=0x08 | 0x0b | 0x0e..=0x1f | 0x7f | 0xfdd0..=0xfdef => None,
        _ if number & 0xfffe == 0xfffe && number <= 0x10_ffff => None,
        _ => Some(char::from_u32(number).unwrap_or('\u{fffd}')),
    }
}

/// The digits after `&#` at the start of `text`, or `&#x`: the number (`None` if it is too large), and the reference's
/// length with its semicolon.
fn number(text: &str) -> Option<(Option<u32>, usize)> {
    let digits = text.strip_prefix("&#")?;
    let (digits, radix) = match digits.strip_prefix(['x', 'X']) {
        Some(digits) => (digits, 16),
        None => (digits, 10),
    };
    let len = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    if len == 0 {
        return None;
    }
    let semicolon = usize::from(digits[len..].starts_with(';'));
    let value = u32::from_str_radix(&digits[..len], radix).ok();
    Some((value, text.len() - digits.len() + len + semicolon))
}

/// Decodes every reference in `text`, also those that lack their semicolon.
pub(super) fn unescape(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some((value, len)) = number(rest) {
            out.extend(numbered(value));
            rest = &rest[len..];
            continue;
        }
        let mut len = 1;
        let allowed = |c: &char| !matches!(c, '\t' | '\n' | '\x0c' | ' ' | '<' | '&' | '#' | ';');
        len += rest[1..].chars().take_while(allowed).take(32).map(char::len_utf8).sum::<usize>();
        if len > 1 {
            len += usize::from(rest[len..].starts_with(';'));
        }
        let name = &rest[1..len];
        // The whole name, or the longest beginning of at least two characters that is one.
        let ends = (2..=name.len()).rev().filter(|&end| name.is_char_boundary(end));
        match ends.into_iter().find_map(|end| Some((named(&name[..end])?, end))) {
            Some((characters, end)) => {
                out.push_str(&characters);
                rest = &rest[1 + end..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out + rest
}

/// Decodes the references that end with a semicolon and are nothing else, and those whose names were put in capitals.
pub(super) fn unescape_unambiguous(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let hash = usize::from(rest[1..].starts_with('#'));
        let name = &rest[1 + hash..];
        let len = name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name.len());
        if !(1..=24).contains(&len) || !name[len..].starts_with(';') {
            out.push('&');
            rest = &rest[1..];
            continue;
        }
        let whole = 1 + hash + len + 1;
        let characters = if hash == 1 {
            number(rest)
                .filter(|(_, end)| *end == whole)
                .map(|(value, _)| numbered(value).into_iter().collect())
        } else {
            named(&rest[1..whole]).or_else(|| capitals(&rest[1..whole]))
        };
        match characters {
            Some(characters) => out.push_str(&characters),
            None => out.push_str(&rest[..whole]),
        }
        rest = &rest[whole..];
        // ftfy decodes `&amp;amp;amp;` again and again until nothing changes: all levels but the last are peeled at once.
        while out.ends_with('&')
            && let Some(len) = ampersand(rest)
        {
            rest = &rest[len..];
        }
    }
    out + rest
}

/// The length of a reference to `&` itself, without the `&` that it starts with, at the start of `text`.
fn ampersand(text: &str) -> Option<usize> {
    let len = 1 + text.bytes().take(25).position(|byte| byte == b';')?;
    let reference = std::format!("&{}", &text[..len]);
    let found = match number(&reference) {
        Some((value, end)) => end == reference.len() && numbered(value) == Some('&'),
        None => named(&reference[1..]).as_deref() == Some("&"),
    };
    found.then_some(len)
}

/// The reference `name`, all in capitals, of a name that has only small letters.
fn capitals(name: &str) -> Option<String> {
    if name.contains(|c: char| c.is_ascii_lowercase())
        || unescape(&std::format!("&{name}")) != std::format!("&{name}")
    {
        return None;
    }
    Some(named(&name.to_ascii_lowercase())?.to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_decoded_as_python_does() {
        // From `html.unescape` of Python 3.11.
        for (text, expected) in [
            ("&amp;lt; &LT &notit; &notin; &#65;&#x41&#x42;", "&lt; < ¬it; ∉ AAB"),
            ("&#0; &#128; &#129; &#11; &#xD800; &#99999999999;", "\u{fffd} € \u{81}  \u{fffd} \u{fffd}"),
            ("&; &#; &#x; & &x &fjlig;", "&; &#; &#x; & &x fj"),
            ("&amp", "&"),
            ("AT&T &AMP;copy;", "AT&T &copy;"),
        ] {
            assert_eq!(unescape(text), expected, "{text}");
        }
    }

    #[test]
    fn only_unambiguous_references_are_decoded_by_the_stricter_rule() {
        // From `ftfy.fixes.unescape_html`, ftfy 6.3.1.
        for (text, expected) in [
            ("P&EACUTE;REZ &ntilde; &NTILDE; &nTILDE;", "PÉREZ ñ Ñ &nTILDE;"),
            ("BUNDESSTRA&SZLIG;E this&not that &#65; &#65", "BUNDESSTRASSE this&not that A &#65"),
            ("&#x41; &#6a; &checkmark; &GTDOT;", "A &#6a; ✓ &GTDOT;"),
            // Of `&amp;amp;` every level but what it ends in, which ftfy decodes in its next round.
            ("&amp;amp;#38;AMP;eacute; &amp;é;", "&eacute; &é;"),
        ] {
            assert_eq!(unescape_unambiguous(text), expected, "{text}");
        }
    }
}
