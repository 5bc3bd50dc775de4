//! NumPy's files.

use ocelli::atomic::Writer;
use std::io::{self, Seek, SeekFrom, Write};

/// A NumPy file whose number of rows is known at its end.
pub(crate) struct Matrix<'c, 'f> {
    file: &'c mut Writer<'f>,
    rows: usize,
    dim: usize,
}

/// Bytes before the numbers: room for every shape, and a multiple of 64 as NumPy wants it.
const HEADER: usize = 128;

impl<'c, 'f> Matrix<'c, 'f> {
    pub(crate) fn new(file: &'c mut Writer<'f>) -> io::Result<Matrix<'c, 'f>> {
        file.write_all(&[0; HEADER])?;
        Ok(Matrix { file, rows: 0, dim: 0 })
    }

    /// Writes one row; all have one length.
    pub(crate) fn put(&mut self, row: &[f32]) -> io::Result<()> {
        self.dim = row.len();
        self.rows += 1;
        row.iter().try_for_each(|value| self.file.write_all(&value.to_le_bytes()))
    }

    /// Writes the header; gives the number of rows.
    pub(crate) fn finish(self) -> io::Result<usize> {
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&header(self.rows, self.dim))?;
        Ok(self.rows)
    }
}

/// NumPy's format 1.0: magic, version, length of the rest as u16, and a Python dictionary padded with spaces.
fn header(rows: usize, dim: usize) -> [u8; HEADER] {
    let dictionary = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dim}), }}");
    let mut header = [b' '; HEADER];
    header[..8].copy_from_slice(b"\x93NUMPY\x01\x00");
    header[8..10].copy_from_slice(&((HEADER - 10) as u16).to_le_bytes());
    header[10..10 + dictionary.len()].copy_from_slice(dictionary.as_bytes());
    header[HEADER - 1] = b'\n';
    header
}
