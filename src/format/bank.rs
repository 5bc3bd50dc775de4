//! Label banks: embeddings of texts made once, so that a board never needs the text tower.
//!
//! A bank is a file of its own (`.bank`) or the BANK section of a packed model. Little-endian, each part directly after
//! the one before:
//!
//! ```text
//! header      96 bytes, see `BankHeader`
//! embeddings  [count][dim] f32, each row of length 1
//! index       [count + 1] u32: label i is bytes index[i]..index[i + 1] of the labels; starts at 0, ends at their length
//! labels      UTF-8, none of them empty
//! templates   UTF-8, one per line: the prompts that the embeddings average over, `{}` standing for the label
//! ```
//!
//! The checksum is xxh3-64 of everything after the header, seeded with the xxh3-64 of the header up to the checksum.

#[cfg(feature = "std")]
mod owned;

use super::config::Config;
use super::header::{ENDIAN, wrong};
use crate::{Error, Result};
use bytemuck::{Pod, Zeroable};
use core::mem::offset_of;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

#[cfg(feature = "std")]
pub use owned::LabelBank;

/// First bytes of a bank.
pub const MAGIC: [u8; 8] = *b"\x8AOCBANK\n";
/// The version that this reader reads.
pub const VERSION: u32 = 1;
/// How far the length of an embedding may be from 1.
pub const NORM_TOLERANCE: f32 = 1e-3;

/// The first 96 bytes of a bank.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BankHeader {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`VERSION`].
    pub version: u32,
    /// As in a packed file's header.
    pub endian: u32,
    /// Size of this struct.
    pub header_len: u32,
    /// Labels.
    pub count: u32,
    /// Length of an embedding.
    pub dim: u32,
    /// Bytes of all labels.
    pub labels_len: u32,
    /// Bytes of the templates.
    pub templates_len: u32,
    /// Zero, for later versions.
    pub reserved: [u32; 9],
    /// [`Config::checkpoint_id`] of the model that made the embeddings.
    pub checkpoint_id: [u8; 16],
    /// See the module.
    pub checksum: u64,
}

const _: () = assert!(size_of::<BankHeader>() == 96);

impl BankHeader {
    fn computed_checksum(&self, rest: &[u8]) -> u64 {
        let seed = xxh3_64(&bytemuck::bytes_of(self)[..offset_of!(BankHeader, checksum)]);
        xxh3_64_with_seed(rest, seed)
    }
}

/// A label bank in memory, checked.
#[derive(Clone, Copy, Debug)]
pub struct Bank<'a> {
    embeddings: &'a [f32],
    index: &'a [u32],
    labels: &'a str,
    templates: &'a str,
    dim: usize,
    checkpoint_id: [u8; 16],
}

/// Cuts `count` elements of four bytes off `rest`.
fn cut<'a, T: Pod>(rest: &mut &'a [u8], count: Option<usize>) -> Option<&'a [T]> {
    let (part, after) = rest.split_at_checked(count?.checked_mul(size_of::<T>())?)?;
    *rest = after;
    bytemuck::try_cast_slice(part).ok()
}

