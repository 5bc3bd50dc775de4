//! A table in Parquet's format, uncompressed: embeddings are as good as random, and they are nearly all of it.

use super::{Line, Source, microseconds};
use crate::console::Failure;
use ocelli::Error;
use ocelli::atomic::write_atomically;
use ocelli_index::Entry;
use parquet::data_type::{
    ByteArray, ByteArrayType, DataType, FixedLenByteArray, FixedLenByteArrayType, FloatType, Int32Type,
    Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// Paths that are not UTF-8 are percent-encoded in `path_bytes`; `taken` is local time.
const SCHEMA: &str = "message photos {
    required binary path (STRING);
    optional binary path_bytes (STRING);
    required int32 width;
    required int32 height;
    optional int64 taken (TIMESTAMP(MICROS, false));
    required int64 bytes;
    required fixed_len_byte_array(16) hash;
    required group embedding (LIST) { repeated group list { required float element; } }
}";
/// Rows that are written at once: some megabytes.
const GROUP: usize = 4096;

/// Why a group of rows was not written.
enum Failed {
    Parquet(ParquetError),
    Source(Failure),
}

impl From<ParquetError> for Failed {
    fn from(error: ParquetError) -> Failed {
        Failed::Parquet(error)
    }
}

pub(super) fn write(source: &Source, file: &Path) -> Result<(), Failure> {
    write_atomically(file, |out| {
        table(source, out).map_err(|failed| match failed {
            Failed::Source(failure) => failure,
            Failed::Parquet(error) => {
                let reason = std::io::Error::other(error.to_string());
                Error::Io { action: "write", source: reason }.in_file(file).into()
            }
        })
    })
}

fn table(source: &Source, out: &mut (impl Write + Send)) -> Result<(), Failed> {
    let schema = Arc::new(parse_message_type(SCHEMA)?);
    // No two embeddings have values in common, and no two photos a path or a hash.
    let properties = WriterProperties::builder().set_dictionary_enabled(false).build();
    let mut table = SerializedFileWriter::new(out, schema, Arc::new(properties))?;
    for entries in source.entries.chunks(GROUP) {
        let mut group = table.next_row_group()?;
        rows(source, entries, &mut group)?;
        group.close()?;
    }
    table.close()?;
    Ok(())
}

fn rows<W: Write + Send>(
    source: &Source,
    entries: &[Entry],
    group: &mut SerializedRowGroupWriter<'_, W>,
) -> Result<(), Failed> {
    let lines: Vec<Line> = entries.iter().map(Line::new).collect();
    let text = |text: &str| ByteArray::from(text.as_bytes().to_vec());
    let paths: Vec<_> = lines.iter().map(|line| text(&line.picture.path)).collect();
    required::<ByteArrayType, W>(group, &paths)?;
    let paths = lines.iter().map(|line| line.picture.path_bytes.as_deref().map(text));
    optional::<ByteArrayType, W>(group, paths)?;
    // A side has 65,535 pixels at most.
    let widths: Vec<_> = lines.iter().map(|line| line.picture.width as i32).collect();
    required::<Int32Type, W>(group, &widths)?;
    let heights: Vec<_> = lines.iter().map(|line| line.picture.height as i32).collect();
    required::<Int32Type, W>(group, &heights)?;
    optional::<Int64Type, W>(
        group,
        lines.iter().map(|line| line.picture.taken.as_deref().and_then(microseconds)),
    )?;
    let sizes: Vec<_> = lines.iter().map(|line| line.bytes as i64).collect();
    required::<Int64Type, W>(group, &sizes)?;
    let hashes: Vec<_> = entries.iter().map(|entry| FixedLenByteArray::from(entry.hash.to_vec())).collect();
    required::<FixedLenByteArrayType, W>(group, &hashes)?;

    let mut vectors = vec![0.0; entries.len() * source.dim];
    for (entry, vector) in entries.iter().zip(vectors.chunks_exact_mut(source.dim)) {
        source.vector(entry, vector).map_err(Failed::Source)?;
    }
    // Every element is there; the first of a list begins a row.
    let defined = vec![1; vectors.len()];
    let repeated: Vec<i16> = (0..vectors.len()).map(|at| i16::from(!at.is_multiple_of(source.dim))).collect();
    Ok(column::<FloatType, W>(group, &vectors, Some(&defined), Some(&repeated))?)
}

/// Writes a column of which every row has a value.
fn required<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
) -> Result<(), ParquetError> {
    column::<T, W>(group, values, None, None)
}

/// Writes a column of which not every row has a value.
fn optional<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: impl Iterator<Item = Option<T::T>>,
) -> Result<(), ParquetError> {
    let values: Vec<Option<T::T>> = values.collect();
    let defined: Vec<i16> = values.iter().map(|value| value.is_some().into()).collect();
    let values: Vec<T::T> = values.into_iter().flatten().collect();
    column::<T, W>(group, &values, Some(&defined), None)
}

/// Writes the next column: its values, and where they are, by Dremel's definition and repetition levels.
fn column<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
    defined: Option<&[i16]>,
    repeated: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let mut column = group.next_column()?.expect("the schema has it");
    column.typed::<T>().write_batch(values, defined, repeated)?;
    column.close()
}
