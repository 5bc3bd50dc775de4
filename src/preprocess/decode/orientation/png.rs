//! Where PNG files keep EXIF and XMP: in chunks of their own and in texts, before and behind the pixels.

use std::borrow::Cow;
use std::vec::Vec;

use super::Metadata;

/// Most bytes of an inflated text. Pillow has the same limit.
const MAX_TEXT: usize = 1 << 20;

/// EXIF and XMP of all chunks up to the end of the first frame; of several the last counts.
///
/// EXIF is in an `eXIf` chunk, a text `exif`, or as ImageMagick writes it in a text `Raw profile type exif`, in
/// hexadecimal digits. XMP is in a text `XML:com.adobe.xmp`.
pub(super) fn metadata(data: &[u8]) -> Metadata<Cow<'_, [u8]>> {
    let mut found = Metadata::<Cow<'_, [u8]>>::default();
    let mut profile = None;
    let (mut animated, mut pixels) = (false, false);
    let mut rest = data.get(8..).unwrap_or_default();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let Some((name, after)) = after.split_first_chunk::<4>() else { break };
        let length = u32::from_be_bytes(*length) as usize;
        let Some(chunk) = after.get(..length) else { break };
        match name {
            b"IEND" => break,
            b"acTL" => animated = true,
            b"IDAT" => pixels = true,
            // The second frame of an animation.
            b"fcTL" if animated && pixels => break,
            b"eXIf" => found.exif = Some(chunk.into()),
            b"tEXt" | b"zTXt" | b"iTXt" => match keyword(chunk) {
                Some((b"exif", text)) if name == b"tEXt" => found.exif = Some(text.into()),
                Some((b"Raw profile type exif", text)) => profile = value(name, text),
                Some((b"XML:com.adobe.xmp", text)) => {
                    if let Some(text) = value(name, text) {
                        found.xmp = Some(text);
                    }
                }
                _ => {}
            },
            _ => {}
        }
        // The checksum is the decoder's business.
        rest = after.get(length..).and_then(|rest| rest.get(4..)).unwrap_or_default();
    }
    if found.exif.is_none() {
        found.exif = profile.and_then(|text| from_hexadecimal(&text)).map(Cow::Owned);
    }
    found
}

/// A text's keyword and what follows it.
fn keyword(chunk: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = chunk.iter().position(|&byte| byte == 0)?;
    Some((&chunk[..end], &chunk[end + 1..]))
}

/// The text behind the keyword of a text chunk called `name`.
fn value<'a>(name: &[u8; 4], text: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    let inflate = |data| miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(data, MAX_TEXT).ok();
    match name {
        b"tEXt" => Some(text.into()),
        b"zTXt" => text.strip_prefix(&[0]).and_then(inflate).map(Cow::Owned),
        // Whether it is compressed and how, language, keyword in that language.
        _ => {
            let (&[compressed, method], text) = text.split_first_chunk::<2>()?;
            let (_, text) = keyword(text)?;
            let (_, text) = keyword(text)?;
            match (compressed, method) {
                (0, _) => Some(text.into()),
                (_, 0) => inflate(text).map(Cow::Owned),
                _ => None,
            }
        }
    }
}

/// The bytes of a raw profile: an empty line, its name, its length, and then digits.
fn from_hexadecimal(text: &[u8]) -> Option<Vec<u8>> {
    let lines = text.split(|&byte| byte == b'\n').skip(3);
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let digits = lines.flatten().filter(|byte| !byte.is_ascii_whitespace()).map(digit);
    let digits: Vec<u32> = digits.collect::<Option<_>>()?;
    Some(digits.as_chunks::<2>().0.iter().map(|[high, low]| (high << 4 | low) as u8).collect())
}
