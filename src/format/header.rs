//! The fixed start of a packed file: what it is, and where its sections lie.

use crate::{Error, Name, Result};
use bytemuck::{Pod, Zeroable};
use core::mem::{offset_of, size_of};
use core::ops::Range;
use ocelli_kernels::pack::{K_ALIGN, K_GROUP, NR};
use xxhash_rust::xxh3::xxh3_64;

/// First bytes of every packed file: not ASCII, so that no text is taken for one, and with a line end, so that a
/// transfer in text mode, which rewrites line ends, is noticed.
pub const MAGIC: [u8; 8] = *b"\x8AOCELLI\n";
/// The version that this reader reads.
pub const VERSION: u32 = 1;
/// Read as a `u32` on a little-endian machine.
pub const ENDIAN: u32 = 0x0102_0304;
/// Sections and tensor payloads start at multiples of this, counted from the start of the file.
pub const ALIGN: usize = 64;
/// Entries in the section table.
pub const MAX_SECTIONS: usize = 8;
/// Most bytes before DATA: what an opener copies into memory.
pub const MAX_METADATA: u64 = 1 << 30;
/// [`Header::signedness`]: int8 codes are signed.
pub const SIGNED: u32 = 1;

/// What a section holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum SectionKind {
    /// One [`Config`](super::Config).
    Config = 1,
    /// An array of [`TensorEntry`](super::TensorEntry).
    Tensors = 2,
    /// Names of tensors, UTF-8.
    Strings = 3,
    /// The text of a `tokenizer.json`.
    Tokenizer = 4,
    /// JSON for people and tools: where the file came from and what was measured on it.
    Provenance = 5,
    /// A [label bank](super::bank).
    Bank = 6,
    /// The tensors' payloads.
    Data = 7,
    /// Names of the classifier's classes, UTF-8, one per line.
    Labels = 8,
}

impl SectionKind {
    /// Every kind.
    pub const ALL: [SectionKind; 8] = [
        SectionKind::Config,
        SectionKind::Tensors,
        SectionKind::Strings,
        SectionKind::Tokenizer,
        SectionKind::Provenance,
        SectionKind::Bank,
        SectionKind::Labels,
        SectionKind::Data,
    ];

    /// The kind stored as `value`.
    pub fn from_stored(value: u32) -> Option<SectionKind> {
        SectionKind::ALL.into_iter().find(|&kind| kind as u32 == value)
    }

    /// Its name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            SectionKind::Config => "CONFIG",
            SectionKind::Tensors => "TENSORS",
            SectionKind::Strings => "STRINGS",
            SectionKind::Tokenizer => "TOKENIZER",
            SectionKind::Provenance => "PROVENANCE",
            SectionKind::Bank => "BANK",
            SectionKind::Data => "DATA",
            SectionKind::Labels => "LABELS",
        }
    }
}

/// Where a section lies. Unused entries at the end of the table are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct SectionEntry {
    /// A [`SectionKind`].
    pub kind: u32,
    /// Zero.
    pub reserved: u32,
    /// First byte, from the start of the file; a multiple of [`ALIGN`].
    pub offset: u64,
    /// Bytes.
    pub len: u64,
    /// xxh3-64 of the bytes; 0 for DATA, whose tensors carry their own.
    pub checksum: u64,
}

/// The first 320 bytes.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`VERSION`].
    pub version: u32,
    /// [`ENDIAN`].
    pub endian: u32,
    /// Size of this struct.
    pub header_len: u32,
    /// Entries of `table` in use.
    pub sections: u32,
    /// Length of the file: the end of its last section.
    pub file_len: u64,
    /// Channels of a panel ([`NR`]).
    pub nr: u32,
    /// Consecutive inputs in an int8 panel ([`K_GROUP`]).
    pub k_group: u32,
    /// Padding of the inputs ([`K_ALIGN`]).
    pub k_align: u32,
    /// [`SIGNED`].
    pub signedness: u32,
    /// Zero.
    pub reserved: u64,
    /// The sections in the order of the file.
    pub table: [SectionEntry; MAX_SECTIONS],
    /// xxh3-64 of all bytes before this field.
    pub checksum: u64,
}

const _: () = assert!(size_of::<Header>() == 5 * ALIGN);
const _: () = assert!(size_of::<SectionEntry>() == 32);

