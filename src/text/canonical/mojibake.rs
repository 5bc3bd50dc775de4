//! Text that was decoded in the wrong encoding, found and repaired as ftfy 6.3.1 does (Robyn Speer, 2019,
//! <https://github.com/rspeer/python-ftfy>, Apache 2.0; the categories and patterns are its own).

use super::Effort;
use super::charmaps::{CHARMAPS, Charmap, WINDOWS_1252};
use fancy_regex::Regex;
use std::string::{String, ToString};
use std::sync::OnceLock;
use std::vec::Vec;

/// Characters that occur in mojibake, by what they look like.
const CATEGORIES: [(&str, &str); 14] = [
    ("{common}", "\u{a0}\u{ad}·´–—―…’"),
    ("{c1}", "\u{80}-\u{9f}"),
    ("{bad}", "¦¤¨¬¯¸ƒˆˇ˘˛˜†‡‰⌐◊\u{fffd}ªº"),
    ("{law}", "¶§"),
    ("{currency}", "¢£¥₧€"),
    ("{start}", "¡«¿©΄΅‘‚“„•‹\u{f8ff}"),
    ("{end}", "®»˝”›™"),
    ("{numeric}", "²³¹±¼½¾×µ÷⁄∂∆∏∑√∞∩∫≈≠≡≤≥№"),
    ("{kaomoji}", "Ò-ÖÙ-Üò-öø-üŐŌŪŲ°"),
    ("{upper}", "À-ÑØÜÝĂĀĄĆČĎĐĘĚĒĖĞĢİĪĶĹĽŁĻŃŇŅŒŘŚŞŠŢŤŮŰŸŹŻŽҐ"),
    ("{lower}", "ßà-ñăąāćčďđęěēėğģįīķĺľłļœŕśşšťüźżžґﬁﬂ"),
    ("{upper_common}", "ÞΑ-ΩΆΈΉΊΌΎΏΪΫЁ-Я"),
    ("{lower_common}", "α-ωάέήίΰа-џ"),
    ("{box}", "│┌┐┘├┤┬┼═-╬▀▄█▌▐░▒▓"),
];

/// Sequences that hardly occur in text that was decoded rightly.
const BAD: [&str; 37] = [
    "[{c1}]",
    "[{bad}{lower}{upper}{box}{start}{end}{currency}{numeric}{law}][{bad}]",
    "[a-zA-Z][{lower_common}{upper_common}][{bad}]",
    "[{bad}][{lower}{upper}{box}{start}{end}{currency}{numeric}{law}]",
    "[{lower}{lower_common}{box}{end}{currency}{numeric}][{upper}]",
    "[{box}{end}{currency}{numeric}][{lower}]",
    "[{lower}{box}{end}][{currency}]",
    r"[\s\x1c-\x1f][{upper}][{currency}]",
    "[{upper}{box}][{numeric}{law}]",
    "[{lower}{upper}{box}{currency}{end}][{start}][{numeric}]",
    "[{lower}{upper}{currency}{numeric}{box}{law}][{end}][{start}]",
    "[{currency}{numeric}{box}][{start}]",
    "[a-z][{upper}][{start}{currency}]",
    "[{box}][{kaomoji}]",
    "[{lower}{upper}{currency}{numeric}{start}{end}{law}][{box}]",
    "[{box}][{end}]",
    r"[{lower}{upper}][{start}{end}][\p{L}\p{N}_]",
    // The ligature œ without an unaccented letter behind it.
    "[Œœ][^A-Za-z]",
    // A degree sign behind a capital.
    "[{upper}]°",
    // Windows-1252, two characters.
    "[ÂÃÎÐ][€œŠš¢£Ÿž\u{a0}\u{ad}®©°·»{start}{end}–—´]",
    "×[²³]",
    // Arabic in Windows-1252.
    "[ØÙ][{common}{currency}{bad}{numeric}{start}ŸŠ®°µ»][ØÙ][{common}{currency}{bad}{numeric}{start}ŸŠ®°µ»]",
    // South Asian alphabets.
    "à[²µ¹¼½¾]",
    // Mac Roman.
    "√[±∂†≠®™´≤≥¥µø]",
    "≈[°¢]",
    "‚Ä[ìîïòôúùû†°¢π]",
    "‚[âó][àä°ê]",
    // Windows-1251.
    "вЂ",
    "[ВГРС][{c1}{bad}{start}{end}{currency}°µ][ВГРС]",
    "ГўВЂВ.[A-Za-z ]",
    // à, á and the no-break space in Windows-1252.
    "Ã[\u{a0}¡]",
    r"[a-z][\s\x1c-\x1f]?[ÃÂ][ ]",
    "^[ÃÂ][ ]",
    // Â before a character that it is the encoding of.
    "[a-z.,?!{end}]Â[ {start}{end}]",
    // Windows-1253.
    "β€[™\u{a0}Ά\u{ad}®°]",
    "[ΒΓΞΟ][{c1}{bad}{start}{end}{currency}°][ΒΓΞΟ]",
    // Windows-1257.
    "ā€",
];

