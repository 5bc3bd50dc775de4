//! Orientation: foreign metadata in a good picture of 2 × 1 pixels, in each container that has some.

use crate::input::Input;
use ocelli::preprocess::decode::{Options, decode};

/// Pictures without metadata: JPEG, PNG, WebP.
pub const PICTURES: [&[u8]; 3] = [
    include_bytes!("../pictures/plain.jpg"),
    include_bytes!("../pictures/plain.png"),
    include_bytes!("../pictures/plain.webp"),
];

/// One byte for container and place, then the metadata.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let place = input.u8();
    let image =
        decode(&picture(place, input.0), &Options::default()).expect("metadata cannot spoil a picture");
    let view = image.view();
    assert_eq!(view.width() * view.height(), 2);
}

/// The picture with this metadata.
pub fn picture(place: u8, metadata: &[u8]) -> Vec<u8> {
    match place % 6 {
        0 => jpeg(b"Exif\0\0", metadata),
        1 => jpeg(b"http://ns.adobe.com/xap/1.0/\0", metadata),
        2 => png(b"eXIf", metadata, 33),
        3 => png(b"eXIf", metadata, PICTURES[1].len() - 12),
        4 => webp(b"EXIF", 8, metadata),
        _ => webp(b"XMP ", 4, metadata),
    }
}

/// After the start marker comes an APP1 segment.
fn jpeg(kind: &[u8], metadata: &[u8]) -> Vec<u8> {
    let metadata = &metadata[..metadata.len().min(65_000)];
    let len = (2 + kind.len() + metadata.len()) as u16;
    let (start, rest) = PICTURES[0].split_at(2);
    [start, &[0xff, 0xe1], &len.to_be_bytes(), kind, metadata, rest].concat()
}

/// A chunk at byte `at` of the file.
fn png(kind: &[u8], metadata: &[u8], at: usize) -> Vec<u8> {
    let (start, rest) = PICTURES[1].split_at(at);
    let body = [kind, metadata].concat();
    let crc = body.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 })
    });
    [start, &(metadata.len() as u32).to_be_bytes(), &body, &(!crc).to_be_bytes(), rest].concat()
}

/// An extended file: VP8X with the flag of the chunk, the picture's chunk, the metadata.
fn webp(kind: &[u8; 4], flag: u8, metadata: &[u8]) -> Vec<u8> {
    let chunk = |kind: &[u8], body: &[u8]| {
        let padding: &[u8] = if body.len() % 2 == 1 { &[0] } else { &[] };
        [kind, &(body.len() as u32).to_le_bytes(), body, padding].concat()
    };
    // Canvas width and height, less one, in three bytes each.
    let extended = chunk(b"VP8X", &[flag, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
    chunk(b"RIFF", &[b"WEBP", &extended[..], &PICTURES[2][12..], &chunk(kind, metadata)].concat())
}
