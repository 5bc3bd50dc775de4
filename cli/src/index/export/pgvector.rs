//! Rows for PostgreSQL: what `COPY ... WITH (FORMAT binary)` reads (its documentation, COPY, "Binary Format"), with vectors
//! as pgvector's `vector_recv` reads them.

use super::{Line, Source, microseconds};
use crate::console::{Console, Failure};
use ocelli::Error;
use ocelli::atomic::write_atomically;
use ocelli_index::Entry;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// The first bytes: signature, no flags, no header extension.
const HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What ends the rows.
const TRAILER: [u8; 2] = (-1i16).to_be_bytes();
/// Microseconds from 1970 to 2000, where PostgreSQL's time begins.
const EPOCH: i64 = 946_684_800_000_000;

pub(super) fn write(source: &Source, file: &Path, console: &Console) -> Result<(), Failure> {
    let dim = source.dim;
    if file == Path::new("-") {
        let mut out = BufWriter::new(io::stdout().lock());
        rows(source, &mut out)?;
        out.flush()?;
    } else {
        write_atomically(file, |out| {
            rows(source, out).map_err(|failure| match failure {
                Failure::Error(Error::Io { source, .. }) => {
                    Failure::Error(Error::Io { action: "write", source }.in_file(file))
                }
                other => other,
            })
        })?;
    }
    console.tell(format_args!(
        "CREATE TABLE photos (path text PRIMARY KEY, width int, height int, taken timestamp, bytes bigint, hash bytea, \
         embedding vector({dim}));"
    ));
    console.tell(format_args!("\\copy photos FROM 'FILE' WITH (FORMAT binary)"));
    Ok(())
}

fn rows(source: &Source, out: &mut impl Write) -> Result<(), Failure> {
    out.write_all(HEADER)?;
    let mut vector = vec![0.0; source.dim];
    for entry in &source.entries {
        source.vector(entry, &mut vector)?;
        row(entry, &vector, out)?;
    }
    out.write_all(&TRAILER)?;
    Ok(())
}

fn row(entry: &Entry, vector: &[f32], out: &mut impl Write) -> io::Result<()> {
    let line = Line::new(entry);
    out.write_all(&7i16.to_be_bytes())?;
    // A text has no NUL, and no path has.
    field(out, Some(line.picture.path.as_bytes()))?;
    field(out, Some(&(line.picture.width as i32).to_be_bytes()))?;
    field(out, Some(&(line.picture.height as i32).to_be_bytes()))?;
    let taken =
        line.picture.taken.as_deref().and_then(microseconds).map(|taken| (taken - EPOCH).to_be_bytes());
    field(out, taken.as_ref().map(|taken| &taken[..]))?;
    field(out, Some(&(entry.bytes as i64).to_be_bytes()))?;
    field(out, Some(&entry.hash))?;
    // Dimension and a reserved zero, then the elements.
    let mut bytes = (vector.len() as u16).to_be_bytes().to_vec();
    bytes.extend([0, 0]);
    vector.iter().for_each(|x| bytes.extend(x.to_be_bytes()));
    field(out, Some(&bytes))
}

/// A value with its length, or NULL.
fn field(out: &mut impl Write, value: Option<&[u8]>) -> io::Result<()> {
    let length = value.map_or(-1, |value| value.len() as i32);
    out.write_all(&length.to_be_bytes())?;
    out.write_all(value.unwrap_or_default())
}
