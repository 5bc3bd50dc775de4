//! What the markers of a JPEG say before it is decoded: whether it ends, and whether restart markers were lost.

use std::vec::Vec;

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Survey {
    /// The markers lead to an end-of-image marker. Headers that make no sense are left to the decoder.
    pub(super) complete: bool,
    /// The file with restart markers as libjpeg would have understood them, if any were lost or wrong.
    pub(super) repaired: Option<Vec<u8>>,
}

/// Follows the markers of `data`.
pub(super) fn survey(data: &[u8]) -> Survey {
    let mut repairs = Repairs { data, copied: 0, out: Vec::new() };
    let complete = follow(data, &mut repairs);
    Survey { complete, repaired: repairs.finish() }
}

/// A copy of `data` with changes, made from the first of them on.
struct Repairs<'a> {
    data: &'a [u8],
    /// Bytes of `data` that are in `out` or were left out.
    copied: usize,
    out: Vec<u8>,
}

impl Repairs<'_> {
    /// Restart marker `number` before the byte at `at`.
    fn insert(&mut self, at: usize, number: u8) {
        self.out.extend_from_slice(&self.data[self.copied..at]);
        self.out.extend([0xff, 0xd0 + number]);
        self.copied = at;
    }

    fn leave_out(&mut self, from: usize, to: usize) {
        self.out.extend_from_slice(&self.data[self.copied..from]);
        self.copied = to;
    }

    fn finish(mut self) -> Option<Vec<u8>> {
        (self.copied > 0).then(|| {
            self.out.extend_from_slice(&self.data[self.copied..]);
            self.out
        })
    }
}

/// True if the markers lead to the end of the image.
fn follow(data: &[u8], repairs: &mut Repairs<'_>) -> bool {
    let (mut at, mut restarts) = (2, false);
    loop {
        let Some(&[first, marker]) = data.get(at..at + 2) else { return false };
        match (first, marker) {
            (0xff, 0xd9) => return true,
            // Fill bytes and restart markers have no length.
            (0xff, 0xff) => at += 1,
            (0xff, 0x01 | 0xd0..=0xd7) => at += 2,
            (0xff, _) => {
                let Some(&[high, low]) = data.get(at + 2..at + 4) else { return false };
                if marker == 0xdd {
                    restarts = data.get(at + 4..at + 6).is_some_and(|interval| interval != [0, 0]);
                }
                at += 2 + usize::from(u16::from_be_bytes([high, low]));
                if marker == 0xda {
                    let Some(end) = scan(data, at, restarts, repairs) else { return false };
                    at = end;
                }
            }
            _ => return true,
        }
    }
}

/// Where the marker behind the scan at `start` is.
///
/// Restart markers count from 0 to 7. Where one is not the next, libjpeg (`jpeg_resync_to_restart`) takes one that is one
/// or two ahead for the right one of a later interval, so that the intervals between stay empty; skips what follows one
/// that is one or two behind; and takes any other for the next. The decoder does not look at the numbers, so the file is
/// changed to say that.
fn scan(data: &[u8], start: usize, restarts: bool, repairs: &mut Repairs<'_>) -> Option<usize> {
    let mut at = start.min(data.len());
    let (mut expected, mut skipped) = (0u8, None);
    loop {
        at += data[at..].iter().position(|&byte| byte == 0xff)?;
        let number = match *data.get(at + 1)? {
            0x00 => {
                at += 2;
                continue;
            }
            0xff => {
                at += 1;
                continue;
            }
            marker @ 0xd0..=0xd7 => Some(marker - 0xd0),
            _ => None,
        };
        if let Some(from) = skipped.take() {
            repairs.leave_out(from, at);
        }
        let Some(number) = number else { return Some(at) };
        match number.wrapping_sub(expected) & 7 {
            1 | 2 if restarts => {
                while expected != number {
                    repairs.insert(at, expected);
                    expected = (expected + 1) & 7;
                }
            }
            6 | 7 if restarts => {
                skipped = Some(at);
                at += 2;
                continue;
            }
            _ => {}
        }
        expected = (expected + 1) & 7;
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file whose scan is `body`, with restart intervals.
    fn file(body: &[u8], end: &[u8]) -> Vec<u8> {
        [b"\xff\xd8\xff\xdd\0\x04\0\x01\xff\xda\0\x02", body, end].concat()
    }

    #[test]
    fn lost_restarts_become_empty_intervals() {
        let repaired = |body: &[u8]| survey(&file(body, b"\xff\xd9")).repaired;
        assert_eq!(repaired(b"a\xff\xd0b\xff\xd1\xff\0c\xff\xd2d"), None);
        let expected = file(b"a\xff\xd0b\xff\xd1\xff\xd2d\xff\xd3e", b"\xff\xd9");
        assert_eq!(repaired(b"a\xff\xd0b\xff\xd2d\xff\xd3e"), Some(expected));
        let expected = file(b"a\xff\xd0\xff\xd1\xff\xd2d", b"\xff\xd9");
        assert_eq!(repaired(b"a\xff\xd2d"), Some(expected));
        // One that is behind: what follows it is skipped.
        let expected = file(b"a\xff\xd0b\xff\xd1c", b"\xff\xd9");
        assert_eq!(repaired(b"a\xff\xd0b\xff\xd0xx\xff\xd1c"), Some(expected));
        // One that is far off counts as the right one.
        assert_eq!(repaired(b"a\xff\xd4b\xff\xd1c"), None);
    }

    #[test]
    fn the_end_is_found() {
        assert!(survey(&file(b"abc", b"\xff\xff\xd9")).complete);
        // Markers without a length before any segment.
        assert!(survey(b"\xff\xd8\xff\xd3\xff\x01\xff\xd9").complete);
        assert!(!survey(b"\xff\xd8\xff\xd3\xff\x01").complete);
        for end in [&b""[..], b"\xff", b"\xff\xd0", b"\xff\xda", b"\xff\xda\0\x09ab"] {
            assert!(!survey(&file(b"abc", end)).complete, "{end:?}");
        }
    }
}
