//! Banks to bytes.

use super::{Bank, BankHeader, Logit, MAGIC, VERSION};
use crate::format::AlignedBytes;
use crate::format::header::{ENDIAN, wrong};
use crate::{Error, Result};
use std::string::String;
use std::vec::Vec;

impl Bank<'_> {
    /// The bytes from which this bank was read.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut header = BankHeader {
            magic: MAGIC,
            version: VERSION,
            endian: ENDIAN,
            header_len: size_of::<BankHeader>() as u32,
            count: self.len() as u32,
            dim: self.dim as u32,
            labels_len: self.labels.len() as u32,
            templates_len: self.templates.len() as u32,
            rows: self.logits.len() as u32,
            reserved: [0; 8],
            checkpoint_id: self.checkpoint_id,
            checksum: 0,
        };
        let mut bytes = Vec::from(bytemuck::bytes_of(&header));
        bytes.extend_from_slice(bytemuck::cast_slice(self.embeddings));
        bytes.extend_from_slice(bytemuck::cast_slice(self.index));
        bytes.extend_from_slice(bytemuck::cast_slice(self.first));
        bytes.extend_from_slice(bytemuck::cast_slice(self.logits));
        bytes.extend_from_slice(self.labels.as_bytes());
        bytes.extend_from_slice(self.templates.as_bytes());
        header.checksum = header.computed_checksum(&bytes[size_of::<BankHeader>()..]);
        bytes[..size_of::<BankHeader>()].copy_from_slice(bytemuck::bytes_of(&header));
        bytes
    }
}

/// The bytes of a bank with these labels; `templates` are prompts with `{}` for the label, `embeddings` is
/// [labels, `dim`], and `checkpoint_id` is that of the model's [`Config`](crate::format::Config).
///
/// # Errors
/// If a reader would refuse the bank: no labels, an empty label, a template with a line break, embeddings of a wrong
/// number or not of length 1.
pub fn write<L: AsRef<str>, T: AsRef<str>>(
    labels: &[L],
    templates: &[T],
    dim: usize,
    embeddings: &[f32],
    checkpoint_id: [u8; 16],
) -> Result<Vec<u8>> {
    let expected = labels.len() * dim;
    if embeddings.len() != expected {
        let found = embeddings.len() as u64;
        return Err(wrong("wrong number of embedding values", 0, expected as u64, found));
    }
    bytes_of(labels, templates, Bank { embeddings, dim, checkpoint_id, ..EMPTY })
}

/// The bytes of a bank whose labels have several embeddings: label i has `counts[i]`, one or more, and `embeddings` is
/// [sum of `counts`, `dim`] with a member of `logits` for each. All else as for [`write()`].
///
/// # Errors
/// As [`write()`]; or a scale or bias is not finite, too large, or the scale not above 0.
pub fn write_prototypes<L: AsRef<str>, T: AsRef<str>>(
    labels: &[L],
    templates: &[T],
    dim: usize,
    embeddings: &[f32],
    (counts, logits): (&[u32], &[Logit]),
    checkpoint_id: [u8; 16],
) -> Result<Vec<u8>> {
    let (mut first, mut rows) = (Vec::from([0u32]), 0u64);
    for &count in counts {
        rows += u64::from(count);
        first.push(small(rows as usize)?);
    }
    for (expected, found, problem) in [
        (labels.len() as u64, counts.len(), "wrong number of counts of embeddings"),
        (rows, logits.len(), "wrong number of scales and biases"),
        (rows * dim as u64, embeddings.len(), "wrong number of embedding values"),
    ] {
        if expected != found as u64 {
            return Err(wrong(problem, 0, expected, found as u64));
        }
    }
    bytes_of(labels, templates, Bank { embeddings, first: &first, logits, dim, checkpoint_id, ..EMPTY })
}

const EMPTY: Bank<'_> = Bank {
    embeddings: &[],
    index: &[],
    first: &[],
    logits: &[],
    labels: "",
    templates: "",
    dim: 0,
    checkpoint_id: [0; 16],
};

/// The bytes of `bank` with its texts, if a reader accepts them.
fn bytes_of<L: AsRef<str>, T: AsRef<str>>(labels: &[L], templates: &[T], bank: Bank<'_>) -> Result<Vec<u8>> {
    if templates.iter().any(|template| template.as_ref().contains(['\n', '\r'])) {
        return Err(Error::Labels { problem: "a prompt template contains a line break".into() });
    }
    let (mut index, mut text) = (Vec::from([0u32]), String::new());
    for label in labels {
        text.push_str(label.as_ref());
        index.push(small(text.len())?);
    }
    let templates = templates.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join("\n");
    for len in [labels.len(), bank.dim, templates.len()] {
        small(len)?;
    }
    let bytes = Bank { index: &index, labels: &text, templates: &templates, ..bank }.to_bytes();
    Bank::parse(&AlignedBytes::new(&bytes))?;
    Ok(bytes)
}

/// A number that the format has 32 bits for.
fn small(value: usize) -> Result<u32> {
    u32::try_from(value).map_err(|_| Error::Labels { problem: "a label bank of over 4 GiB".into() })
}
