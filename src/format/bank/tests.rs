//! Banks written, read, cut, flipped and lied about.

use super::*;
use crate::format::AlignedBytes;
use std::vec;
use std::vec::Vec;

const ID: [u8; 16] = *b"a checkpoint's i";

fn sample() -> Vec<u8> {
    let embeddings = [0.6, 0.8, 1.0, 0.0, 0.0, -1.0];
    write(&["a cat", "naïve café", "🐱"], &["a photo of {}.", "{}"], 2, &embeddings, ID).unwrap()
}

/// Two labels, the first with two embeddings.
fn prototypes() -> Vec<u8> {
    let logits = [(10.0, 0.0), (20.0, -3.0), (10.0, 0.5)].map(|(scale, bias)| Logit { scale, bias });
    let embeddings = [0.6, 0.8, 1.0, 0.0, 0.0, -1.0];
    let none: [&str; 0] = [];
    write_prototypes(&["my cat", "the van"], &none, 2, &embeddings, (&[2, 1], &logits), ID).unwrap()
}

#[test]
fn labels_with_several_embeddings_come_back_as_they_were_written() {
    let bytes = AlignedBytes::new(&prototypes());
    let bank = Bank::parse(&bytes).unwrap();
    let of =
        |label| bank.prototypes(label).map(|p| (p.embedding, p.logit.unwrap().scale)).collect::<Vec<_>>();
    assert_eq!((bank.len(), bank.has_logits()), (2, true));
    assert_eq!(of(0), [(&[0.6, 0.8][..], 10.0), (&[1.0, 0.0], 20.0)]);
    assert_eq!(of(1), [(&[0.0, -1.0][..], 10.0)]);
    assert_eq!(bank.prototypes(0).nth(1).unwrap().logit.unwrap().bias, -3.0);
    assert_eq!(LabelBank::from(bank).as_bank().to_bytes(), prototypes());
}

#[test]
fn a_bank_comes_back_as_it_was_written() {
    let bytes = AlignedBytes::new(&sample());
    let bank = Bank::parse(&bytes).unwrap();
    assert_eq!((bank.len(), bank.dim(), bank.checkpoint_id()), (3, 2, ID));
    assert_eq!(bank.labels().collect::<Vec<_>>(), ["a cat", "naïve café", "🐱"]);
    assert_eq!(bank.templates().collect::<Vec<_>>(), ["a photo of {}.", "{}"]);
    let only = |label| bank.prototypes(label).map(|p| (p.embedding, p.logit)).collect::<Vec<_>>();
    assert_eq!((bank.label(2), only(2)), ("🐱", vec![(&[0.0, -1.0][..], None)]));
    assert!(!bank.has_logits());
    let mut config = Config::zeroed();
    (config.checkpoint_id, config.score.embed_dim) = (ID, 2);
    bank.check_fits(&config).unwrap();
    config.score.embed_dim = 3;
    assert!(matches!(bank.check_fits(&config), Err(Error::Format { expected: 3, found: 2, .. })));
    config.checkpoint_id[0] ^= 1;
    assert!(matches!(bank.check_fits(&config), Err(Error::BankOfAnotherModel { .. })));
}

#[test]
fn an_owned_bank_is_the_bank_and_is_not_read_again() {
    let bytes = sample();
    let owned = LabelBank::new(&bytes).unwrap();
    let (first, second) = (owned.as_bank(), owned.as_bank());
    assert_eq!(first.to_bytes(), bytes);
    assert_eq!(LabelBank::from(first).as_bank().to_bytes(), bytes);
    assert_eq!(first.embeddings().as_ptr(), second.embeddings().as_ptr());
    assert!(LabelBank::new(&bytes[1..]).is_err());
    assert!(LabelBank::open("no/such.bank").is_err());
}

#[test]
fn every_cut_and_every_flipped_bit_is_noticed() {
    for good in [sample(), prototypes()] {
        for len in 0..good.len() {
            assert!(Bank::parse(&AlignedBytes::new(&good[..len])).is_err(), "cut to {len}");
        }
        for at in 0..good.len() * 8 {
            let mut bytes = AlignedBytes::new(&good);
            bytes[at / 8] ^= 1 << (at % 8);
            assert!(Bank::parse(&bytes).is_err(), "bit {at}");
        }
    }
}

