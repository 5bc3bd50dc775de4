//! What the subcommands share: opening models, finding labels, printing.

use clap::ValueEnum;
use ocelli::atomic::write_atomically;
use ocelli::format::LabelBank;
use ocelli::format::{Bank, Scoring};
use ocelli::preprocess::decode::{self, DecodedImage, Limits};
use ocelli::preprocess::{PixelView, TileBox, Tiles};
use ocelli::text::{TextTokenizer, embed_labels, read_labels, templates};
use ocelli::{Error, Model, Options, Result, Session, knobs};
use std::collections::HashSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Why a command ends early.
pub(crate) enum Failure {
    /// Something that the user should read.
    Error(Error),
    /// stdout was closed.
    Pipe,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Error(error)
    }
}

impl From<io::Error> for Failure {
    fn from(source: io::Error) -> Failure {
        match source.kind() {
            io::ErrorKind::BrokenPipe => Failure::Pipe,
            _ => Failure::Error(Error::Io { action: "write to stdout", source }),
        }
    }
}

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

/// A part of an image as `[left, top, width, height]`.
pub(crate) fn box_json(part: TileBox) -> serde_json::Value {
    serde_json::json!([part.left, part.top, part.width, part.height])
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

/// Options that name the labels.
#[derive(clap::Args)]
pub(crate) struct LabelArgs {
    /// Labels, separated by commas
    #[arg(long, value_name = "A,B,C", value_delimiter = ',', group = "source")]
    pub(crate) labels: Option<Vec<String>>,
    /// A UTF-8 text file with one label per line
    #[arg(long, value_name = "FILE", group = "source")]
    pub(crate) labels_file: Option<PathBuf>,
    /// Prompt template with {} for the label; may be given several times, the embeddings are averaged
    #[arg(long, value_name = "TEXT")]
    pub(crate) template: Vec<String>,
}

impl LabelArgs {
    /// Whether labels or a template were asked for.
    pub(crate) fn given(&self) -> bool {
        self.labels.is_some() || self.labels_file.is_some() || !self.template.is_empty()
    }

    /// The labels that were asked for, if any were, to be scored as `scoring` says.
    fn labels(&self, scoring: Option<Scoring>) -> Result<Option<Vec<String>>> {
        let labels: Vec<String> = match (&self.labels, &self.labels_file) {
            (Some(labels), _) => labels.iter().map(|label| label.trim().to_owned()).collect(),
            (None, Some(path)) => read_labels(path)?,
            (None, None) => return Ok(None),
        };
        if labels.iter().all(String::is_empty) {
            return Err(Error::Message("--labels is empty; give labels, separated by commas".into()));
        }
        let mut seen = HashSet::new();
        let effect = match scoring {
            Some(Scoring::Softmax) => "; its probability is split between the two",
            _ => "",
        };
        for label in labels.iter().filter(|label| !seen.insert(*label)) {
            warn(format_args!("label {label:?} is given twice{effect}"));
        }
        Ok(Some(labels))
    }

    /// Embeds the labels that were asked for, if any were.
    fn embed(&self, args: &ModelArgs, model: &Model) -> Result<Option<LabelBank>> {
        let scoring = Scoring::from_stored(model.file().config().score.kind);
        let Some(labels) = self.labels(scoring)? else { return Ok(None) };
        let templates = templates(&self.template)?;
        if !model.file().has_text() && model.file().labels().next().is_some() {
            return Err(args.blame(Error::Message(
                "this model has classes of its own and no text tower: leave the labels out to use them"
                    .into(),
            )));
        }
        let tokenizer = TextTokenizer::new(model.file()).map_err(|error| args.blame(error))?;
        let mut session = Session::new(model, &Options { vision: false, ..args.options()? })?;
        let config = model.file().config();
        let mut cut = |message| warn(format_args!("{message}"));
        embed_labels(&mut session, config, &tokenizer, &labels, &templates, &mut cut).map(Some)
    }
}

/// The labels to score against: those asked for, a bank's, or the model's own.
pub(crate) enum Labels<'m> {
    Owned(LabelBank),
    Model(Bank<'m>),
}

impl Labels<'_> {
    pub(crate) fn bank(&self) -> Bank<'_> {
        match self {
            Labels::Owned(bank) => bank.as_bank(),
            Labels::Model(bank) => *bank,
        }
    }
}

