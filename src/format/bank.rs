//! Label banks: embeddings of texts or of example pictures, made once, so that a board needs neither text tower nor
//! pictures.
//!
//! A bank is a file of its own (`.bank`) or the BANK section of a packed model. Little-endian, each part directly after
//! the one before:
//!
//! ```text
//! header      96 bytes, see `BankHeader`
//! embeddings  [rows][dim] f32, each row of length 1; rows = count unless the header says otherwise
//! index       [count + 1] u32: label i is bytes index[i]..index[i + 1] of the labels; starts at 0, ends at their length
//! first       [count + 1] u32, only if the header has rows: label i has the embeddings first[i]..first[i + 1], one or
//!             more; starts at 0, ends at rows
//! logits      [rows] pairs of f32, only if the header has rows: scale, above 0, and bias of each embedding
//! labels      UTF-8, none of them empty
//! templates   UTF-8, one per line: the prompts that the embeddings average over, `{}` standing for the label
//! ```
//!
//! Without rows in the header, cosines are scored as the model says. With them, a label's logit is the largest
//! `scale · cosine + bias` of its embeddings.
//!
//! The checksum is xxh3-64 of everything after the header, seeded with the xxh3-64 of the header up to the checksum.

#[cfg(feature = "std")]
mod owned;
#[cfg(feature = "std")]
mod write;

use super::config::Config;
use super::header::{ENDIAN, wrong};
use crate::{Error, Result};
use bytemuck::{Pod, Zeroable};
use core::mem::offset_of;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

#[cfg(feature = "std")]
pub use owned::LabelBank;
#[cfg(feature = "std")]
pub use write::{write, write_prototypes};

/// First bytes of a bank.
pub const MAGIC: [u8; 8] = *b"\x8AOCBANK\n";
/// The version that this reader reads.
pub const VERSION: u32 = 1;
/// How far the length of an embedding may be from 1.
pub const NORM_TOLERANCE: f32 = 1e-3;
/// Largest magnitude of a [`Logit`]'s scale and bias.
pub const MAX_LOGIT: f32 = 1e6;

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
    /// Embeddings, where labels may have several and each has a [`Logit`]; 0 where every label has one and none has.
    pub rows: u32,
    /// Zero, for later versions.
    pub reserved: [u32; 8],
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

/// What a cosine counts in a label's score: `scale · cosine + bias`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Logit {
    /// Above 0, at most [`MAX_LOGIT`].
    pub scale: f32,
    /// At most [`MAX_LOGIT`] in magnitude.
    pub bias: f32,
}

/// One of a label's embeddings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prototype<'a> {
    /// Of length 1.
    pub embedding: &'a [f32],
    /// What its cosines count; `None` where that is as the model says.
    pub logit: Option<Logit>,
}

/// A label bank in memory, checked.
#[derive(Clone, Copy, Debug)]
pub struct Bank<'a> {
    embeddings: &'a [f32],
    index: &'a [u32],
    /// Empty where every label has one embedding and the model says how it is scored.
    first: &'a [u32],
    /// One per embedding, or empty as `first`.
    logits: &'a [Logit],
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
        let (rows, firsts) = match header.rows as usize {
            0 => (count, Some(0)),
            rows => (rows, count.checked_add(1)),
        };
        let embeddings: &[f32] = cut(&mut rest, rows.checked_mul(dim)).ok_or_else(cut_off)?;
        let index: &[u32] = cut(&mut rest, count.checked_add(1)).ok_or_else(cut_off)?;
        let first: &[u32] = cut(&mut rest, firsts).ok_or_else(cut_off)?;
        let logits: &[Logit] = cut(&mut rest, Some(header.rows as usize)).ok_or_else(cut_off)?;
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
            first,
            logits,
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
                let problem = "an embedding is not of length 1; its number is the value found";
                return Err(wrong(problem, 0, 0, i as u64));
            }
        }
        self.check_prototypes()
    }

    /// Every label must have embeddings, and every logit must be a number that scores can be made of.
    fn check_prototypes(&self) -> Result<()> {
        if let (Some(&start), Some(&end)) = (self.first.first(), self.first.last())
            && (start != 0 || end as usize != self.logits.len())
        {
            let expected = self.logits.len() as u64;
            return Err(wrong("the labels do not span the embeddings", 0, expected, end.into()));
        }
        if let Some(i) = self.first.windows(2).position(|ends| ends[0] >= ends[1]) {
            return Err(wrong("a label has no embedding; its number is the value found", 0, 0, i as u64));
        }
        // False for NaN, too.
        let usable = |logit: &Logit| {
            logit.scale > 0.0
                && logit.scale <= MAX_LOGIT
                && logit.bias >= -MAX_LOGIT
                && logit.bias <= MAX_LOGIT
        };
        match self.logits.iter().position(|logit| !usable(logit)) {
            Some(i) => Err(wrong(
                "an embedding's scale or bias is unusable; its number is the value found",
                0,
                0,
                i as u64,
            )),
            None => Ok(()),
        }
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

    /// The embeddings of label `i`, one or more.
    ///
    /// # Panics
    /// If `i` is not below [`Bank::len`].
    pub fn prototypes(&self, i: usize) -> impl ExactSizeIterator<Item = Prototype<'a>> + use<'a> {
        let Bank { embeddings, logits, dim, .. } = *self;
        let rows = match self.first {
            [] => i..i + 1,
            first => first[i] as usize..first[i + 1] as usize,
        };
        rows.map(move |row| Prototype {
            embedding: &embeddings[row * dim..(row + 1) * dim],
            logit: logits.get(row).copied(),
        })
    }

    /// Whether the bank itself says what cosines count, as one made with example pictures does.
    pub fn has_logits(&self) -> bool {
        !self.logits.is_empty()
    }

    /// All embeddings, [embeddings, channels], in the order of the labels.
    pub fn embeddings(&self) -> &'a [f32] {
        self.embeddings
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

#[cfg(all(test, feature = "std"))]
mod tests;