/// `good` with `value` at byte `at`, and a checksum that fits.
fn with_byte(good: &[u8], at: usize, value: u8) -> AlignedBytes {
    let (mut bytes, size) = (AlignedBytes::new(good), size_of::<BankHeader>());
    bytes[at] = value;
    let mut header: BankHeader = bytemuck::pod_read_unaligned(&bytes[..size]);
    header.checksum = header.computed_checksum(&bytes[size..]);
    bytes[..size].copy_from_slice(bytemuck::bytes_of(&header));
    bytes
}

#[test]
fn damage_with_a_right_checksum_never_panics_and_lies_are_refused() {
    for good in [sample(), prototypes()] {
        let (mut refused, size) = (0, size_of::<BankHeader>());
        for at in 0..good.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let bytes = with_byte(&good, at, value);
                match Bank::parse(&bytes) {
                    Ok(bank) => assert!((0..bank.len()).all(|label| bank.prototypes(label).len() > 0)),
                    Err(_) => refused += usize::from(at < size),
                }
            }
        }
        assert!(refused > 200, "only {refused} of {} changes of the header were refused", size * 5);
    }
}

#[test]
fn prototypes_that_lie_are_named() {
    let good = prototypes();
    // Header, three embeddings of two channels, three ends of labels; then the labels' first embeddings, 0, 2, 3.
    let first = size_of::<BankHeader>() + 3 * 8 + 3 * 4;
    let logits = first + 3 * 4;
    for (at, value, problem) in [
        (offset_of!(BankHeader, rows), 0, "bytes after"),
        (offset_of!(BankHeader, rows), 2, "label"),
        (offset_of!(BankHeader, rows), 4, "bank"),
        (offset_of!(BankHeader, rows) + 3, 0xff, "cut off"),
        (first, 1, "span the embeddings"),
        (first + 4, 0, "has no embedding"),
        (first + 4, 3, "has no embedding"),
        (first + 4, 9, "has no embedding"),
        (first + 8, 2, "span the embeddings"),
        // The last byte of a float holds its sign and most of its exponent: a negative scale, NaN or infinity.
        (logits + 3, 0xc1, "scale or bias"),
        (logits + 3, 0x7f, "scale or bias"),
        (logits + 7, 0x7f, "scale or bias"),
    ] {
        let bytes = with_byte(&good, at, value);
        let error = std::string::ToString::to_string(&Bank::parse(&bytes).unwrap_err());
        assert!(error.contains(problem), "byte {at} = {value}: {error}, not {problem}");
    }
}

#[test]
fn what_a_reader_would_refuse_is_not_written() {
    let none: [&str; 0] = [];
    assert!(write(&none, &none, 2, &[], ID).is_err());
    assert!(write(&["", "b"], &none, 1, &[1.0, 1.0], ID).is_err());
    assert!(write(&["a"], &none, 1, &[1.01], ID).is_err());
    assert!(write(&["a"], &none, 1, &[f32::NAN], ID).is_err());
    assert!(write(&["a"], &["{}\n{}"], 1, &[1.0], ID).is_err());
    assert!(write(&["a"], &none, 2, &[1.0], ID).is_err());
    let logit = Logit { scale: 1.0, bias: 0.0 };
    let several = |counts: &[u32], logits: &[Logit]| {
        write_prototypes(&["a", "b"], &none, 1, &[1.0, 1.0, -1.0], (counts, logits), ID)
    };
    assert!(several(&[1, 2], &[logit; 3]).is_ok());
    assert!(several(&[3, 0], &[logit; 3]).is_err());
    assert!(several(&[1, 1], &[logit; 3]).is_err());
    assert!(several(&[1], &[logit; 3]).is_err());
    assert!(several(&[1, 2], &[logit; 2]).is_err());
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY, 2.0 * MAX_LOGIT] {
        assert!(several(&[1, 2], &[logit, logit, Logit { scale, ..logit }]).is_err(), "{scale}");
    }
}
