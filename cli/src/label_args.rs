//! Where labels come from.

use crate::args::Opened;
use crate::console::Console;
use ocelli::format::{LabelBank, Scoring, bank};
use ocelli::text::{parse_labels, read_labels, templates};
use ocelli::{Classifier, Error, ImageEncoder, Model, Result, TextEncoder, excerpt, knobs};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// So many labels are embedded between two steps of the progress bar.
const STEP: usize = 8;

/// Options that name the labels.
#[derive(clap::Args)]
pub(crate) struct LabelArgs {
    /// Labels, separated by commas; one that has a comma in it stands in double quotes: 'cat,"dog, asleep"'
    #[arg(long, value_name = "A,B,C", group = "source")]
    pub(crate) labels: Option<Vec<String>>,
    /// A UTF-8 text file with one label per line, as `ocelli labels` prints them
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

    /// The labels that were asked for, if any were.
    fn labels(&self) -> Result<Option<Vec<String>>> {
        let labels: Vec<String> = match (&self.labels, &self.labels_file) {
            (Some(lists), _) => {
                lists.iter().map(|list| parse_labels(list)).collect::<Result<Vec<_>>>()?.concat()
            }
            (None, Some(path)) => read_labels(path)?,
            (None, None) => return Ok(None),
        };
        if labels.iter().all(String::is_empty) {
            let problem = "--labels is empty; give labels, separated by commas".into();
            return Err(Error::Labels { problem });
        }
        Ok(Some(labels))
    }

    /// Embeds `labels` with the templates that were asked for.
    fn embed(&self, labels: &[String], opened: &Opened, console: &Console) -> Result<LabelBank> {
        let config = opened.model.config();
        let templates = templates(&self.template)?;
        refuse_without_text(&opened.model).map_err(|error| opened.blame(error))?;
        warn_of_twins(labels, Scoring::from_stored(config.score.kind), console);
        if let Some(at) = labels.iter().position(|label| label.trim().is_empty()) {
            let problem = format!("label {} is empty: is there a comma too many?", at + 1);
            return Err(Error::Labels { problem });
        }
        let encoder = TextEncoder::new(&opened.model, &opened.runtime, &knobs::limits()?);
        let mut encoder = encoder.map_err(|error| opened.blame(error))?;
        encoder.tokenizer().map_err(|error| opened.blame(error))?;
        let mut cut = |message| console.warn(format_args!("{message}"));
        let mut embeddings = Vec::new();
        console.start(labels.len());
        for few in labels.chunks(STEP) {
            let bank = encoder.embed_labels(few, &templates, &mut cut)?;
            embeddings.extend_from_slice(bank.as_bank().embeddings());
            console.step(few.len());
        }
        console.done();
        let bytes = bank::write(labels, &templates, encoder.embed_dim(), &embeddings, config.checkpoint_id)?;
        LabelBank::new(&bytes)
    }
}

/// Says what else can be done with a model that cannot read labels. The rest is told by the tokenizer's absence.
fn refuse_without_text(model: &Model) -> Result<()> {
    let file = model.file();
    let remedy = if file.has_text() {
        return Ok(());
    } else if file.labels().next().is_some() {
        "it has classes of its own: leave the labels out to use them"
    } else if file.config().score.kind == Scoring::Embedding as u32 {
        "it gives embeddings only and cannot compare them with labels; show it pictures of each label with \
         ocelli labels --examples, or use a CLIP or SigLIP model"
    } else {
        return Ok(());
    };
    Err(Error::ModelLacks { part: "text tower", remedy })
}

/// Warns of labels that are given twice.
fn warn_of_twins(labels: &[String], scoring: Option<Scoring>, console: &Console) {
    let effect = match scoring {
        Some(Scoring::Softmax) => "; its probability is split between the two",
        _ => "",
    };
    let mut seen = HashSet::new();
    for label in labels.iter().filter(|label| !seen.insert(*label)) {
        console.warn(format_args!("label {:?} is given twice{effect}", excerpt(label)));
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

/// `encoder` with what images are scored against: the labels in `bank`, those that `labels` ask for, or the model's own.
pub(crate) fn classifier(
    encoder: ImageEncoder,
    bank: Option<&Path>,
    labels: &LabelArgs,
    opened: &Opened,
    console: &Console,
) -> Result<Classifier> {
    if let Some(path) = bank {
        return Classifier::new(encoder, open_bank(path)?).map_err(|error| error.in_file(path));
    }
    if opened.model.file().labels().next().is_some() && !labels.given() {
        return Classifier::of_classes(encoder);
    }
    let bank = find_labels(labels, opened, console)?;
    Classifier::new(encoder, bank)
}

/// The labels that `args` ask for, or the model's own.
pub(crate) fn find_labels(args: &LabelArgs, opened: &Opened, console: &Console) -> Result<LabelBank> {
    if let Some(labels) = args.labels()? {
        return args.embed(&labels, opened, console);
    }
    let file = opened.model.file();
    let (part, remedy) = match file.bank() {
        Some(bank) if args.template.is_empty() => return Ok(bank.into()),
        Some(bank) => {
            // The model's own labels under other templates.
            let labels: Vec<String> = bank.labels().map(str::to_owned).collect();
            return args.embed(&labels, opened, console);
        }
        None if !file.has_text() && file.config().score.kind == Scoring::Embedding as u32 => {
            let remedy = "it gives embeddings only, without a text tower to compare labels with; show it pictures of \
                          each label with ocelli labels --examples, and give that bank with --bank";
            ("classes", remedy)
        }
        None => ("labels in it", "give some with --labels, --labels-file or --bank"),
    };
    Err(opened.blame(Error::ModelLacks { part, remedy }))
}
