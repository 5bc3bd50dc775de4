//! SentencePiece's `precompiled_charsmap`: a double-array trie over UTF-8 bytes (darts-clone), and the texts that its
//! leaves point at, each ended by a zero.
//!
//! ```text
//! u32 bytes of the trie | the trie, u32 units | texts
//! unit: bits 0..8 label, bit 8 has a leaf, bit 9 offset is in steps of 256, bits 10..31 offset, bit 31 is a value
//! ```

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::format;
use std::string::String;
use std::vec::Vec;

/// Longest text for one character, in bytes. NFKC's longest has 33.
const MAX_TEXT: usize = 40;

/// Checks that no walk through the table, whatever the text, leaves it. The length of the longest text in it, in bytes:
/// so many times as long can a text become.
pub(super) fn check(base64: &str) -> Result<usize, String> {
    let bytes = STANDARD.decode(base64).map_err(|error| format!("is not base64: {error}"))?;
    let (size, rest) = bytes.split_first_chunk().ok_or("is cut off before its trie")?;
    let size = u32::from_le_bytes(*size) as usize;
    let (trie, texts) = rest.split_at_checked(size).ok_or("is cut off inside its trie")?;
    let (units, odd) = trie.as_chunks();
    if units.is_empty() || !odd.is_empty() {
        return Err(format!("has a trie of {size} bytes; expected a multiple of 4, above 0"));
    }
    let units: Vec<u32> = units.iter().map(|unit| u32::from_le_bytes(*unit)).collect();
    let texts = core::str::from_utf8(texts).map_err(|_| "has texts that are not UTF-8")?;
    let mut longest = 0;
    for (at, &unit) in units.iter().enumerate() {
        // A value is never walked through: no byte has its label.
        if unit >> 31 == 1 {
            continue;
        }
        let offset = (unit >> 10) << ((unit & (1 << 9)) >> 6);
        let children = at ^ offset as usize;
        // The next step adds a byte to this by exclusive or.
        let leaf = units.get(children).filter(|_| children | 0xff < units.len());
        let Some(leaf) = leaf else {
            return Err(format!("has a unit, number {at}, that points outside its trie"));
        };
        if unit >> 8 & 1 == 1 {
            let start = (leaf & !(1 << 31)) as usize;
            let text =
                texts.get(start..).ok_or_else(|| format!("points at text {start}, which does not exist"))?;
            let len = text.bytes().take(MAX_TEXT + 1).take_while(|&byte| byte != 0).count();
            if len > MAX_TEXT {
                return Err(format!("has a text of more than {MAX_TEXT} bytes, at {start}"));
            }
            longest = longest.max(len);
        }
    }
    Ok(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A trie of 512 units in which "a" has the leaf `value`; its root's unit is `root`.
    fn table(root: u32, value: u32, texts: &[u8]) -> String {
        let mut units = [0u32; 512];
        // The root's children lie at 256, so "a" at 256 ^ 97; its own at 0 ^ that, where its leaf is.
        units[0] = root;
        units[256 ^ 97] = 97 | 1 << 8 | ((256 ^ 97 ^ 300) << 10);
        units[300] = 1 << 31 | value;
        let mut bytes = Vec::from((4 * units.len() as u32).to_le_bytes());
        units.iter().for_each(|unit| bytes.extend(unit.to_le_bytes()));
        bytes.extend(texts);
        STANDARD.encode(bytes)
    }

    #[test]
    fn tables_that_hold_together_pass_and_others_do_not() {
        let root = 256 << 10;
        assert_eq!(check(&table(root, 0, b"bcd\0e\0")), Ok(3));
        assert_eq!(check(&table(root, 0, &[b'x'; MAX_TEXT])), Ok(MAX_TEXT));
        for (bad, says) in [
            (table(512 << 10, 0, b"b\0"), "outside"),
            (table(root, 3, b"b\0"), "does not exist"),
            (table(root, 1, "é\0".as_bytes()), "does not exist"),
            (table(root, 0, &[b'x'; MAX_TEXT + 1]), "more than"),
            (table(root, 0, &[0xff, 0]), "UTF-8"),
            (String::new(), "cut off"),
            ("AAAAAA==".into(), "0 bytes"),
            ("/////w==".into(), "cut off"),
            ("AgAAAAAA".into(), "2 bytes"),
            ("!".into(), "base64"),
        ] {
            let problem = check(&bad).unwrap_err();
            assert!(problem.contains(says), "{problem}: {says}");
        }
    }
}
