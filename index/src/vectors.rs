//! A file of rows of one size, appended and mapped, each with a checksum.
//!
//! ```text
//! header (64 bytes) | row 0 | row 1 | ...
//! int8 row:   [width] codes, scale (f32), checksum (u32)      width is the dimension, padded with zeros to a multiple of 16
//! f16 row:    [dimension] halves, checksum (u32)
//! ```
//!
//! All little-endian. A checksum is the lower half of the XXH3-64 of what stands before it in the row, seeded with the row's
//! number. Which rows count is not said here but in the catalog: whatever lies behind them is what an interrupted run left,
//! and is written over.

use crate::error::{Error, Result};
use bytemuck::{Pod, Zeroable};
use half::f16;
use memmap2::Mmap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// What the elements of a file's rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Element {
    /// Codes with one scale for each row: what is scanned.
    I8 = 1,
    /// Half precision: what decides the order of the best.
    F16 = 2,
}

/// Bytes of a checksum.
const CHECK: usize = 4;

impl Element {
    /// Bytes of a row of `dim` elements.
    pub fn stride(self, dim: usize) -> usize {
        match self {
            Element::I8 => width(dim) + 4 + CHECK,
            Element::F16 => 2 * dim + CHECK,
        }
    }

    /// The end of the file's name.
    pub(crate) fn ending(self) -> &'static str {
        match self {
            Element::I8 => "i8",
            Element::F16 => "f16",
        }
    }
}

/// Codes of a row of `dim` elements.
pub fn width(dim: usize) -> usize {
    dim.next_multiple_of(16)
}

/// The largest dimension of an embedding.
pub const MAX_DIM: usize = 1 << 16;

const MAGIC: [u8; 8] = *b"ocellivx";
const VERSION: u32 = 1;

/// The first bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    version: u32,
    element: u32,
    dim: u32,
    stride: u32,
    /// Of the checkpoint that made the embeddings.
    checkpoint: [u8; 16],
    reserved: [u8; 16],
    /// XXH3-64 of what stands before it.
    check: u64,
}

const HEADER: usize = size_of::<Header>();
const _: () = assert!(HEADER == 64 && cfg!(target_endian = "little"));

impl Header {
    fn new(element: Element, dim: usize, checkpoint: [u8; 16]) -> Header {
        let mut header = Header {
            magic: MAGIC,
            version: VERSION,
            element: element as u32,
            dim: dim as u32,
            stride: element.stride(dim) as u32,
            checkpoint,
            reserved: [0; 16],
            check: 0,
        };
        header.check = xxh3_64(&bytemuck::bytes_of(&header)[..HEADER - 8]);
        header
    }
}

/// The bytes of `vector`, of length 1, as row `row` of a file of `element`.
pub fn encode(element: Element, vector: &[f32], row: u64, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    match element {
        Element::I8 => {
            let (codes, scale) = quantize(vector);
            bytes.extend_from_slice(bytemuck::cast_slice(&codes));
            bytes.extend_from_slice(&scale.to_le_bytes());
        }
        Element::F16 => vector.iter().for_each(|&x| bytes.extend_from_slice(&f16::from_f32(x).to_le_bytes())),
    }
    seal(bytes, start, row);
}

/// Appends the checksum of what stands in `bytes` from `start`.
fn seal(bytes: &mut Vec<u8>, start: usize, row: u64) {
    let check = xxh3_64_with_seed(&bytes[start..], row) as u32;
    bytes.extend_from_slice(&check.to_le_bytes());
}

/// Codes within ±127, padded with zeros to [`width`], and their scale.
pub fn quantize(vector: &[f32]) -> (Vec<i8>, f32) {
    let peak = vector.iter().fold(0f32, |peak, x| peak.max(x.abs()));
    let inverse = if peak > 0.0 { 127.0 / peak } else { 0.0 };
    let mut codes: Vec<i8> = vector.iter().map(|x| (x * inverse).round_ties_even() as i8).collect();
    codes.resize(width(vector.len()), 0);
    (codes, peak / 127.0)
}

/// A file that rows are written to.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    file: File,
    stride: usize,
    bytes: Vec<u8>,
    element: Element,
}

