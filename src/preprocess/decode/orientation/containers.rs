//! Where JPEG, WebP and TIFF files keep EXIF and XMP.

use std::borrow::Cow;

use super::Metadata;
use super::exif;

/// EXIF and XMP of the segments before the first scan. EXIF may be spread over several; of XMP packets the last counts.
pub(super) fn jpeg(data: &[u8]) -> Metadata<Cow<'_, [u8]>> {
    const EXIF: &[u8] = b"Exif\0\0";
    const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
    let mut found = Metadata::<Cow<'_, [u8]>>::default();
    let mut rest = data.get(2..).unwrap_or_default();
    loop {
        let (marker, after) = match *rest {
            [0xff, 0xff, ..] => {
                rest = &rest[1..];
                continue;
            }
            [0xff, marker, ref after @ ..] => (marker, after),
            _ => return found,
        };
        if matches!(marker, 0xd9 | 0xda) {
            return found;
        }
        if matches!(marker, 0x01 | 0xd0..=0xd7) {
            rest = after;
            continue;
        }
        let [high, low, ..] = *after else { return found };
        let length = usize::from(u16::from_be_bytes([high, low])).max(2);
        let Some((segment, next)) = after.split_at_checked(length) else { return found };
        let segment = &segment[2..];
        if marker == 0xe1 {
            if let Some(more) = segment.strip_prefix(EXIF) {
                match &mut found.exif {
                    None => found.exif = Some(more.into()),
                    Some(exif) => exif.to_mut().extend_from_slice(more),
                }
            } else if let Some(xmp) = segment.strip_prefix(XMP) {
                found.xmp = Some(xmp.into());
            }
        }
        rest = next;
    }
}

/// The first EXIF and XMP chunk, where the header says that there is one.
pub(super) fn webp(data: &[u8]) -> Metadata<&[u8]> {
    let mut found = Metadata::default();
    let mut rest = data.get(12..).unwrap_or_default();
    let mut flags = 0;
    while let Some((name, after)) = rest.split_first_chunk::<4>() {
        let Some((length, after)) = after.split_first_chunk::<4>() else { break };
        let length = u32::from_le_bytes(*length) as usize;
        let Some(chunk) = after.get(..length) else { break };
        match name {
            b"VP8X" => flags = chunk.first().copied().unwrap_or_default(),
            b"EXIF" if flags & 0x08 != 0 => found.exif = found.exif.or(Some(chunk)),
            b"XMP " if flags & 0x04 != 0 => found.xmp = found.xmp.or(Some(chunk)),
            _ => {}
        }
        // Chunks are padded to an even length.
        rest = after.get(length + length % 2..).unwrap_or_default();
    }
    found
}

/// A TIFF file is what EXIF is made of.
pub(super) fn tiff(data: &[u8]) -> Metadata<&[u8]> {
    Metadata { exif: Some(data), xmp: exif::xmp(data) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn exif_of_several_segments_is_joined() {
        let segment = |body: &[u8]| [&[0xff, 0xe1, 0, body.len() as u8 + 2], body].concat();
        let jpeg_data =
            [b"\xff\xd8".to_vec(), segment(b"Exif\0\0II"), segment(b"Exif\0\0*\0"), b"\xff\xda".to_vec()];
        let joined: Vec<u8> = jpeg(&jpeg_data.concat()).exif.unwrap().into_owned();
        assert_eq!(joined, b"II*\0");
    }
}