/// Characters of bytes 0x80 to 0xBF that do not usually stand for themselves beside mojibake.
const CONTINUATION: &str =
    "\u{80}-¿ĄÆĽŁØŖŚŠŞŤŸŹŽŻŒąæƒľłøŗśšşťźžżœˆˇ˘˛˜˝΄΅ΆΈΉΊΌΎΏЁЂЃЄЅІЇЈЉЊЋЌЎЏёђѓєѕіїјљњћќўџҐґ†‡‰‹›€№™";
/// Others of those bytes, and the space that a no-break space becomes.
const CONTINUATION_TOO: &str = " –—―‘’‚“”„•…";
const FIRST_OF_2: &str = "ĂÂÄĀÅÃÆĆČÇĎĐÉĚÊËĖÈĒĘÐĞĢÍÎÏİÌĪĶĹĻŁŃŇŅÑÓÔÖŐÒŌØÕŘŚŠŞŢÞÚÛÜŰÙŪŲŮÝŹŽŻß×ΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩΪΫάέήίВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ";
const FIRST_OF_3: &str = "áăâäàāąåãæćčçďéěêëėèēęģíîïìīįķĺļŕźΰαβγδεζηθικλμνξοабвгдежзийклмноп";
const FIRST_OF_4: &str = "đðğóšπσру";

struct Patterns {
    bad: Regex,
    /// Sequences that look like UTF-8 in a single-byte encoding.
    utf8: Regex,
    /// UTF-8 in which byte 0xA0 became a space.
    spaced: regex::bytes::Regex,
    /// UTF-8 of which bytes were lost.
    lossy: regex::bytes::Regex,
}

fn patterns() -> &'static Patterns {
    static PATTERNS: OnceLock<Patterns> = OnceLock::new();
    PATTERNS.get_or_init(|| {
        let mut bad = BAD.join("|");
        for (name, characters) in CATEGORIES {
            bad = bad.replace(name, characters);
        }
        let more = std::format!("[{CONTINUATION}{CONTINUATION_TOO}]");
        let utf8 = std::format!(
            "(?<![{CONTINUATION}])(?:[{FIRST_OF_2}]{more}|[{FIRST_OF_3}]{more}{{2}}|[{FIRST_OF_4}]{more}{{3}})+"
        );
        let spaced = r"[\xc2\xc3\xc5\xce\xd0\xd9][ ]|[\xe2\xe3][ ][\x80-\x84\x86-\x9f\xa1-\xbf]\
            |[\xe0-\xe3][\x80-\x84\x86-\x9f\xa1-\xbf][ ]|\xf0[ ][\x80-\xbf][\x80-\xbf]|\xf0[\x80-\xbf][ ][\x80-\xbf]\
            |\xf0[\x80-\xbf][\x80-\xbf][ ]";
        let lossy = r"[\xc2-\xdf]\x1a|[\xc2-\xc3][?]|\xed[\xa0-\xaf][\x1a?]\xed[\xb0-\xbf][\x1a?\x80-\xbf]\
            |\xed[\xa0-\xaf][\x1a?\x80-\xbf]\xed[\xb0-\xbf][\x1a?]|[\xe0-\xef][\x1a?][\x1a\x80-\xbf]\
            |[\xe0-\xef][\x1a\x80-\xbf][\x1a?]|[\xf0-\xf4][\x1a?][\x1a\x80-\xbf][\x1a\x80-\xbf]\
            |[\xf0-\xf4][\x1a\x80-\xbf][\x1a?][\x1a\x80-\xbf]|[\xf0-\xf4][\x1a\x80-\xbf][\x1a\x80-\xbf][\x1a?]|\x1a";
        let bytes = |pattern: &str| {
            let joined: String = pattern.split("\\\n").map(str::trim_start).collect();
            regex::bytes::Regex::new(&std::format!("(?-u){joined}")).expect("a valid pattern")
        };
        let text = |pattern: &str| Regex::new(pattern).expect("a valid pattern");
        Patterns { bad: text(&bad), utf8: text(&utf8), spaced: bytes(spaced), lossy: bytes(lossy) }
    })
}

fn is_bad(text: &str) -> bool {
    patterns().bad.is_match(text).unwrap_or(false)
}

/// Repairs `text` step by step until nothing changes or the effort is spent.
pub(super) fn fix_encoding(text: &str, effort: &mut Effort) -> String {
    let mut text = text.to_string();
    while effort.allows(&text) {
        let fixed = step(&text, effort);
        if fixed == text {
            break;
        }
        text = fixed;
    }
    text
}