impl Writer {
    /// Opens the file at `path`, or begins it. Gives also how many whole rows are in it: none in a file that is not one of
    /// this element, dimension and checkpoint, which is begun again.
    ///
    /// # Errors
    /// The system refuses to read or write it.
    pub fn open(path: &Path, element: Element, dim: usize, checkpoint: [u8; 16]) -> Result<(Writer, u64)> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path);
        let mut file = file.map_err(Error::io("open", path))?;
        let expected = Header::new(element, dim, checkpoint);
        let mut found = Header::zeroed();
        let whole = file.read_exact(bytemuck::bytes_of_mut(&mut found)).is_ok() && found == expected;
        let stride = element.stride(dim);
        let rows = if whole {
            let len = file.metadata().map_err(Error::io("look at", path))?.len();
            (len - HEADER as u64) / stride as u64
        } else {
            let mut begin = || {
                file.set_len(0)?;
                file.rewind()?;
                file.write_all(bytemuck::bytes_of(&expected))?;
                file.sync_all()
            };
            begin().map_err(Error::io("write", path))?;
            0
        };
        Ok((Writer { path: path.to_owned(), file, stride, bytes: Vec::new(), element }, rows))
    }

    /// Takes a row, which is written by [`write`](Self::write).
    pub fn push(&mut self, vector: &[f32], row: u64) {
        encode(self.element, vector, row, &mut self.bytes);
    }

    /// Takes a row of `rows`, to be row `to`.
    ///
    /// # Errors
    /// It is damaged.
    pub fn push_copy(&mut self, rows: &Rows, from: usize, to: u64) -> Result<()> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&rows.whole(from)?[..self.stride - CHECK]);
        seal(&mut self.bytes, start, to);
        Ok(())
    }

    /// Writes what was taken since the last call, the first of it as row `first`, and waits until it lies on the disk.
    ///
    /// # Errors
    /// The system refuses, as a full disk does. Then nothing counts, and all that was taken is let go.
    pub fn write(&mut self, first: u64) -> Result<()> {
        let bytes = std::mem::take(&mut self.bytes);
        if bytes.is_empty() {
            return Ok(());
        }
        let mut put = || {
            self.file.seek(SeekFrom::Start(HEADER as u64 + first * self.stride as u64))?;
            self.file.write_all(&bytes)?;
            self.file.sync_data()
        };
        put().map_err(Error::io("write", &self.path))
    }
}

/// The rows of a file, mapped.
#[derive(Debug)]
pub struct Rows {
    path: PathBuf,
    map: Mmap,
    element: Element,
    dim: usize,
    rows: usize,
}

impl Rows {
    /// Maps the first `rows` rows of the file at `path`.
    ///
    /// # Errors
    /// The system refuses to read it, it is not a file of this element, dimension and checkpoint, or it has fewer rows.
    pub fn map(path: &Path, element: Element, dim: usize, checkpoint: [u8; 16], rows: u64) -> Result<Rows> {
        let damaged = |problem: String| Error::Damaged { path: path.to_owned(), problem };
        let file = File::open(path).map_err(Error::io("open", path))?;
        // SAFETY: rows that count are never written again nor cut off: a writer appends behind them, and replaces the file
        // by one of another name. Who else changes the file can make answers wrong, or cut it off and end the process by
        // SIGBUS, as with every map.
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io("map", path))?;
        let header = map.get(..HEADER).map(bytemuck::pod_read_unaligned::<Header>);
        if header != Some(Header::new(element, dim, checkpoint)) {
            return Err(damaged(format!("its header is not one of {element:?} rows of {dim} elements")));
        }
        let held = (map.len() - HEADER) / element.stride(dim);
        let rows = usize::try_from(rows).ok().filter(|&rows| rows <= held);
        let rows =
            rows.ok_or_else(|| damaged(format!("it holds {held} rows, fewer than the catalog counts")))?;
        Ok(Rows { path: path.to_owned(), map, element, dim, rows })
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Bytes from one row to the next.
    pub fn stride(&self) -> usize {
        self.element.stride(self.dim)
    }

    /// All rows, each with its scale and checksum.
    pub fn bytes(&self) -> &[u8] {
        &self.map[HEADER..HEADER + self.rows * self.stride()]
    }

    /// The bytes of a row.
    ///
    /// # Panics
    /// If there is no such row.
    fn row(&self, row: usize) -> &[u8] {
        &self.bytes()[row * self.stride()..][..self.stride()]
    }

    /// The scale of an int8 row, not checked.
    ///
    /// # Panics
    /// If there is no such row, or the rows have no scale.
    pub fn scale(&self, row: usize) -> f32 {
        assert_eq!(self.element, Element::I8);
        let at = width(self.dim);
        f32::from_le_bytes(self.row(row)[at..at + 4].try_into().expect("four bytes"))
    }

