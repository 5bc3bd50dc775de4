//! Options that several commands share: the model, sizes, resizing.

use crate::default_model;
use crate::files::path_bytes;
use clap::ValueEnum;
use ocelli::preprocess::decode::{self, Limits};
use ocelli::preprocess::{PixelView, Tiles};
use ocelli::{Error, ImageEncoder, ImageOptions, Model, Result, Runtime, knobs};
use std::path::PathBuf;
use std::sync::Arc;

/// The end of every help text: the environment variables.
pub(crate) fn knobs_help() -> String {
    let mut help = String::from("Environment:");
    for knob in knobs::ALL {
        help += &format!("\n  {}", knob.name);
        // Under the name, in lines that fit the narrowest common terminal.
        let mut column = usize::MAX;
        for word in knob.meaning.split(' ') {
            if column.saturating_add(word.len()) >= 80 {
                help += "\n         ";
                column = 9;
            }
            help += " ";
            help += word;
            column += 1 + word.len();
        }
    }
    help
}

/// Options that choose the model and how it runs.
#[derive(clap::Args)]
pub(crate) struct ModelArgs {
    /// The packed model, written by `ocelli-pack convert` [default: the demo model, demo.ocelli, of this program's
    /// installation or in the folder models]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) model: Option<PathBuf>,
    /// Threads [default: one for each CPU that this process may use]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=ocelli::runtime::MAX_THREADS as i64))]
    pub(crate) threads: Option<u16>,
}

impl ModelArgs {
    /// Opens the model, starts the threads and, unless `OCELLI_VERIFY=0`, checks the weights.
    pub(crate) fn open(&self) -> Result<Opened> {
        let options = knobs::runtime_options()?;
        let options = options.threads(self.threads.map_or(options.threads, usize::from));
        let path = self.model.clone().map_or_else(default_model::path, Ok)?;
        let model = Model::open(&path)?;
        let opened = Opened { path, runtime: Runtime::new(&options)?, model };
        if knobs::verify()? {
            let remedy = "do not use this file: copy it again, or convert the checkpoint again";
            let checked = opened.model.check_weights(options.threads);
            checked.map_err(|error| opened.blame(Error::Message(format!("{error}; {remedy}"))))?;
        }
        Ok(opened)
    }
}

/// A model, and what it runs on.
pub(crate) struct Opened {
    pub(crate) model: Arc<Model>,
    pub(crate) runtime: Runtime,
    pub(crate) path: PathBuf,
}

impl Opened {
    /// What the model is called in results.
    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Its path's bytes, where it is not UTF-8.
    pub(crate) fn name_bytes(&self) -> Option<String> {
        path_bytes(&self.path)
    }

    /// `error` as one of this model, unless it is the text's.
    pub(crate) fn blame(&self, error: Error) -> Error {
        match error {
            Error::TextTooLong { .. } => error,
            _ => error.in_file(&self.path),
        }
    }
}

/// Options that change what the model sees.
#[derive(clap::Args)]
pub(crate) struct SizeArgs {
    /// Run the model on images of this size instead of its own, in pixels (336x448, height first, or 336 for both):
    /// positions are interpolated as its library does it
    #[arg(long, value_name = "HxW", value_parser = pair)]
    image_size: Option<(u32, u32)>,
    /// Show the model a large or wide image as a whole and in tiles, at most so many rows and columns of them (2x3);
    /// the grid that fits the image best is taken, and the embeddings are averaged. At most 64x64
    #[arg(long, value_name = "RxC", value_parser = grid, conflicts_with = "resize")]
    pub(crate) any_res: Option<(u32, u32)>,
}

impl SizeArgs {
    /// An encoder for images of the size that was asked for.
    pub(crate) fn encoder(&self, opened: &Opened) -> Result<ImageEncoder> {
        let options = ImageOptions::default().image_size(self.image_size).limits(knobs::limits()?);
        ImageEncoder::new(&opened.model, &opened.runtime, &options).map_err(|error| opened.blame(error))
    }

    /// The tiles of `view`, if any were asked for.
    pub(crate) fn tiles(&self, encoder: &ImageEncoder, view: &PixelView<'_>) -> Option<Tiles> {
        self.any_res.map(|(rows, columns)| encoder.fit_tiles(Tiles { rows, columns }, view))
    }
}

/// `336x448`, height first, or `336` for both.
pub(crate) fn pair(text: &str) -> Result<(u32, u32), String> {
    let number = |text: &str| match text.parse::<u32>() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("{text:?} is no number above 0: expected two, as in 336x448, or one for both")),
    };
    match text.split_once('x') {
        Some((first, second)) => Ok((number(first)?, number(second)?)),
        None => number(text).map(|both| (both, both)),
    }
}

/// `2x3`, rows first, of no more than a grid may have.
fn grid(text: &str) -> Result<(u32, u32), String> {
    let (rows, columns) = pair(text)?;
    match rows.max(columns) <= Tiles::MAX_SIDE {
        true => Ok((rows, columns)),
        false => Err(format!("at most {0} rows and {0} columns of tiles are possible", Tiles::MAX_SIDE)),
    }
}

/// How a photo becomes the size that the model sees.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Resize {
    /// Bit-exact Pillow resampling, as the model was trained with
    Exact,
    /// Large JPEG files are decoded at 1/2, 1/4 or 1/8 of their size: up to five times as quick, a few levels off
    Fast,
}

impl Resize {
    /// How pictures are decoded for `encoder`.
    pub(crate) fn decoding(self, encoder: &ImageEncoder) -> Result<decode::Options> {
        let mut options = decode::Options::default();
        if let Some(max_pixels) = knobs::max_pixels()? {
            options.limits = Limits::new(max_pixels);
        }
        if self == Resize::Fast {
            options.fast_for = Some(*encoder.frame_spec());
        }
        Ok(options)
    }
}
