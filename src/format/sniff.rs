//! What bytes are that should have been something else: the cause behind "not a packed model".

use super::header::MAGIC;

/// Bytes from the start of a file that [`sniff`] makes use of.
pub const SNIFFED: usize = 512;

/// Files of other kinds by their first bytes.
const STARTS: [(&[u8], &str); 14] = [
    (b"version https://git-lfs.github.com", "a Git LFS pointer instead of the file itself: run git lfs pull"),
    (&MAGIC, "a packed .ocelli model"),
    (&super::bank::MAGIC, "a label bank of ocelli"),
    (
        b"GGUF",
        "a GGUF model: convert the safetensors checkpoint that it was made from with ocelli-pack convert",
    ),
    (b"PK\x03\x04", "a ZIP archive, as PyTorch's .bin and .pt are: convert it with ocelli-pack convert"),
    (b"\x80\x02", "a pickled PyTorch checkpoint: save it as safetensors first"),
    (b"\x80\x04", "a pickled PyTorch checkpoint: save it as safetensors first"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes it: save the checkpoint as safetensors first"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x1f\x8b", "a gzip archive: unpack it first"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"RIFF", "a RIFF file, as WebP pictures are"),
    (b"%PDF", "a PDF document"),
];

/// Says what a file is that starts with `bytes` (at least [`SNIFFED`] of them, if it has so many), in words that fit
/// behind "this is"; where something can be done about it, they say what. `None` for what is not recognised, and for
/// plain text and JSON, which may be what was wanted.
pub fn sniff(bytes: &[u8]) -> Option<&'static str> {
    if bytes.is_empty() {
        return Some("an empty file: copy or download it again");
    }
    if let Some((_, kind)) = STARTS.iter().find(|(start, _)| bytes.starts_with(start)) {
        return Some(kind);
    }
    if bytes.get(4..8) == Some(b"TFL3") {
        return Some("a TensorFlow Lite model: convert the safetensors checkpoint with ocelli-pack convert");
    }
    if is_safetensors(bytes) {
        return Some("a safetensors checkpoint: convert it with ocelli-pack convert");
    }
    if is_onnx(bytes) {
        return Some(
            "an ONNX model: convert the safetensors checkpoint that it was made from with ocelli-pack convert",
        );
    }
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    let tag = |tag: &[u8]| text.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag));
    if [b"<!doctype".as_slice(), b"<html", b"<head", b"<?xml"].into_iter().any(tag) {
        return Some(
            "a web page instead of the file itself: download it again, with a login if it needs one",
        );
    }
    if bytes.iter().take(SNIFFED).all(|&byte| byte == 0) {
        return Some("a file of zeros: copy or download it again");
    }
    None
}

/// The length of a JSON header, which its first bytes start.
fn is_safetensors(bytes: &[u8]) -> bool {
    let Some((length, header)) = bytes.split_first_chunk() else { return false };
    let length = u64::from_le_bytes(*length);
    (2..1 << 32).contains(&length) && header.first() == Some(&b'{')
}

/// A protobuf message that starts with `ir_version` and goes on with the producer, the domain, the graph or the
/// operator sets.
fn is_onnx(bytes: &[u8]) -> bool {
    matches!(bytes, [0x08, 1..=0x1f, 0x12 | 0x1a | 0x22 | 0x3a | 0x42, ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_instead_of_a_model_is_named() {
        let safetensors = b"\x42\0\0\0\0\0\0\0{\"__metadata__\":{\"format\":\"pt\"}}";
        let cases: [(&[u8], &str); 11] = [
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n", "git lfs pull"),
            (b"\xef\xbb\xbf\n<!DOCTYPE html><html>", "web page"),
            (b"<HTML lang=en>", "web page"),
            (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code>", "web page"),
            (b"", "empty file"),
            (&[0; 64], "zeros"),
            (safetensors, "safetensors checkpoint: convert it with ocelli-pack convert"),
            (b"PK\x03\x04\0\0", "PyTorch"),
            (b"GGUF\x03\0\0\0", "GGUF"),
            (b"\x08\x08\x12\x07pytorch", "ONNX"),
            (&MAGIC, "packed .ocelli model"),
        ];
        for (bytes, expected) in cases {
            let found = sniff(bytes).unwrap_or("nothing");
            assert!(found.contains(expected), "{expected}: {found}");
        }
        for bytes in
            [b"{\"model_type\": \"clip\"}".as_slice(), b"#version: 0.2\ni n\n", b"\x0a\x0e\x0a\x05<pad>"]
        {
            assert_eq!(sniff(bytes), None);
        }
    }
}