/// Opens the label bank in `path`.
pub(crate) fn open_bank(path: &Path) -> Result<LabelBank> {
    LabelBank::open(path).map_err(|error| match &error {
        Error::InFile { source, .. } if matches!(**source, Error::Format { .. }) => {
            Error::Message(format!("{error}; copy it again, or make it again with ocelli labels"))
        }
        _ => error,
    })
}

/// The labels that `args` ask for, or the model's own.
pub(crate) fn find_labels<'m>(
    args: &LabelArgs,
    model_args: &ModelArgs,
    model: &'m Model,
) -> Result<Labels<'m>> {
    if let Some(bank) = args.embed(model_args, model)? {
        return Ok(Labels::Owned(bank));
    }
    match model.file().bank() {
        Some(bank) if args.template.is_empty() => Ok(Labels::Model(bank)),
        Some(bank) => {
            // The model's own labels under other templates.
            let labels = Some(bank.labels().map(str::to_owned).collect());
            let args = LabelArgs { labels, labels_file: None, template: args.template.clone() };
            Ok(Labels::Owned(args.embed(model_args, model)?.expect("labels were given")))
        }
        None if !model.file().has_text() && model.file().config().score.kind == Scoring::Embedding as u32 => {
            let message = "this model gives embeddings only: it has neither classes nor a text tower to compare \
                           labels with; use ocelli embed";
            Err(model_args.blame(Error::Message(message.into())))
        }
        None => Err(model_args.blame(Error::Message(
            "this model carries no labels; give some with --labels, --labels-file or --bank".into(),
        ))),
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

/// Decodes `path` for the session's frame, and says what was wrong with it; errors name it.
pub(crate) fn decode(session: &Session<'_>, resize: Resize, path: &Path) -> Result<DecodedImage> {
    let mut options = decode::Options::default();
    if let Some(max_pixels) = knobs::max_pixels()? {
        options.limits = Limits::new(max_pixels);
    }
    if resize == Resize::Fast {
        options.fast_for = Some(*session.frame_spec()?);
    }
    let image = decode::decode_file(path, &options)?;
    image.warnings().iter().for_each(|problem| warn(format_args!("{}: {problem}", path.display())));
    Ok(image)
}

/// Writes `bytes` to `path`, whole or not at all.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomically(path, |file| {
        file.write_all(bytes).map_err(|source| Error::Io { action: "write", source }.in_file(path))
    })
}

/// Tells the user something on stderr. That nobody may read it (`ocelli … 2>&1 | head`) is no failure.
pub(crate) fn tell(message: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{message}");
}

/// Prints a warning.
pub(crate) fn warn(message: std::fmt::Arguments<'_>) {
    tell(format_args!("ocelli: warning: {message}"));
}

/// Prints why something failed, on one line: messages of some libraries end with a line break.
pub(crate) fn complain(error: &Error) {
    tell(format_args!("ocelli: {}", error.to_string().trim_end()));
}

/// Milliseconds since `start`.
pub(crate) fn ms_since(start: std::time::Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

/// Milliseconds as they are printed: microseconds are the last digit.
pub(crate) fn round_ms(ms: f64) -> f64 {
    (ms * 1e3).round() / 1e3
}

/// `value` with as many digits as an f32 has: 0.1, not 0.10000000149011612.
pub(crate) fn number(value: f32) -> serde_json::Value {
    value.to_string().parse::<f64>().map_or(serde_json::Value::Null, serde_json::Value::from)
}

/// Writes `value` as one line.
pub(crate) fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value).map_err(io::Error::from)?;
    out.write_all(b"\n")?;
    Ok(())
}