fn step(text: &str, effort: &mut Effort) -> String {
    if text.is_ascii() || !is_bad(text) {
        return text.into();
    }
    // UTF-8 that was decoded as one of these.
    let decoded = CHARMAPS.iter().find_map(|charmap| decode_as_utf8(charmap, charmap.encode(text)?));
    if let Some(fixed) = decoded {
        return fixed;
    }
    // Parts of it.
    let fixed = fix_parts(text, effort);
    if fixed != text {
        return fixed;
    }
    // Latin-1 that should have been Windows-1252.
    if let Some(bytes) = CHARMAPS[0].encode(text)
        && bytes.iter().all(|byte| !matches!(byte, 0x81 | 0x8d | 0x8f | 0x90 | 0x9d))
    {
        let fixed: String = bytes.iter().map(|&byte| WINDOWS_1252.char(byte)).collect();
        if fixed != text {
            return fixed;
        }
    }
    fix_c1_controls(text)
}

/// C1 controls as the Windows-1252 characters of their numbers.
pub(super) fn fix_c1_controls(text: &str) -> String {
    let fixed = text.chars().map(|c| match c {
        '\u{80}'..='\u{9f}' => WINDOWS_1252.char(c as u8),
        _ => c,
    });
    fixed.collect()
}

fn decode_as_utf8(charmap: &Charmap, mut bytes: Vec<u8>) -> Option<String> {
    if !charmap.mac && patterns().spaced.is_match(&bytes) {
        bytes = restore_no_break_spaces(&bytes);
    }
    if charmap.windows {
        bytes = patterns().lossy.replace_all(&bytes, &b"\xef\xbf\xbd"[..]).into_owned();
    }
    if bytes.contains(&0xed) || bytes.contains(&0xc0) {
        decode_variants(&bytes)
    } else {
        String::from_utf8(bytes).ok()
    }
}

/// Puts byte 0xA0 back where it became a space inside a UTF-8 sequence.
fn restore_no_break_spaces(bytes: &[u8]) -> Vec<u8> {
    // "Ã " alone is most often the word "à", unless one of these Portuguese words goes on.
    const GO_ON: [&[u8]; 5] = [b" ", b"quele", b"quela", b"quilo", b"s "];
    let mut restored = Vec::with_capacity(bytes.len() + 4);
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"\xc3 ") && !GO_ON.iter().any(|word| bytes[at + 2..].starts_with(word)) {
            restored.extend_from_slice(b"\xc3\xa0 ");
            at += 2;
        } else {
            restored.push(bytes[at]);
            at += 1;
        }
    }
    let replace = |found: &regex::bytes::Captures<'_>| -> Vec<u8> {
        found[0].iter().map(|&byte| if byte == b' ' { 0xa0 } else { byte }).collect()
    };
    patterns().spaced.replace_all(&restored, replace).into_owned()
}

/// UTF-8 in which characters beyond U+FFFF may be pairs of surrogates (CESU-8) and U+0000 two bytes (Java).
fn decode_variants(bytes: &[u8]) -> Option<String> {
    let (mut out, mut plain, mut at) = (String::new(), 0, 0);
    while at < bytes.len() {
        let (c, len) = match bytes[at..] {
            [0xc0, 0x80, ..] => ('\0', 2),
            [0xed, b1 @ 0xa0..=0xaf, b2 @ 0x80..=0xbf, 0xed, b4 @ 0xb0..=0xbf, b5 @ 0x80..=0xbf, ..] => {
                let bits = |byte: u8, mask: u8| u32::from(byte & mask);
                let code =
                    (bits(b1, 15) << 16 | bits(b2, 63) << 10 | bits(b4, 15) << 6 | bits(b5, 63)) + 0x10000;
                (char::from_u32(code)?, 6)
            }
            _ => {
                at += 1;
                continue;
            }
        };
        out.push_str(core::str::from_utf8(&bytes[plain..at]).ok()?);
        out.push(c);
        at += len;
        plain = at;
    }
    out.push_str(core::str::from_utf8(&bytes[plain..]).ok()?);
    Some(out)
}

/// Repairs the parts of `text` that look like UTF-8 for themselves.
fn fix_parts(text: &str, effort: &mut Effort) -> String {
    let (mut out, mut done) = (String::with_capacity(text.len()), 0);
    // An error is the end of the engine's patience.
    for found in patterns().utf8.find_iter(text).map_while(Result::ok) {
        out.push_str(&text[done..found.start()]);
        done = found.end();
        let part = found.as_str();
        // Only a shorter text, or this would never end.
        if part.len() < text.len() && is_bad(part) {
            out.push_str(&fix_encoding(part, effort));
        } else {
            out.push_str(part);
        }
    }
    out + &text[done..]
}
