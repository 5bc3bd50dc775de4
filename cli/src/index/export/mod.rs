//! `ocelli export`

mod npy;
#[cfg(feature = "parquet")]
mod parquet;
mod pgvector;
#[cfg(feature = "qdrant")]
mod qdrant;

use super::{IndexArgs, Picture};
use crate::console::{Console, Failure};
use ocelli::Error;
use ocelli_index::vectors::{Element, Rows};
use ocelli_index::{Entry, Store};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;

/// Write the embeddings of an index for other programs: NumPy, Parquet, PostgreSQL with pgvector, Qdrant.
///
/// Each picture is given once, with the first of its files, its size and the time it was taken; embeddings have length 1
/// and are as exact as half precision. docs/search.md shows the query in each engine, with a vector from ocelli embed.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("target").required(true)))]
pub(crate) struct Args {
    #[command(flatten)]
    index: IndexArgs,
    /// Write vectors.npy, a matrix of float32, and pictures.jsonl with one line for each of its rows into this folder, which is made if there is
    /// none
    #[arg(long, value_name = "DIR", group = "target")]
    npy: Option<PathBuf>,
    /// Write a table in Parquet's format into this file
    #[cfg(feature = "parquet")]
    #[arg(long, value_name = "FILE", group = "target")]
    parquet: Option<PathBuf>,
    /// Write rows for PostgreSQL's COPY ... WITH (FORMAT binary) into this file, or - for stdout; how the table is made and
    /// filled is told on stderr
    #[arg(long, value_name = "FILE", group = "target")]
    pgvector: Option<PathBuf>,
    /// Put points into this Qdrant server's collection: http://HOST:6333/collections/NAME. It is made if there is none. A key
    /// is taken from the environment variable QDRANT_API_KEY
    #[cfg(feature = "qdrant")]
    #[arg(long, value_name = "URL", group = "target")]
    qdrant: Option<String>,
}

/// The pictures of an index with their embeddings.
struct Source {
    entries: Vec<Entry>,
    halves: Rows,
    dim: usize,
}

impl Source {
    /// The embedding of `entry` in `vector`, of length 1.
    fn vector(&self, entry: &Entry, vector: &mut [f32]) -> Result<(), Failure> {
        self.halves.halves(entry.row as usize, vector)?;
        // Rounding to half precision has changed its length a little.
        ocelli::score::normalize(vector);
        Ok(())
    }
}

/// A picture in JSON, with its hash and size.
#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    picture: Picture,
    bytes: u64,
    hash: String,
}

impl Line {
    fn new(entry: &Entry) -> Line {
        let hash = entry.hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Line { picture: Picture::new(entry), bytes: entry.bytes, hash }
    }
}

/// `2024-05-01 12:33:00` in microseconds since 1970, as if it were UTC.
fn microseconds(taken: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| taken.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    // Days since 1970 in the Gregorian calendar, with years that begin in March (Howard Hinnant, days_from_civil).
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let seconds = days * 86_400 + number(11..13)? * 3600 + number(14..16)? * 60 + number(17..19)?;
    Some(seconds * 1_000_000)
}

pub(super) fn run(args: &Args, console: &Console) -> Result<ExitCode, Failure> {
    let folder = args.index.folder()?;
    let store = Store::open(&folder)?;
    let (entries, halves) = store.reading(|| Ok((store.entries()?, store.map(Element::F16)?)))?;
    let source = Source { entries, halves, dim: store.identity().dim };
    if source.entries.is_empty() {
        return Err(Error::NotAFile { problem: "there is no picture in this index" }.in_file(&folder).into());
    }
    if let Some(folder) = &args.npy {
        npy::write(&source, folder)?;
    }
    #[cfg(feature = "parquet")]
    if let Some(file) = &args.parquet {
        parquet::write(&source, file)?;
    }
    if let Some(file) = &args.pgvector {
        pgvector::write(&source, file, console)?;
    }
    #[cfg(feature = "qdrant")]
    if let Some(url) = &args.qdrant {
        qdrant::put(&source, url, console)?;
    }
    console.tell(format_args!("{} pictures of {} values", source.entries.len(), source.dim));
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::microseconds;

    #[test]
    fn times_count_from_1970() {
        for (taken, expected) in [
            ("1970-01-01 00:00:00", 0),
            ("1969-12-31 23:59:59", -1),
            ("2000-03-01 00:00:01", 951_868_801),
            ("2024-05-01 12:33:00", 1_714_566_780),
        ] {
            assert_eq!(microseconds(taken), Some(expected * 1_000_000), "{taken}");
        }
        assert_eq!(microseconds("2024"), None);
    }
}