impl<'a> Bank<'a> {
    /// Checks `bytes`, which must start at a multiple of 4, and returns views of them.
    ///
    /// # Errors
    /// What is wrong and where.
    pub fn parse(bytes: &'a [u8]) -> Result<Bank<'a>> {
        let misaligned = bytes.as_ptr().addr() % align_of::<f32>();
        if misaligned != 0 {
            return Err(wrong("the bank does not start at a multiple of 4 bytes", 0, 0, misaligned as u64));
        }
        let magic = bytes.first_chunk::<8>();
        if magic.is_some_and(|magic| *magic != MAGIC) {
            let (expected, found) = (u64::from_be_bytes(MAGIC), magic.map_or(0, |m| u64::from_be_bytes(*m)));
            return Err(wrong("not a label bank: wrong first eight bytes", 0, expected, found));
        }
        let Some((start, mut rest)) = bytes.split_at_checked(size_of::<BankHeader>()) else {
            let size = size_of::<BankHeader>() as u64;
            return Err(wrong("label bank cut off inside its header", 0, size, bytes.len() as u64));
        };
        let header: BankHeader = bytemuck::pod_read_unaligned(start);
        let len = size_of::<BankHeader>() as u64;
        for (problem, offset, expected, found) in [
            (
                "label bank in the wrong byte order",
                offset_of!(BankHeader, endian),
                ENDIAN.into(),
                header.endian.into(),
            ),
            (
                "label bank of another version",
                offset_of!(BankHeader, version),
                VERSION.into(),
                header.version.into(),
            ),
            (
                "wrong size of the bank's header",
                offset_of!(BankHeader, header_len),
                len,
                header.header_len.into(),
            ),
            (
                "the label bank is damaged",
                offset_of!(BankHeader, checksum),
                header.computed_checksum(rest),
                header.checksum,
            ),
        ] {
            if expected != found {
                return Err(wrong(problem, offset as u64, expected, found));
            }
        }
        if let Some(&set) = header.reserved.iter().find(|&&word| word != 0) {
            let at = offset_of!(BankHeader, reserved) as u64;
            return Err(wrong("a reserved field of the bank is set", at, 0, set.into()));
        }
        let (count, dim) = (header.count as usize, header.dim as usize);
        if count == 0 || dim == 0 {
            let at = offset_of!(BankHeader, count) as u64;
            return Err(wrong("a label bank without labels or channels", at, 1, 0));
        }
        let cut_off = || wrong("label bank cut off", len, 0, bytes.len() as u64);
        let embeddings: &[f32] = cut(&mut rest, count.checked_mul(dim)).ok_or_else(cut_off)?;
        let index: &[u32] = cut(&mut rest, count.checked_add(1)).ok_or_else(cut_off)?;
        let labels: &[u8] = cut(&mut rest, Some(header.labels_len as usize)).ok_or_else(cut_off)?;
        let templates: &[u8] = cut(&mut rest, Some(header.templates_len as usize)).ok_or_else(cut_off)?;
        if !rest.is_empty() {
            let end = bytes.len() - rest.len();
            return Err(wrong("bytes after the label bank", end as u64, end as u64, bytes.len() as u64));
        }
        let text = |part: &'a [u8]| {
            let at = |e: core::str::Utf8Error| part.as_ptr().addr() - bytes.as_ptr().addr() + e.valid_up_to();
            core::str::from_utf8(part)
                .map_err(|e| wrong("text in the label bank is not UTF-8", at(e) as u64, 0, 1))
        };
        let bank = Bank {
            embeddings,
            index,
            labels: text(labels)?,
            templates: text(templates)?,
            dim,
            checkpoint_id: header.checkpoint_id,
        };
        bank.check()?;
        Ok(bank)
    }

    fn check(&self) -> Result<()> {
        let (first, last) = (self.index[0] as usize, self.index[self.len()] as usize);
        if first != 0 || last != self.labels.len() {
            let expected = self.labels.len() as u64;
            return Err(wrong("the index of the labels does not span them", 0, expected, last as u64));
        }
        for (i, ends) in self.index.windows(2).enumerate() {
            let label = self.labels.get(ends[0] as usize..ends[1] as usize);
            if label.is_none_or(str::is_empty) {
                return Err(wrong(
                    "a label is empty or cut wrongly; its number is the value found",
                    0,
                    0,
                    i as u64,
                ));
            }
        }
        for (i, row) in self.embeddings.chunks_exact(self.dim).enumerate() {
            if !is_normalised(row) {
                let problem = "an embedding is not of length 1; its label's number is the value found";
                return Err(wrong(problem, 0, 0, i as u64));
            }
        }
        Ok(())
    }

    /// Whether the bank can be used with the model of this configuration.
    ///
    /// # Errors
    /// [`Error::BankOfAnotherModel`], or that the length of the embeddings differs.
    pub fn check_fits(&self, config: &Config) -> Result<()> {
        if self.checkpoint_id != config.checkpoint_id {
            let short = |id: &[u8; 16]| id.first_chunk().map_or(0, |start| u64::from_be_bytes(*start));
            let (expected, found) = (short(&config.checkpoint_id), short(&self.checkpoint_id));
            return Err(Error::BankOfAnotherModel { expected, found });
        }
        let (expected, found) = (u64::from(config.score.embed_dim), self.dim as u64);
        if expected != found {
            let at = offset_of!(BankHeader, dim) as u64;
            return Err(wrong("embeddings of another length than the model's", at, expected, found));
        }
        Ok(())
    }

    /// Labels.
    pub fn len(&self) -> usize {
        self.index.len() - 1
    }

    /// Whether there is no label: never, as parsing refuses such banks.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Length of an embedding.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The checkpoint that made the embeddings.
    pub fn checkpoint_id(&self) -> [u8; 16] {
        self.checkpoint_id
    }