impl Header {
    /// A header with these sections; `file_len` is the end of the last.
    ///
    /// # Panics
    /// With more than [`MAX_SECTIONS`] sections.
    pub fn new(sections: &[SectionEntry]) -> Header {
        let mut table = [SectionEntry::zeroed(); MAX_SECTIONS];
        table[..sections.len()].copy_from_slice(sections);
        let mut header = Header {
            magic: MAGIC,
            version: VERSION,
            endian: ENDIAN,
            header_len: size_of::<Header>() as u32,
            sections: sections.len() as u32,
            file_len: sections.last().map_or(size_of::<Header>() as u64, |last| last.offset + last.len),
            nr: NR as u32,
            k_group: K_GROUP as u32,
            k_align: K_ALIGN as u32,
            signedness: SIGNED,
            reserved: 0,
            table,
            checksum: 0,
        };
        header.checksum = header.computed_checksum();
        header
    }

    /// The checksum that belongs to the other fields.
    pub fn computed_checksum(&self) -> u64 {
        xxh3_64(&bytemuck::bytes_of(self)[..offset_of!(Header, checksum)])
    }

    /// Where DATA lies in a file of `file_len` bytes that begins with `start`: at least the header's 320 bytes, or all
    /// bytes of a shorter file. Checks every field of the header and its section table, and reads nothing else.
    ///
    /// All bytes before DATA are metadata: an opener reads so many into memory of its own and leaves DATA where it is,
    /// see [`File::parse_split`](super::File::parse_split).
    ///
    /// # Errors
    /// Not a packed file, of another version, cut off, or with a table that does not fit the file.
    pub fn data_range(start: &[u8], file_len: u64) -> Result<Range<u64>> {
        let magic = start.first_chunk::<8>();
        if magic.is_none_or(|magic| *magic != MAGIC)
            && let Some(kind) = super::sniff(start)
        {
            return Err(Error::NotAModel { kind });
        }
        if magic.is_some_and(|magic| *magic != MAGIC) {
            let (expected, found) = (u64::from_be_bytes(MAGIC), magic.map_or(0, |m| u64::from_be_bytes(*m)));
            return Err(wrong("not a packed model: wrong first eight bytes", 0, expected, found));
        }
        let Some(start) = start.get(..size_of::<Header>()) else {
            return Err(wrong(
                "cut off inside the header",
                0,
                size_of::<Header>() as u64,
                start.len() as u64,
            ));
        };
        let header: Header = bytemuck::pod_read_unaligned(start);
        header.check(file_len)?;
        header.check_table()?;
        header.data()
    }

    /// DATA must be there, and last: then everything else lies before it.
    fn data(&self) -> Result<Range<u64>> {
        let kind = SectionKind::Data as u32;
        let Some(i) = self.sections().iter().position(|entry| entry.kind == kind) else {
            return Err(wrong("a section is missing", 0, kind.into(), self.sections.into()));
        };
        if i + 1 != self.sections().len() {
            let last = (self.sections().len() - 1) as u64;
            return Err(wrong("DATA is not the last section", table_place(i), last, i as u64));
        }
        let SectionEntry { offset, len, .. } = self.table[i];
        if offset > MAX_METADATA {
            return Err(wrong("too many bytes before DATA", table_place(i), MAX_METADATA, offset));
        }
        Ok(offset..offset + len)
    }

