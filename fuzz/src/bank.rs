//! Label banks whose checksum was made right.

use bytemuck::Zeroable;
use ocelli::format::bank::BankHeader;
use ocelli::format::{AlignedBytes, Bank, ScoreConfig, Scoring};
use ocelli::score::{Scored, score};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Parses a bank and scores against it.
pub fn run(data: &[u8]) {
    let mut bytes = AlignedBytes::new(data);
    repair(&mut bytes);
    let Ok(bank) = Bank::parse(&bytes) else { return };
    let letters: usize =
        bank.labels().map(str::len).sum::<usize>() + bank.templates().map(str::len).sum::<usize>();
    assert!(letters <= data.len());
    let mut out = vec![Scored::default(); bank.len()];
    for kind in [Scoring::Softmax, Scoring::Sigmoid, Scoring::Embedding] {
        let config = ScoreConfig { kind: kind as u32, logit_scale: 100.0, ..ScoreConfig::zeroed() };
        let embedding = bank.prototypes(0).next().expect("a label has an embedding").embedding;
        score(&config, embedding, &bank, &mut out);
        assert!(out.iter().all(|scored| scored.score.is_finite() && scored.label < bank.len()));
    }
}

/// Makes the checksum right.
pub fn repair(bytes: &mut [u8]) {
    if let Some((start, rest)) = bytes.split_at_mut_checked(size_of::<BankHeader>()) {
        let before = size_of::<BankHeader>() - size_of::<u64>();
        let checksum = xxh3_64_with_seed(rest, xxh3_64(&start[..before]));
        start[before..].copy_from_slice(&checksum.to_le_bytes());
    }
}
