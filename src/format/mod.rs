//! The packed file, `.ocelli`, version 1: everything that inference needs, in the layout that the kernels read, so that
//! opening a model copies and converts nothing. This page and the structs that it links are the whole specification.
//!
//! Everything is little-endian. The file starts with a [`Header`] of 320 bytes and continues with sections. Sections
//! start at multiples of 64 bytes and tile the file: each starts at the first such place after the one before (the
//! first at 320), only zeros lie between, and the file ends with its last section, which is DATA: all bytes before it
//! are metadata. Each kind occurs at most once, the others in any order; CONFIG, TENSORS, STRINGS, PROVENANCE and DATA
//! must be there; none is empty.
//!
//! | kind | section | contents |
//! |---|---|---|
//! | 1 | CONFIG | one [`Config`]: every fact about architecture, preprocessing and scoring |
//! | 2 | TENSORS | an array of [`TensorEntry`] |
//! | 3 | STRINGS | the tensors' names, UTF-8 |
//! | 4 | TOKENIZER | the text of a `tokenizer.json`; optional |
//! | 5 | PROVENANCE | JSON: source files with sizes and SHA-256, converter, precision, measurements; no reader depends on it |
//! | 6 | BANK | a default [label bank](bank) with the model's own checkpoint id; optional |
//! | 7 | DATA | the payloads of the tensors |
//! | 8 | LABELS | the names of the classifier's classes, UTF-8, one per line; exactly if there is a classifier |
//!
//! **Checksums** are xxh3-64. The header carries one over itself and one per section; DATA has 0 there, because every
//! tensor carries its own: opening a file must not read all of it.
//!
//! **Tensors.** TENSORS lists exactly the tensors that the configuration demands, in the order of [`schema`]. A tensor
//! has up to three parts, and all parts of all tensors tile DATA in that order, each at the next multiple of 64 bytes:
//!
//! | layout | elements | scales (int8 only) | sums (int8 only) |
//! |---|---|---|---|
//! | vector | `n` f32, padded with zeros to a multiple of 16 | | |
//! | table | `n` rows of `k` i8, f16 or f32 | `n` f32, one per row | |
//! | panels | `n` × `k` i8, f16 or f32 in the panels of [`ocelli_kernels::pack`] | f32 per channel, padded to 16 | i32 per channel, padded to 16 |
//!
//! An int8 weight is `code · scale`; codes lie in −magnitude..=magnitude with the magnitude that the entry declares (at
//! most 127; up to 64 lets AVX2 use its faster multiply). `sums` holds the sum of each channel's codes. A channel of
//! zeros has scale 0. All padding is zero.
//!
//! **Reading.** [`File::parse`] checks everything but the payloads of matrices and tables and is the only door from
//! bytes to typed views; it needs neither `std` nor an allocator, only that the bytes start at a multiple of 64.
//! [`File::parse_split`] takes metadata and DATA apart, so that an opener can copy the one and map the other.
//! [`File::verify`] checks the payloads too.
//!
//! **Growth.** Reserved fields are zero, and a reader refuses a file with one set, an unknown section, an unknown
//! [`feature`] bit or an unknown value of an enum, naming it. New families therefore take new bits, values and reserved
//! words without a new version; the version changes only when the meaning of existing bytes does.

mod aligned;
pub mod bank;
mod config;
mod cost;
pub mod feature;
mod file;
mod header;
mod merging;
pub mod parts;
pub mod schema;
mod size;
mod sniff;
#[macro_use]
mod stored;
mod tensor;
mod validate;
mod verify;

pub use aligned::Aligned;
#[cfg(feature = "std")]
pub use aligned::AlignedBytes;
pub use bank::Bank;
#[cfg(feature = "std")]
pub use bank::LabelBank;
pub use config::*;
pub use cost::{Cost, Limits};
#[cfg(feature = "std")]
pub(crate) use cost::{TEXT_ROWS, TEXTS_AT_ONCE};
pub use file::File;
pub use header::{
    ALIGN, ENDIAN, Header, MAGIC, MAX_METADATA, MAX_SECTIONS, SIGNED, SectionEntry, SectionKind, VERSION,
};
pub use merging::Merging;
pub use schema::{Kind, TensorSpec, for_each_tensor};
pub use sniff::{SNIFFED, sniff};
pub use stored::*;
pub use tensor::{Dtype, Layout, Placement, Table, Tensor, TensorEntry};