    /// All labels.
    pub fn labels(&self) -> impl ExactSizeIterator<Item = &'a str> + use<'a> {
        let labels = self.labels;
        self.index.windows(2).map(move |ends| &labels[ends[0] as usize..ends[1] as usize])
    }

    /// Label `i`.
    ///
    /// # Panics
    /// If `i` is not below [`Bank::len`].
    pub fn label(&self, i: usize) -> &'a str {
        &self.labels[self.index[i] as usize..self.index[i + 1] as usize]
    }

    /// The embedding of label `i`, of length 1.
    ///
    /// # Panics
    /// If `i` is not below [`Bank::len`].
    pub fn embedding(&self, i: usize) -> &'a [f32] {
        &self.embeddings[i * self.dim..(i + 1) * self.dim]
    }

    /// All embeddings, [labels, channels].
    pub fn embeddings(&self) -> &'a [f32] {
        self.embeddings
    }

    /// The bytes from which this bank was read.
    #[cfg(feature = "std")]
    pub fn to_bytes(&self) -> std::vec::Vec<u8> {
        let mut header = BankHeader {
            magic: MAGIC,
            version: VERSION,
            endian: ENDIAN,
            header_len: size_of::<BankHeader>() as u32,
            count: self.len() as u32,
            dim: self.dim as u32,
            labels_len: self.labels.len() as u32,
            templates_len: self.templates.len() as u32,
            reserved: [0; 9],
            checkpoint_id: self.checkpoint_id,
            checksum: 0,
        };
        let mut bytes = std::vec::Vec::from(bytemuck::bytes_of(&header));
        bytes.extend_from_slice(bytemuck::cast_slice(self.embeddings));
        bytes.extend_from_slice(bytemuck::cast_slice(self.index));
        bytes.extend_from_slice(self.labels.as_bytes());
        bytes.extend_from_slice(self.templates.as_bytes());
        header.checksum = header.computed_checksum(&bytes[size_of::<BankHeader>()..]);
        bytes[..size_of::<BankHeader>()].copy_from_slice(bytemuck::bytes_of(&header));
        bytes
    }

    /// The prompts that the embeddings average over.
    pub fn templates(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.templates.lines()
    }
}

/// Whether the length is 1 within [`NORM_TOLERANCE`]; false for NaN.
fn is_normalised(row: &[f32]) -> bool {
    let square: f32 = row.iter().map(|x| x * x).sum();
    // |r² − 1| ≤ 2t is |r − 1| ≤ t up to t², without a square root, which `core` lacks.
    (square - 1.0).abs() <= 2.0 * NORM_TOLERANCE
}

/// The bytes of a bank with these labels; `templates` are prompts with `{}` for the label, `embeddings` is
/// [labels, `dim`], and `checkpoint_id` is that of the model's [`Config`].
///
/// # Errors
/// If a reader would refuse the bank: no labels, an empty label, a template with a line break, embeddings of a wrong
/// number or not of length 1.
#[cfg(feature = "std")]
pub fn write<L: AsRef<str>, T: AsRef<str>>(
    labels: &[L],
    templates: &[T],
    dim: usize,
    embeddings: &[f32],
    checkpoint_id: [u8; 16],
) -> Result<std::vec::Vec<u8>> {
    use std::string::String;
    use std::vec::Vec;

    let refuse = |problem: &str| Error::Labels { problem: String::from(problem) };
    let small = |value: usize| u32::try_from(value).map_err(|_| refuse("a label bank of over 4 GiB"));
    if embeddings.len() != labels.len() * dim {
        return Err(wrong(
            "wrong number of embedding values",
            0,
            (labels.len() * dim) as u64,
            embeddings.len() as u64,
        ));
    }
    if templates.iter().any(|template| template.as_ref().contains(['\n', '\r'])) {
        return Err(refuse("a prompt template contains a line break"));
    }
    let (mut index, mut text) = (Vec::from([0u32]), String::new());
    for label in labels {
        text.push_str(label.as_ref());
        index.push(small(text.len())?);
    }
    let templates = templates.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join("\n");
    for len in [labels.len(), dim, templates.len()] {
        small(len)?;
    }
    let bank = Bank { embeddings, index: &index, labels: &text, templates: &templates, dim, checkpoint_id };
    let bytes = bank.to_bytes();
    Bank::parse(&super::AlignedBytes::new(&bytes))?;
    Ok(bytes)
}

#[cfg(all(test, feature = "std"))]
mod tests;
