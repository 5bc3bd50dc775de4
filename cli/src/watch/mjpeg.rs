//! A stream of JPEG pictures, read into the mailbox.

use super::mailbox::Mailbox;
use super::splitter::{Found, Splitter};
use super::stream::{Input, read_some};
use ocelli::Result;
use std::cell::Cell;

/// So many bytes are read at a time.
const CHUNK: usize = 64 << 10;

/// Reads pictures until the stream ends or nobody looks any more. Memory grows to that of the largest picture.
///
/// # Errors
/// The system's.
pub(super) fn read_mjpeg(input: &mut dyn Input, mailbox: &Mailbox) -> Result<()> {
    let (mut splitter, mut chunk) = (Splitter::new(), vec![0; CHUNK]);
    let open = Cell::new(true);
    let mut show = |found: Found<'_>| match found {
        Found::Damaged(why) => mailbox.damaged(format_args!("{why}: it is left out")),
        Found::Picture(bytes) => match mailbox.blank() {
            Some(mut frame) => {
                std::mem::swap(bytes, &mut frame.bytes);
                mailbox.post(frame);
            }
            None => open.set(false),
        },
    };
    while open.get() {
        let some = read_some(input, &mut chunk)?;
        splitter.feed(&chunk[..some], &mut show);
        if some > 0 {
            continue;
        }
        splitter.end(&mut show);
        if !input.again() {
            break;
        }
        mailbox.note(format_args!("the writer has closed the pipe; waiting for the next one"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A JPEG of `width` x 8 pixels; the width tells it from others.
    fn jpeg(width: usize) -> Vec<u8> {
        use libjpeg_turbo_rs::{PixelFormat, Subsampling, compress};
        let pixels: Vec<u8> = (0..width * 8 * 3).map(|i| (i * 7919 % 251) as u8).collect();
        compress(&pixels, width, 8, PixelFormat::Rgb, 90, Subsampling::S444).unwrap()
    }

    /// What is found in `data` when it comes in pieces of `step` bytes.
    fn split(data: &[u8], step: usize) -> (Vec<Vec<u8>>, usize) {
        let (mut splitter, mut pictures, mut damaged) = (Splitter::new(), Vec::new(), 0);
        let mut show = |found: Found<'_>| match found {
            Found::Picture(bytes) => pictures.push(bytes.clone()),
            Found::Damaged(_) => damaged += 1,
        };
        data.chunks(step).for_each(|data| splitter.feed(data, &mut show));
        splitter.end(&mut show);
        (pictures, damaged)
    }

    #[test]
    fn pictures_are_found_whatever_is_between_them_and_however_they_come() {
        let pictures: Vec<Vec<u8>> = (1..20).map(|i| jpeg(i * 5)).collect();
        let mut stream = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        for picture in &pictures {
            stream.extend_from_slice(b"\r\n--frame\r\nContent-Type: image/jpeg\r\n\xff\xff\xd8\r\n");
            stream.extend_from_slice(picture);
        }
        for step in [1, 2, 3, 7, 100, 4096, stream.len()] {
            let (found, damaged) = split(&stream, step);
            assert_eq!((found == pictures, damaged), (true, 0), "in pieces of {step}");
        }
    }

    #[test]
    fn a_thumbnail_is_no_picture_of_its_own() {
        let (whole, small) = (jpeg(64), jpeg(8));
        let mut with = whole[..2].to_vec();
        with.extend([0xff, 0xe1]);
        with.extend((small.len() as u16 + 2).to_be_bytes());
        with.extend(&small);
        with.extend(&whole[2..]);
        assert_eq!(split(&with, 9), (vec![with.clone()], 0));
    }

    /// Cut anywhere: the pictures before and after are found, and the one that was cut is said to be.
    #[test]
    fn a_cut_costs_the_picture_that_was_cut_and_no_other() {
        let [first, torn, last] = [24, 40, 56].map(jpeg);
        for cut in 3..torn.len() - 1 {
            let stream = [&first[..], &torn[..cut], &last[..], &first[..]].concat();
            let (found, damaged) = split(&stream, 1 + cut % 300);
            assert_eq!(found.first(), Some(&first), "cut at {cut}");
            assert_eq!(found.last(), Some(&first), "cut at {cut}");
            // Where the last two bytes of a segment are missing, the next one's first two are taken for them.
            let whole = found.iter().any(|picture| picture.ends_with(&last[2..]));
            assert!(whole, "cut at {cut}: the next one is lost");
            assert!(damaged >= 1 || found.iter().any(|picture| picture.len() > last.len()), "cut at {cut}");
        }
        assert_eq!(split(&torn[..torn.len() - 2], 64), (vec![], 1));
    }

    #[test]
    fn bytes_that_mean_nothing_are_passed_over() {
        let noise: Vec<u8> = (0..200_000u32).map(|i| (i.wrapping_mul(0x9e37_79b1) >> 23) as u8).collect();
        let good = jpeg(32);
        let (found, _) = split(&[&noise[..], &good[..]].concat(), 1000);
        assert!(found.len() < 3, "{}", found.len());
        // All starts, no picture: linear work, no picture.
        let starts = [0xff, 0xd8].repeat(500_000);
        assert!(split(&starts, 5000).0.is_empty());
        let segments = [0xff, 0xd8, 0xff, 0xe0, 0xff, 0xff].repeat(200_000);
        assert!(split(&segments, 5000).0.is_empty());
    }
}