    fn check(&self, len: u64) -> Result<()> {
        // Version and endianness come first: they say what the other fields mean.
        let fields: [(&'static str, usize, u64, u64); 9] = [
            (
                "wrong byte order: this machine or the file is big-endian",
                offset_of!(Header, endian),
                ENDIAN.into(),
                self.endian.into(),
            ),
            (
                "a version of the format that this program does not read; convert the checkpoint again",
                offset_of!(Header, version),
                VERSION.into(),
                self.version.into(),
            ),
            (
                "wrong header size",
                offset_of!(Header, header_len),
                size_of::<Header>() as u64,
                self.header_len.into(),
            ),
            ("the header is damaged", offset_of!(Header, checksum), self.computed_checksum(), self.checksum),
            (
                "wrong length: the file was cut off or something was appended",
                offset_of!(Header, file_len),
                self.file_len,
                len,
            ),
            ("panels of another width", offset_of!(Header, nr), NR as u64, self.nr.into()),
            ("another int8 group", offset_of!(Header, k_group), K_GROUP as u64, self.k_group.into()),
            ("another panel padding", offset_of!(Header, k_align), K_ALIGN as u64, self.k_align.into()),
            (
                "another signedness of int8 codes",
                offset_of!(Header, signedness),
                SIGNED.into(),
                self.signedness.into(),
            ),
        ];
        for (problem, offset, expected, found) in fields {
            if expected != found {
                return Err(wrong(problem, offset as u64, expected, found));
            }
        }
        if self.reserved != 0 {
            return Err(wrong(
                "a reserved field is set",
                offset_of!(Header, reserved) as u64,
                0,
                self.reserved,
            ));
        }
        Ok(())
    }

    /// Sections must tile the file: each starts at the next multiple of 64 after the one before.
    fn check_table(&self) -> Result<()> {
        let used = self.sections as usize;
        if used > MAX_SECTIONS {
            let at = offset_of!(Header, sections) as u64;
            return Err(wrong("too many sections", at, MAX_SECTIONS as u64, used as u64));
        }
        let mut end = size_of::<Header>() as u64;
        for (i, entry) in self.table.iter().enumerate() {
            let place = table_place(i);
            if i >= used {
                if *entry != SectionEntry::zeroed() {
                    return Err(wrong("an unused section entry is not zero", place, 0, entry.kind.into()));
                }
                continue;
            }
            if SectionKind::from_stored(entry.kind).is_none() {
                return Err(wrong("unknown section", place, SectionKind::Data as u64, entry.kind.into()));
            }
            if self.table[..i].iter().any(|other| other.kind == entry.kind) {
                return Err(wrong("a section occurs twice", place, 0, entry.kind.into()));
            }
            if entry.reserved != 0 {
                return Err(wrong("a reserved field is set", place, 0, entry.reserved.into()));
            }
            // `end` never exceeds the file's length, and no file comes near 2^64 bytes.
            let start = end.checked_next_multiple_of(ALIGN as u64).unwrap_or(u64::MAX);
            if entry.offset != start {
                return Err(wrong("a section is not where the one before ends", place, start, entry.offset));
            }
            let stop = start.checked_add(entry.len).filter(|&stop| entry.len > 0 && stop <= self.file_len);
            let Some(stop) = stop else {
                let room = self.file_len.saturating_sub(start);
                return Err(wrong("a section is empty or does not fit the file", place, room, entry.len));
            };
            end = stop;
        }
        if end != self.file_len {
            return Err(wrong("bytes after the last section", end, end, self.file_len));
        }
        Ok(())
    }

    /// Checks the zeros between the sections of `metadata`, the bytes before DATA of the file whose checked header this
    /// is, and the sections' checksums. DATA has none of its own: its entry must hold 0.
    pub(super) fn check_sections(&self, metadata: &[u8]) -> Result<()> {
        let mut end = size_of::<Header>();
        for entry in self.sections() {
            let padding = &metadata[end..entry.offset as usize];
            if let Some(bad) = padding.iter().position(|&byte| byte != 0) {
                return Err(wrong("padding is not zero", (end + bad) as u64, 0, padding[bad].into()));
            }
            let section = metadata.get(entry.offset as usize..(entry.offset + entry.len) as usize);
            let found = section.map_or(0, xxh3_64);
            if found != entry.checksum {
                let part = Name::new(SectionKind::from_stored(entry.kind).map_or("?", SectionKind::name));
                return Err(Error::Checksum { part, offset: entry.offset, expected: entry.checksum, found });
            }
            end += padding.len() + section.map_or(0, <[u8]>::len);
        }
        Ok(())
    }

    /// The sections in use.
    pub fn sections(&self) -> &[SectionEntry] {
        &self.table[..(self.sections as usize).min(MAX_SECTIONS)]
    }

    /// The bytes of a section in `metadata`, the bytes before DATA of the file whose header this is.
    pub(super) fn section<'a>(&self, metadata: &'a [u8], kind: SectionKind) -> Option<&'a [u8]> {
        let entry = self.sections().iter().find(|entry| entry.kind == kind as u32)?;
        let start = usize::try_from(entry.offset).ok()?;
        metadata.get(start..start.checked_add(usize::try_from(entry.len).ok()?)?)
    }
}

/// Where entry `i` of the section table lies.
const fn table_place(i: usize) -> u64 {
    (offset_of!(Header, table) + i * size_of::<SectionEntry>()) as u64
}

/// An [`Error::Format`].
pub(super) fn wrong(problem: &'static str, offset: u64, expected: u64, found: u64) -> Error {
    Error::Format { problem, offset, expected, found }
}
