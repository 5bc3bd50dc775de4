//! `ocelli index`, `ocelli search`, `ocelli dupes`, `ocelli export`: an index of photos, and questions to it.

mod dupes;
mod export;
mod search;
mod sheet;
mod terminal;
pub(crate) mod thumbnail;
mod update;
mod watch;

use crate::args::{ModelArgs, Opened};
use crate::console::{Console, Failure};
use crate::files::path_bytes;
use clap::Subcommand;
use ocelli::preprocess::decode::Limits;
use ocelli::{Error, ImageOptions, Result, knobs};
use ocelli_index::{Entry, Identity, Store};
use serde::Serialize;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The commands of an index.
#[derive(Subcommand)]
pub(crate) enum Command {
    Index(update::Args),
    Search(search::Args),
    Dupes(dupes::Args),
    Export(export::Args),
}

pub(crate) fn run(command: &Command, console: &Console) -> Result<ExitCode, Failure> {
    match command {
        Command::Index(args) => update::run(args, console),
        Command::Search(args) => search::run(args, console),
        Command::Dupes(args) => dupes::run(args, console),
        Command::Export(args) => export::run(args, console),
    }
}

impl From<ocelli_index::Error> for Failure {
    fn from(error: ocelli_index::Error) -> Failure {
        match error {
            ocelli_index::Error::Ocelli(error) => Failure::Error(error),
            error => Failure::Error(Error::Message(error.to_string())),
        }
    }
}

/// The option that names the index.
#[derive(clap::Args)]
struct IndexArgs {
    /// The index, a folder [default: ocelli/index where the user's data are: $XDG_DATA_HOME, or .local/share in the home]
    #[arg(long, value_name = "FOLDER")]
    index: Option<PathBuf>,
}

impl IndexArgs {
    fn folder(&self) -> Result<PathBuf> {
        self.index.clone().map_or_else(default_folder, Ok)
    }
}

/// The index where no other is named.
pub(crate) fn default_folder() -> Result<PathBuf> {
    let folder = crate::files::data_folder().map(|data| data.join("ocelli/index"));
    folder.ok_or_else(|| Error::Message("there is no home folder: name the index with --index FOLDER".into()))
}

/// Opens the model that was asked for, or else the one that `store` was made with.
fn open_model(args: &ModelArgs, store: Option<&Store>) -> Result<Opened> {
    let known = store.and_then(|store| store.identity().model.clone());
    ModelArgs { model: args.model.clone().or(known), threads: args.threads }.open()
}

/// What a model's index is known by.
fn identity(opened: &Opened) -> Identity {
    Identity::of(&opened.model, Some(&opened.path))
}

fn image_options() -> Result<ImageOptions> {
    Ok(ImageOptions::default().limits(knobs::limits()?))
}

fn picture_limits() -> Result<Limits> {
    Ok(knobs::max_pixels()?.map_or_else(Limits::default, Limits::new))
}

/// A picture in JSON.
#[derive(Serialize)]
pub(crate) struct Picture {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
    /// Other files of the same bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    copies: Vec<String>,
    width: u32,
    height: u32,
    taken: Option<String>,
}

impl Picture {
    pub(crate) fn new(entry: &Entry) -> Picture {
        let (first, copies) = entry.paths.split_first().expect("an entry has a path");
        let (width, height) = entry.facts.size;
        Picture {
            path: first.display().to_string(),
            path_bytes: path_bytes(first),
            copies: copies.iter().map(|path| path.display().to_string()).collect(),
            width,
            height,
            taken: entry.facts.taken.clone(),
        }
    }
}

/// `path` and a byte that ends it, as other programs read it.
fn ended_by(path: &Path, end: u8) -> Vec<u8> {
    let mut bytes = path.as_os_str().as_encoded_bytes().to_vec();
    bytes.push(end);
    bytes
}

/// The arguments in which, behind `search`, `-people` and `-2:people` are the two words `-` and `people`, so that they are
/// not taken for options. One dash and one or two characters, or a number, remain an option or its value: `-k5`, `-0.1`.
pub(crate) fn separate_signs(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let (mut separated, mut searching) = (Vec::new(), false);
    for (at, argument) in arguments.enumerate() {
        let term = argument.to_str().and_then(|text| text.strip_prefix('-')).filter(|term| {
            let letters = term.chars().filter(|c| c.is_alphabetic()).count();
            searching && !term.starts_with('-') && term.chars().count() > 2 && letters > 1
        });
        match term {
            Some(term) => separated.extend(["-".into(), term.into()]),
            None => {
                // Behind the program's name and its options that have no value.
                let option = argument.as_encoded_bytes().starts_with(b"-");
                searching |= at > 0
                    && argument == "search"
                    && separated.len() == at
                    && {
                        separated[1..]
                            .iter()
                            .all(|before: &OsString| before.as_encoded_bytes().starts_with(b"-"))
                    }
                    && !option;
                separated.push(argument);
            }
        }
    }
    separated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_before_words_are_no_options() {
        let separate = |line: &str| {
            let words = separate_signs(line.split(' ').map(OsString::from));
            words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(separate("ocelli -q search 2:beach -people"), "ocelli -q search 2:beach - people");
        assert_eq!(separate("ocelli search a -2:people -mountain"), "ocelli search a - 2:people - mountain");
        for same in [
            "ocelli search a - b -k 5 -k5 -0 --threshold -0.1 --json -- -x",
            "ocelli classify -people",
            "ocelli embed search -people",
            "ocelli --help",
        ] {
            assert_eq!(separate(same), same);
        }
    }
}
