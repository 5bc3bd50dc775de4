//! `ocelli search`

use super::terminal::{Choice, Protocol};
use super::thumbnail::Thumbnail;
use super::{
    IndexArgs, Picture, ended_by, identity, image_options, open_model, picture_limits, sheet, terminal,
};
use crate::args::ModelArgs;
use crate::console::{Console, Failure};
use crate::files::write_file;
use ocelli::preprocess::decode::Limits;
use ocelli::{Error, Runtime, printable};
use ocelli_index::query::What;
use ocelli_index::{Entry, Filter, Hit, Query, SearchOptions, Store, Term, search};
use serde::Serialize;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// Find photos in an index by words, by pictures, or by both.
///
/// A QUERY is words, or the path of a picture. Several are added: `ocelli search beach + ./sunset.jpg - people`, also as
/// `-people` and `+./sunset.jpg`; `2:beach` counts twice. Words need a model with a text tower. Without --model it is the
/// one that the index was made with; another file must be of the same checkpoint, in whatever precision.
///
/// Each line is the similarity, a cosine from -1 to 1, and the path, the best first. With --json each is
/// {"path":...,"score":...,"similarity":...,"width":...,"height":...,"taken":...}: "score" is the weighted sum of the
/// cosines with each QUERY, "taken" the local time from the photo's EXIF or null; "copies" are other files of the same
/// bytes. Of words alone, similarities of 0.25 to 0.35 are high with most models: compare them only with each other.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Words or a picture's path; + and - before one add and take away, 2: weighs it
    #[arg(required_unless_present = "image", value_name = "QUERY")]
    query: Vec<String>,
    /// A picture to add, whatever it is called; may be given several times
    #[arg(long, value_name = "FILE")]
    image: Vec<PathBuf>,
    #[command(flatten)]
    index: IndexArgs,
    #[command(flatten)]
    model: ModelArgs,
    /// Most photos to find
    #[arg(long, short = 'k', value_name = "K", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    top_k: u32,
    /// Only photos of this similarity or more
    #[arg(long, value_name = "COSINE", allow_negative_numbers = true)]
    threshold: Option<f32>,
    /// Only photos below this folder; may be given several times
    #[arg(long, value_name = "DIR")]
    folder: Vec<PathBuf>,
    /// Only photos from this day, month or year on: 2024, 2024-05 or 2024-05-01. The date is EXIF's, or else the file's
    #[arg(long, value_name = "DATE")]
    since: Option<String>,
    /// Only photos until the end of this day, month or year
    #[arg(long, value_name = "DATE")]
    until: Option<String>,
    /// Print one JSON object per photo
    #[arg(long, conflicts_with = "null")]
    json: bool,
    /// Print paths only, each with NUL behind it, as `xargs -0` reads them
    #[arg(long, short = '0')]
    null: bool,
    /// Show a small version of each photo below its line
    #[arg(
        long,
        value_name = "PROTOCOL",
        value_enum,
        num_args = 0..=1,
        require_equals = true,
        default_value = "none",
        default_missing_value = "auto",
        conflicts_with_all = ["json", "null"]
    )]
    thumbnails: Choice,
    /// Write a page with the photos, to be looked at on this computer
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Open the photos in the program that the desktop has for them
    #[arg(long)]
    open: bool,
}

/// A photo in JSON.
#[derive(Serialize)]
struct Line {
    score: f32,
    similarity: f32,
    #[serde(flatten)]
    picture: Picture,
}

pub(super) fn run(args: &Args, console: &Console) -> Result<ExitCode, Failure> {
    let pictures = args.image.iter().map(|path| Term { weight: 1.0, what: What::Picture(path.clone()) });
    let terms: Vec<Term> = Term::parse_all(&args.query)?.into_iter().chain(pictures).collect();
    let folder = args.index.folder()?;
    let store = Store::open(&folder)?;
    let opened = open_model(&args.model, Some(&store))?;
    store.check(&identity(&opened))?;
    let mut warn = |warning: String| console.warn(format_args!("{warning}"));
    let (options, limits) = (image_options()?, picture_limits()?);
    let query = Query::embed(&terms, &opened.model, &opened.runtime, &options, limits, &mut warn);
    let query = query.map_err(|error| match error {
        ocelli_index::Error::Ocelli(error @ Error::InFile { .. }) => Failure::Error(error),
        ocelli_index::Error::Ocelli(Error::ModelLacks { part, .. }) => {
            let remedy = "search by pictures, or give the full model of the same checkpoint with --model";
            Failure::Error(opened.blame(Error::ModelLacks { part, remedy }))
        }
        ocelli_index::Error::Ocelli(error) => Failure::Error(opened.blame(error)),
        error => error.into(),
    })?;
    let mut options = SearchOptions::default();
    options.top_k = args.top_k as usize;
    options.threshold = args.threshold;
    options.threads = opened.runtime.threads();
    let filter =
        Filter { folders: args.folder.clone(), since: args.since.clone(), until: args.until.clone() };
    options.filter = filter.resolved();
    let hits = search::search(&store, opened.runtime.kernels(), &query, &options)?;
    if hits.is_empty() {
        console.tell(format_args!("{}: nothing is found", folder.display()));
    }
    let protocol = if hits.is_empty() { None } else { protocol(args.thumbnails, console) };
    for hit in &hits {
        print(args, hit, console)?;
        if let Some(protocol) = protocol {
            show(&hit.picture, protocol, limits, &opened.runtime, console)?;
        }
    }
    if let Some(path) = &args.html {
        write_file(path, sheet::page(&args.query.join(" "), &hits).as_bytes())?;
        console.tell(format_args!("{}: {} photos", path.display(), hits.len()));
    }
    if args.open {
        hits.iter().try_for_each(|hit| open(&hit.picture.paths[0]))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(args: &Args, hit: &Hit, console: &Console) -> Result<(), Failure> {
    let Hit { similarity, score, picture } = hit;
    let path = &picture.paths[0];
    if args.null {
        console.write(&ended_by(path, 0))
    } else if args.json {
        let picture = Picture::new(picture);
        console.print_json(&Line { score: *score, similarity: *similarity, picture })
    } else {
        console.print(&format!("{similarity:.3}  {}\n", printable(&path.display().to_string())))
    }
}

/// How thumbnails are shown, if they are.
fn protocol(choice: Choice, console: &Console) -> Option<Protocol> {
    let protocol = choice.protocol();
    if protocol.is_none() && choice == Choice::Auto && io::stdout().is_terminal() {
        console.warn(format_args!("this terminal does not say that it shows pictures: no thumbnails"));
    }
    protocol
}

/// Shows a photo in the terminal, or says why it can't be shown.
fn show(
    photo: &Entry,
    protocol: Protocol,
    limits: Limits,
    runtime: &Runtime,
    console: &Console,
) -> Result<(), Failure> {
    let thumbnail = Thumbnail::of(photo, terminal::SIDE, limits, runtime);
    match thumbnail.and_then(|thumbnail| protocol.shown(&thumbnail)) {
        Ok(shown) => console.write(&shown),
        Err(failed) => {
            console.warn(format_args!("{}: {failed}", photo.paths[0].display()));
            Ok(())
        }
    }
}

/// Opens a file in the desktop's program for it, which goes on by itself.
fn open(path: &Path) -> Result<(), Error> {
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    // Paths of an index are absolute, so none is taken for an option.
    let mut command = Command::new(opener);
    command.arg(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let opened = command.spawn().map(|_| ());
    opened.map_err(|source| Error::Io { action: "start the desktop's opener", source }.in_file(opener))
}
