//! Options that several commands share: the model, sizes, resizing.

use crate::files::path_bytes;
use clap::ValueEnum;
use ocelli::preprocess::{PixelView, Tiles, fast};
use ocelli::{Error, Model, Options, Result, Session, knobs};
use std::path::PathBuf;

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
    /// The packed model, written by `ocelli-pack convert` [default: the demo model inside this program]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) model: Option<PathBuf>,
    /// Threads [default: one for each CPU that this process may use; where some are big and some little cores, for
    /// each big one]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=ocelli::runtime::MAX_THREADS as i64))]
    pub(crate) threads: Option<u16>,
}

impl ModelArgs {
    /// What the model is called in results.
    pub(crate) fn name(&self) -> String {
        self.model.as_ref().map_or_else(|| "demo".into(), |path| path.display().to_string())
    }

    /// Its path's bytes, where it is not UTF-8.
    pub(crate) fn name_bytes(&self) -> Option<String> {
        self.model.as_ref().and_then(|path| path_bytes(path))
    }

    pub(crate) fn options(&self) -> Result<Options> {
        let options = Options::from_environment()?;
        Ok(match self.threads {
            Some(threads) => Options { threads: threads.into(), ..options },
            None => options,
        })
    }

    /// `error` as one of this model.
    pub(crate) fn blame(&self, error: Error) -> Error {
        error.in_file(self.name())
    }

    /// Opens the model and, unless `OCELLI_VERIFY=0`, checks its weights.
    pub(crate) fn open(&self) -> Result<Model> {
        let model = match &self.model {
            Some(path) => Model::open(path)?,
            None => demo()?,
        };
        if knobs::verify()? {
            let remedy = "do not use this file: copy it again, or convert the checkpoint again";
            model
                .check_weights(self.options()?.threads)
                .map_err(|error| self.blame(Error::Message(format!("{error}; {remedy}"))))?;
        }
        Ok(model)
    }
}

#[cfg(feature = "demo")]
fn demo() -> Result<Model> {
    crate::demo::model()
}

#[cfg(not(feature = "demo"))]
fn demo() -> Result<Model> {
    Err(Error::Message("this build has no demo model inside; name one with --model FILE".into()))
}

/// Options that change what the model sees.
#[derive(clap::Args)]
pub(crate) struct SizeArgs {
    /// Run the model on images of this size instead of its own, in pixels (336x448, height first, or 336 for both):
    /// positions are interpolated as its library does it
    #[arg(long, value_name = "HxW", value_parser = pair)]
    image_size: Option<(u32, u32)>,
    /// Show the model a large or wide image as a whole and in tiles, at most so many rows and columns of them (2x3);
    /// the grid that fits the image best is taken, and the embeddings are averaged
    #[arg(long, value_name = "RxC", value_parser = pair, conflicts_with = "resize")]
    pub(crate) any_res: Option<(u32, u32)>,
}

impl SizeArgs {
    /// `options` with the size that was asked for.
    pub(crate) fn apply(&self, options: Options) -> Options {
        Options { image_size: self.image_size, ..options }
    }

    /// The tiles of `view`, if any were asked for.
    pub(crate) fn tiles(&self, session: &Session<'_>, view: &PixelView<'_>) -> Result<Option<Tiles>> {
        let most = self.any_res.map(|(rows, columns)| Tiles { rows, columns });
        most.map(|most| session.fit_tiles(most, view)).transpose()
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

/// How a photo becomes the size that the model sees.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Resize {
    /// Bit-exact Pillow resampling, as the model was trained with
    Exact,
    /// fast_image_resize: quicker on large photos, a few levels off
    Fast,
}

/// Preprocesses `view` into the session's first frame.
pub(crate) fn preprocess(session: &mut Session<'_>, resize: Resize, view: &PixelView<'_>) -> Result<()> {
    match resize {
        Resize::Exact => session.preprocess(core::slice::from_ref(view)),
        Resize::Fast => {
            let spec = *session.frame_spec()?;
            let mut frame = vec![0; spec.frame_len()];
            fast::resize_fast(&spec, view, &mut frame)?;
            session.set_frame(0, &frame)
        }
    }
}
