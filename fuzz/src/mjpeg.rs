//! A stream of JPEG pictures with damage: the splitter of `ocelli watch`, however its bytes come.

use crate::input::Input;
use splitter::{Found, Splitter};

#[path = "../../cli/src/watch/splitter.rs"]
mod splitter;

/// Two sizes of pieces, then the stream.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let [first, second] = [(); 2].map(|()| 1 + usize::from(input.u16()));
    let pictures = split(input.0, first);
    assert_eq!(pictures, split(input.0, second), "in pieces of {first} and of {second}");
    // Nothing is found twice.
    assert!(pictures.iter().map(Vec::len).sum::<usize>() <= input.0.len());
    for picture in &pictures {
        assert!(picture.starts_with(&[0xff, 0xd8, 0xff]) && picture.ends_with(&[0xff, 0xd9]));
    }
}

/// The pictures in `stream` when it comes in pieces of `step` bytes.
fn split(stream: &[u8], step: usize) -> Vec<Vec<u8>> {
    let (mut splitter, mut pictures) = (Splitter::new(), Vec::new());
    let mut show = |found: Found<'_>| match found {
        Found::Picture(bytes) => pictures.push(bytes.clone()),
        Found::Damaged(why) => assert!(!why.is_empty()),
    };
    stream.chunks(step).for_each(|piece| splitter.feed(piece, &mut show));
    splitter.end(&mut show);
    pictures
}
