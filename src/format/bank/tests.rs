//! Banks written, read, cut, flipped and lied about.

use super::*;
use crate::format::AlignedBytes;
use std::vec::Vec;

const ID: [u8; 16] = *b"a checkpoint's i";

fn sample() -> Vec<u8> {
    let embeddings = [0.6, 0.8, 1.0, 0.0, 0.0, -1.0];
    write(&["a cat", "naïve café", "🐱"], &["a photo of {}.", "{}"], 2, &embeddings, ID).unwrap()
}

#[test]
fn a_bank_comes_back_as_it_was_written() {
    let bytes = AlignedBytes::new(&sample());
    let bank = Bank::parse(&bytes).unwrap();
    assert_eq!((bank.len(), bank.dim(), bank.checkpoint_id()), (3, 2, ID));
    assert_eq!(bank.labels().collect::<Vec<_>>(), ["a cat", "naïve café", "🐱"]);
    assert_eq!(bank.templates().collect::<Vec<_>>(), ["a photo of {}.", "{}"]);
    assert_eq!((bank.label(2), bank.embedding(2)), ("🐱", &[0.0, -1.0][..]));
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
    let good = sample();
    for len in 0..good.len() {
        assert!(Bank::parse(&AlignedBytes::new(&good[..len])).is_err(), "cut to {len}");
    }
    for at in 0..good.len() * 8 {
        let mut bytes = AlignedBytes::new(&good);
        bytes[at / 8] ^= 1 << (at % 8);
        assert!(Bank::parse(&bytes).is_err(), "bit {at}");
    }
}

#[test]
fn damage_with_a_right_checksum_never_panics_and_lies_are_refused() {
    let good = sample();
    let (mut refused, size) = (0, size_of::<BankHeader>());
    for at in 0..size {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bytes = AlignedBytes::new(&good);
            bytes[at] = value;
            let mut header: BankHeader = bytemuck::pod_read_unaligned(&bytes[..size]);
            header.checksum = header.computed_checksum(&bytes[size..]);
            bytes[..size].copy_from_slice(bytemuck::bytes_of(&header));
            refused += usize::from(Bank::parse(&bytes).is_err());
        }
    }
    assert!(refused > 200, "only {refused} of {} changes were refused", size * 5);
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
}
