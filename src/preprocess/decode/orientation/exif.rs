//! The Orientation tag in a TIFF structure, as EXIF blocks and TIFF files have it.

/// Tags of interest in the first directory.
const ORIENTATION: u16 = 0x0112;
const XMP: u16 = 0x02bc;

/// A TIFF structure: its byte order, and whether it is a BigTIFF.
#[derive(Clone, Copy)]
struct Tiff<'a> {
    data: &'a [u8],
    big_endian: bool,
    big: bool,
}

/// An entry of a directory: its type, and the bytes of its values.
#[derive(Clone, Copy)]
struct Entry<'a> {
    kind: u16,
    value: &'a [u8],
}

/// The value of the Orientation tag of an EXIF block, with or without `Exif\0\0` before it (some write that twice):
/// 0 where the tag is there and its value is no number from 1 to 8, nothing where it is not there.
pub(super) fn orientation(exif: &[u8]) -> Option<u8> {
    const PREFIX: &[u8] = b"Exif\0\0";
    let data = exif.strip_prefix(PREFIX).unwrap_or(exif);
    let tiff = Tiff::new(data.strip_prefix(PREFIX).unwrap_or(data))?;
    let number = tiff.number(tiff.find(ORIENTATION)?);
    Some((1..=8).find(|&orientation| number == Some(f64::from(orientation))).unwrap_or(0))
}

/// The XMP packet of a TIFF file.
pub(super) fn xmp(data: &[u8]) -> Option<&[u8]> {
    Some(Tiff::new(data)?.find(XMP)?.value)
}

impl<'a> Tiff<'a> {
    fn new(data: &'a [u8]) -> Option<Self> {
        let (big_endian, version) = match *data.first_chunk::<4>()? {
            // The version's bytes are known to come in either order whatever the file says.
            [b'I', b'I', a, b] => (false, a.max(b)),
            [b'M', b'M', a, b] => (true, a.max(b)),
            _ => return None,
        };
        matches!(version, 42 | 43).then_some(Tiff { data, big_endian, big: version == 43 })
    }

    /// Up to eight bytes at `at` as a number.
    fn unsigned(&self, at: usize, len: usize) -> Option<u64> {
        let bytes = self.data.get(at..at.checked_add(len)?)?.iter();
        let add = |number: u64, &byte: &u8| number << 8 | u64::from(byte);
        Some(if self.big_endian { bytes.fold(0, add) } else { bytes.rev().fold(0, add) })
    }

    fn offset(&self, at: usize) -> Option<usize> {
        usize::try_from(self.unsigned(at, if self.big { 8 } else { 4 })?).ok()
    }

    /// The first usable entry of the first directory with `tag`. A directory has at most 65,535 entries.
    fn find(&self, tag: u16) -> Option<Entry<'a>> {
        let (count_bytes, word) = if self.big { (8, 8) } else { (2, 4) };
        let directory = self.offset(if self.big { 8 } else { 4 })?;
        let count = self.unsigned(directory, count_bytes)?.min(65_535) as usize;
        let first = directory.checked_add(count_bytes)?;
        // Tag, type, number of values, and the values or where they are.
        let step = 4 + 2 * word;
        for index in 0..count {
            let at = first.checked_add(index * step)?;
            // An entry that is cut off ends the directory.
            self.data.get(at..at.checked_add(step)?)?;
            if self.unsigned(at, 2)? != u64::from(tag) {
                continue;
            }
            let kind = self.unsigned(at + 2, 2)? as u16;
            let entry = size_of_type(kind).and_then(|size| {
                let len = usize::try_from(self.unsigned(at + 4, word)?).ok()?.checked_mul(size)?;
                let at = if len > word { self.offset(at + 4 + word)? } else { at + 4 + word };
                self.data.get(at..at.checked_add(len)?).filter(|value| !value.is_empty())
            });
            if let Some(value) = entry {
                return Some(Entry { kind, value });
            }
        }
        None
    }

    /// The first value of an entry, where it is a number: cameras write SHORT, others anything.
    fn number(&self, entry: Entry<'a>) -> Option<f64> {
        let at = |start: usize, len: usize| {
            let data = entry.value;
            Tiff { data, ..*self }.unsigned(start, len)
        };
        Some(match entry.kind {
            // SHORT, LONG, IFD, LONG8. Signed ones are the same where they are above zero.
            3 | 8 => at(0, 2)? as f64,
            4 | 9 | 13 => at(0, 4)? as f64,
            6 => at(0, 1)? as f64,
            16 => at(0, 8)? as f64,
            5 | 10 => at(0, 4)? as f64 / at(4, 4)? as f64,
            11 => f64::from(f32::from_bits(at(0, 4)? as u32)),
            12 => f64::from_bits(at(0, 8)?),
            _ => return None,
        })
    }
}

/// Bytes of one value of a TIFF type.
fn size_of_type(kind: u16) -> Option<usize> {
    match kind {
        1 | 2 | 6 | 7 => Some(1),
        3 | 8 => Some(2),
        4 | 9 | 11 | 13 => Some(4),
        5 | 10 | 12 | 16 => Some(8),
        _ => None,
    }
}
