//! `ocelli dupes`

use super::{IndexArgs, Picture, ended_by};
use crate::console::{Console, Failure};
use ocelli::{Runtime, knobs, printable};
use ocelli_index::{DuplicateOptions, Group, Store, duplicates};
use serde::Serialize;
use std::process::ExitCode;

/// Find photos that show the same: copies, and versions that were resized, compressed again or cropped a little.
///
/// Two photos belong together where their embeddings are near and their perceptual hashes agree. Prints groups with an
/// empty line between, the best of each first: of most pixels, then of most bytes, then the oldest. Nothing is deleted.
///
/// With --json, one object per group: {"paths":[...],"similarity":...,"pictures":[...]}, where "similarity" is the least
/// cosine by which one of them was joined to another, and each of "pictures" has "path", "width", "height" and "taken".
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    index: IndexArgs,
    /// Least cosine of two photos' embeddings
    #[arg(long, value_name = "COSINE", default_value_t = DuplicateOptions::default().similarity)]
    similarity: f32,
    /// Most bits in which their perceptual hashes of 64 bits may differ
    #[arg(long, value_name = "BITS", default_value_t = DuplicateOptions::default().distance, value_parser = clap::value_parser!(u32).range(0..=64))]
    distance: u32,
    /// Leave the best of each group out: what could be let go
    #[arg(long)]
    rest: bool,
    /// Print one JSON object per group
    #[arg(long, conflicts_with_all = ["null", "rest"])]
    json: bool,
    /// Print paths with NUL behind each and no line between groups, as `xargs -0` reads them
    #[arg(long, short = '0')]
    null: bool,
}

/// A group in JSON.
#[derive(Serialize)]
struct Line {
    paths: Vec<String>,
    similarity: f32,
    pictures: Vec<Picture>,
}

pub(super) fn run(args: &Args, console: &Console) -> Result<ExitCode, Failure> {
    let folder = args.index.folder()?;
    let store = Store::open(&folder)?;
    let runtime = Runtime::new(&knobs::runtime_options()?)?;
    let mut options = DuplicateOptions::default();
    (options.similarity, options.distance, options.threads) =
        (args.similarity, args.distance, runtime.threads());
    let groups = duplicates::duplicates(&store, runtime.kernels(), &options)?;
    let files: usize = groups.iter().map(|group| group.files.len()).sum();
    console.tell(format_args!("{}: {} groups of {files} files", folder.display(), groups.len()));
    for (at, group) in groups.iter().enumerate() {
        print(args, group, at == 0, console)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(args: &Args, group: &Group, first: bool, console: &Console) -> Result<(), Failure> {
    if args.json {
        let paths = group.files.iter().map(|(path, _)| path.display().to_string()).collect();
        let one = |(path, entry): &(std::path::PathBuf, ocelli_index::Entry)| {
            Picture::new(&ocelli_index::Entry { paths: vec![path.clone()], ..entry.clone() })
        };
        let pictures = group.files.iter().map(one).collect();
        return console.print_json(&Line { paths, similarity: group.similarity, pictures });
    }
    let mut files = group.files.iter().skip(args.rest.into());
    if args.null {
        return files.try_for_each(|(path, _)| console.write(&ended_by(path, 0)));
    }
    let mut text = String::from(if first || args.rest { "" } else { "\n" });
    for (path, _) in files {
        text += &printable(&path.display().to_string());
        text.push('\n');
    }
    console.print(&text)
}