    /// Whether a row has its checksum.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn is_whole(&self, row: usize) -> bool {
        let (bytes, check) = self.row(row).split_at(self.stride() - CHECK);
        xxh3_64_with_seed(bytes, row as u64) as u32
            == u32::from_le_bytes(check.try_into().expect("four bytes"))
    }

    fn whole(&self, row: usize) -> Result<&[u8]> {
        match row < self.rows && self.is_whole(row) {
            true => Ok(self.row(row)),
            false => {
                let problem = format!("row {row} is damaged");
                Err(Error::Damaged { path: self.path.clone(), problem })
            }
        }
    }

    /// The codes of an int8 row, after a look at its checksum.
    ///
    /// # Errors
    /// The row is damaged, or there is none.
    pub fn codes(&self, row: usize) -> Result<&[i8]> {
        Ok(bytemuck::cast_slice(&self.whole(row)?[..width(self.dim)]))
    }

    /// An f16 row as f32, after a look at its checksum.
    ///
    /// # Errors
    /// The row is damaged, or there is none.
    pub fn halves(&self, row: usize, out: &mut [f32]) -> Result<()> {
        let bytes = &self.whole(row)?[..2 * self.dim];
        for (half, out) in bytes.as_chunks().0.iter().zip(out) {
            *out = f16::from_le_bytes(*half).to_f32();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(seed: usize, dim: usize) -> Vec<f32> {
        let mut x: Vec<f32> = (0..dim).map(|i| ((seed * 31 + i * 17) % 23) as f32 - 11.0).collect();
        ocelli::score::normalize(&mut x);
        x
    }

    #[test]
    fn rows_come_back_and_damage_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for (element, dim) in [(Element::I8, 20), (Element::F16, 20), (Element::I8, 512), (Element::F16, 7)] {
            let path = folder.path().join(format!("{dim}.{}", element.ending()));
            let (mut writer, held) = Writer::open(&path, element, dim, [3; 16]).unwrap();
            assert_eq!(held, 0);
            (0..5).for_each(|row| writer.push(&unit(row, dim), row as u64));
            writer.write(0).unwrap();
            // What an interrupted run left behind row 3 is written over.
            writer.push(&unit(9, dim), 3);
            writer.write(3).unwrap();
            assert_eq!(Writer::open(&path, element, dim, [3; 16]).unwrap().1, 5);
            let rows = Rows::map(&path, element, dim, [3; 16], 4).unwrap();
            assert_eq!(rows.len(), 4);
            let mut halves = vec![0.0; dim];
            for (row, seed) in [(0, 0), (1, 1), (2, 2), (3, 9)] {
                let vector = unit(seed, dim);
                let read: Vec<f32> = match element {
                    Element::I8 => {
                        let codes = rows.codes(row).unwrap();
                        assert!(codes[dim..].iter().all(|&code| code == 0));
                        codes[..dim].iter().map(|&code| f32::from(code) * rows.scale(row)).collect()
                    }
                    Element::F16 => {
                        rows.halves(row, &mut halves).unwrap();
                        halves.clone()
                    }
                };
                let limit = if element == Element::I8 { 0.5 * rows.scale(row) + 1e-6 } else { 1.0 / 2048.0 };
                assert!(read.iter().zip(&vector).all(|(a, b)| (a - b).abs() <= limit), "{element:?} {row}");
            }
            for (other, dim, id) in [(element, dim, 4), (element, dim + 16, 3)] {
                let problem = Rows::map(&path, other, dim, [id; 16], 1).unwrap_err().to_string();
                assert!(problem.contains("header"), "{problem}");
            }
            let problem = Rows::map(&path, element, dim, [3; 16], 6).unwrap_err().to_string();
            assert!(problem.contains("holds 5 rows"), "{problem}");
            drop(rows);
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[HEADER + element.stride(dim) + 3] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            let rows = Rows::map(&path, element, dim, [3; 16], 4).unwrap();
            let whole: Vec<bool> = (0..4).map(|row| rows.is_whole(row)).collect();
            assert_eq!(whole, [true, false, true, true]);
            let read = match element {
                Element::I8 => rows.codes(1).map(|_| ()),
                Element::F16 => rows.halves(1, &mut halves),
            };
            assert!(read.unwrap_err().to_string().contains("row 1 is damaged"));
        }
    }

    #[test]
    fn a_file_of_another_model_is_begun_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.i8");
        let (mut writer, _) = Writer::open(&path, Element::I8, 16, [1; 16]).unwrap();
        writer.push(&unit(1, 16), 0);
        writer.write(0).unwrap();
        assert_eq!(Writer::open(&path, Element::I8, 16, [1; 16]).unwrap().1, 1);
        assert_eq!(Writer::open(&path, Element::I8, 16, [2; 16]).unwrap().1, 0);
        assert_eq!(Writer::open(&path, Element::I8, 16, [1; 16]).unwrap().1, 0);
    }

    #[test]
    fn zeros_have_a_scale_of_zero() {
        assert_eq!(quantize(&[0.0; 3]), (vec![0; 16], 0.0));
        let (codes, scale) = quantize(&[0.5, -1.0, 0.25]);
        assert_eq!((&codes[..4], scale), (&[64, -127, 32, 0][..], 1.0 / 127.0));
    }
}
