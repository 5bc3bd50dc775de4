//! The entries of a ZIP archive as PyTorch writes it: tensors are stored as they are, and the archive has no comment.
//! Fields are those of APPNOTE.TXT 6.3.10, sections 4.3.7 to 4.3.16 and 4.5.3 (ZIP64).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// Longest directory that is read: that of a million entries.
const MAX_DIRECTORY: u64 = 64 << 20;

/// Where the bytes of an entry lie in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) start: u64,
    pub(super) len: u64,
}

type Result<T> = std::result::Result<T, String>;

/// All entries of the archive `file` by name but those that are compressed, as TorchScript's code is.
///
/// # Errors
/// It cannot be read, is damaged, or is not as PyTorch writes it.
pub(super) fn entries(file: &mut File) -> Result<BTreeMap<String, Entry>> {
    let len = file.metadata().map_err(|error| error.to_string())?.len();
    let end_at = len.checked_sub(22).ok_or("shorter than the end of an archive")?;
    let end = read(file, end_at, 22)?;
    if !end.starts_with(b"PK\x05\x06") {
        return Err(
            "its directory is not at its end: cut off, damaged or with a comment; copy or download it again"
                .into(),
        );
    }
    let (mut count, mut size, mut start) = (u64::from(u16_at(&end, 10)), u32_at(&end, 12), u32_at(&end, 16));
    if count == 0xffff || size == 0xffff_ffff || start == 0xffff_ffff {
        let locator = read(file, end_at.checked_sub(20).ok_or("no ZIP64 locator")?, 20)?;
        let end = read(file, u64_at(&locator, 8), 56)?;
        if !locator.starts_with(b"PK\x06\x07") || !end.starts_with(b"PK\x06\x06") {
            return Err("its ZIP64 directory is damaged".into());
        }
        (count, size, start) = (u64_at(&end, 32), u64_at(&end, 40), u64_at(&end, 48));
    }
    let fits = size <= MAX_DIRECTORY && start.checked_add(size).is_some_and(|end| end <= end_at);
    if !fits || count > size {
        return Err(format!("its directory of {count} entries and {size} bytes does not fit into the file"));
    }
    let directory = read(file, start, size as usize)?;
    let (mut entries, mut rest) = (BTreeMap::new(), directory.as_slice());
    for _ in 0..count {
        let Some((name, entry)) = entry(file, &mut rest, start)? else { continue };
        if entries.insert(name.clone(), entry).is_some() {
            return Err(format!("its entry {name:?} occurs twice"));
        }
    }
    Ok(entries)
}

/// The next entry of the directory `rest`, `None` if it is compressed. All data lies before `limit`.
fn entry(file: &mut File, rest: &mut &[u8], limit: u64) -> Result<Option<(String, Entry)>> {
    let cut = "its directory is cut off";
    let (head, tail) = rest.split_at_checked(46).ok_or(cut)?;
    let [name_len, extra_len, comment_len] = [28, 30, 32].map(|at| usize::from(u16_at(head, at)));
    let (name, tail) = tail.split_at_checked(name_len).ok_or(cut)?;
    let (extra, tail) = tail.split_at_checked(extra_len).ok_or(cut)?;
    *rest = tail.get(comment_len..).ok_or(cut)?;
    let name = std::str::from_utf8(name).map_err(|_| "a name in it is not UTF-8".to_string())?.to_owned();
    if !head.starts_with(b"PK\x01\x02") {
        return Err("its directory is damaged".into());
    }
    // Sizes and offset that do not fit stand in the ZIP64 field, in this order.
    let (mut len, mut packed, mut header) = (u32_at(head, 24), u32_at(head, 20), u32_at(head, 42));
    let mut wide = zip64(extra).chunks_exact(8).map(|bytes| u64_at(bytes, 0));
    for value in [&mut len, &mut packed, &mut header] {
        if *value == 0xffff_ffff {
            *value = wide.next().ok_or_else(|| format!("its entry {name:?} lacks a ZIP64 size"))?;
        }
    }
    let (encrypted, method) = (u16_at(head, 8) & 1 != 0, u16_at(head, 10));
    if encrypted || method != 0 {
        return Ok(None);
    }
    if packed != len {
        return Err(format!("its entry {name:?} has two lengths"));
    }
    let local = read(file, header, 30)?;
    let start = header + 30 + u64::from(u16_at(&local, 26)) + u64::from(u16_at(&local, 28));
    if !local.starts_with(b"PK\x03\x04") || start.checked_add(len).is_none_or(|end| end > limit) {
        return Err(format!("its entry {name:?} lies outside of its data"));
    }
    Ok(Some((name, Entry { start, len })))
}

/// The ZIP64 field among the extra fields of an entry; empty without one.
fn zip64(mut extra: &[u8]) -> &[u8] {
    while let Some((head, rest)) = extra.split_at_checked(4) {
        let len = usize::from(u16_at(head, 2)).min(rest.len());
        if u16_at(head, 0) == 1 {
            return &rest[..len];
        }
        extra = &rest[len..];
    }
    &[]
}

/// `len` bytes of the file from `at` on.
pub(super) fn read(file: &mut File, at: u64, len: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let done = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut bytes));
    done.map(|()| bytes).map_err(|error| format!("{len} bytes at {at} cannot be read: {error}"))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u16_at(bytes, at)) | u64::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u32_at(bytes, at) | u32_at(bytes, at + 4) << 32
}
