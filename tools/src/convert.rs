//! From a checkpoint to a packed file.

use crate::families::{Origin, Recognised, Wishes, identify, recognise};
use crate::quant::Precision;
use crate::read::{check, read_rows};
use crate::source::{Checkpoint, SourceFile, Tensors, hash, hex};
use crate::write::{Contents, Planned, write};
use crate::{Error, Result};
use indicatif::{ProgressBar, ProgressStyle};
use ocelli::format::{Demand, for_each_tensor};
use ocelli::score::OwnedBank;
use ocelli::text::{TextTokenizer, embed_labels, templates};
use ocelli::{Model, Options, Session};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What to convert, and how.
#[derive(Clone, Debug)]
pub struct ConvertOptions {
    /// The checkpoint's folder, its `.safetensors` file or its shard index.
    pub checkpoint: PathBuf,
    /// The packed file to write.
    pub output: PathBuf,
    /// How weights are stored.
    pub precision: Precision,
    /// What to leave out, and where the tokenizer is.
    pub wishes: Wishes,
    /// Labels that the packed file carries, ready to score against.
    pub labels: Option<LabelSet>,
    /// Shows progress; `ProgressBar::hidden()` for none.
    pub progress: ProgressBar,
}

impl ConvertOptions {
    /// Everything in the checkpoint, in `precision`, without a progress bar.
    pub fn new(checkpoint: impl Into<PathBuf>, output: impl Into<PathBuf>, precision: Precision) -> Self {
        ConvertOptions {
            checkpoint: checkpoint.into(),
            output: output.into(),
            precision,
            wishes: Wishes::default(),
            labels: None,
            progress: ProgressBar::hidden(),
        }
    }
}

/// Labels, and the prompts to embed them with.
#[derive(Clone, Debug)]
pub struct LabelSet {
    /// The labels.
    pub labels: Vec<String>,
    /// Prompt templates; the default one if empty.
    pub templates: Vec<String>,
}

/// A tensor of the packed file.
#[derive(Clone, Debug, Serialize)]
pub struct Used {
    /// Canonical name.
    pub name: String,
    /// Names in the checkpoint of everything that went into it.
    pub from: Vec<String>,
    /// Element type in the packed file.
    pub dtype: &'static str,
    /// Output channels, rows or elements.
    pub n: usize,
    /// Inputs or columns.
    pub k: usize,
}

/// A tensor of the checkpoint that is not in the packed file.
#[derive(Clone, Debug, Serialize)]
pub struct Ignored {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// What was done.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The packed file.
    pub output: PathBuf,
    /// Its length in bytes.
    pub bytes: u64,
    /// How weights are stored.
    pub precision: Precision,
    /// First 16 bytes of the SHA-256 over the checkpoint's files, in hexadecimal.
    pub checkpoint_id: String,
    /// Every tensor of the packed file.
    pub tensors: Vec<Used>,
    /// Every tensor of the checkpoint that was left out.
    pub ignored: Vec<Ignored>,
    /// The files that were read.
    pub files: Vec<SourceFile>,
}

/// The text of the PROVENANCE section.
#[derive(Serialize)]
struct Provenance<'a> {
    converter: &'a str,
    precision: Precision,
    files: &'a [SourceFile],
    ignored: &'a [Ignored],
}

/// Converts a checkpoint. Whatever stands at the output is replaced only when the new file is complete.
///
/// # Errors
/// What in the checkpoint is missing, unknown, mis-shaped or not supported, by name; or what the system says.
pub fn convert(options: &ConvertOptions) -> Result<Report> {
    let checkpoint = Checkpoint::locate(&options.checkpoint)?;
    let tensors = Tensors::open(&checkpoint.weights)?;
    let mut recognised = recognise(&checkpoint, &tensors, &options.wishes)?;
    let (planned, origins) = plan(&recognised, &tensors, options.precision)?;
    let ignored = leftovers(&recognised, &tensors, &origins)?;

    refuse_to_overwrite(&options.output, checkpoint.weights.iter().chain(&recognised.files))?;
    let (mut files, id) = identify(&checkpoint)?;
    recognised.config.checkpoint_id = id;
    for path in &recognised.files {
        files.push(hash(path)?.0);
    }
    let bank = options.labels.as_ref().map(|labels| embed(options, labels)).transpose()?;
    let provenance = Provenance {
        converter: concat!("ocelli-pack ", env!("CARGO_PKG_VERSION")),
        precision: options.precision,
        files: &files,
        ignored: &ignored,
    };
    let provenance = serde_json::to_string(&provenance).map_err(Error::json(&options.output))?;
    let contents = Contents {
        config: &recognised.config,
        tokenizer: recognised.tokenizer.as_deref(),
        provenance: &provenance,
        bank: bank.as_ref().map(OwnedBank::bytes),
        labels: &recognised.labels,
        tensors: &planned,
    };
    let progress = &options.progress;
    progress.set_length(planned.iter().map(|tensor| (tensor.demand.n * tensor.demand.k) as u64).sum());
    progress.set_style(style());
    let bytes = write(&options.output, &contents, &mut |i, rows, out| {
        read_rows(&tensors, &planned[i].demand, &origins[i], rows, out)?;
        progress.inc(out.len() as u64);
        Ok(())
    })?;
    progress.finish_and_clear();

    let used = planned.iter().zip(origins).map(|(tensor, origin)| Used {
        name: tensor.demand.name.as_str().into(),
        from: origin.names().map(String::from).collect(),
        dtype: tensor.dtype.name(),
        n: tensor.demand.n,
        k: tensor.demand.k,
    });
    Ok(Report {
        output: options.output.clone(),
        bytes,
        precision: options.precision,
        checkpoint_id: hex(&id),
        tensors: used.collect(),
        ignored,
        files,
    })
}

/// Embeds labels with the text tower in half precision, whatever the precision of the output and even if that has no
/// text tower: through a packed file that lives only meanwhile, beside the output.
fn embed(options: &ConvertOptions, set: &LabelSet) -> Result<OwnedBank> {
    let templates = templates(&set.templates)?;
    let beside = options.output.parent().filter(|path| !path.as_os_str().is_empty());
    let directory = tempfile::tempdir_in(beside.unwrap_or(Path::new(".")))
        .map_err(Error::io("make a temporary folder beside", &options.output))?;
    let full = ConvertOptions {
        output: directory.path().join("labels.ocelli"),
        precision: Precision::Fp16,
        wishes: Wishes { vision_only: false, ..options.wishes.clone() },
        labels: None,
        progress: ProgressBar::hidden(),
        checkpoint: options.checkpoint.clone(),
    };
    convert(&full)?;
    let model = Model::open(&full.output)?;
    let session = Options { vision: false, ..Options::from_environment()? };
    let mut session = Session::new(&model, &session)?;
    let tokenizer = TextTokenizer::new(model.file())?;
    let mut cut = |message| eprintln!("ocelli-pack: warning: {message}");
    let config = model.file().config();
    Ok(embed_labels(&mut session, config, &tokenizer, &set.labels, &templates, &mut cut)?)
}

/// An output that is one of the inputs would replace the checkpoint by what was made of it.
fn refuse_to_overwrite<'p>(output: &Path, mut inputs: impl Iterator<Item = &'p PathBuf>) -> Result<()> {
    let Ok(output) = output.canonicalize() else { return Ok(()) };
    match inputs.find(|input| input.canonicalize().is_ok_and(|input| input == output)) {
        None => Ok(()),
        Some(_) => Err(Error::file(&output, "is part of the checkpoint: choose another output")),
    }
}

fn style() -> ProgressStyle {
    let style = ProgressStyle::with_template("{bar:40} {human_pos} of {human_len} weights, {eta} left");
    style.unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// What the configuration demands, and where it comes from; shapes and types are checked.
fn plan(
    recognised: &Recognised,
    tensors: &Tensors,
    precision: Precision,
) -> Result<(Vec<Planned>, Vec<Origin>)> {
    let (mut planned, mut origins) = (Vec::new(), Vec::new());
    for_each_tensor(&recognised.config, &mut |demand: Demand| {
        let origin = (recognised.origin)(&demand);
        check(tensors, &demand, &origin)?;
        let dtype = precision.dtype(demand.name.as_str(), demand.kind);
        planned.push(Planned { demand, dtype, magnitude: precision.magnitude(demand.kind) });
        origins.push(origin);
        Ok::<(), Error>(())
    })?;
    Ok((planned, origins))
}

/// The tensors that nothing demands; an error if one of them has no business in such a checkpoint.
fn leftovers(recognised: &Recognised, tensors: &Tensors, origins: &[Origin]) -> Result<Vec<Ignored>> {
    let used: BTreeSet<&str> = origins.iter().flat_map(Origin::names).collect();
    let mut ignored = Vec::new();
    for name in tensors.names() {
        if used.contains(name) || recognised.scalars.iter().any(|scalar| scalar == name) {
            continue;
        }
        let reason = (recognised.ignore)(name)
            .ok_or_else(|| Error::tensor(name, "is unknown: the configuration has no use for it"))?;
        ignored.push(Ignored { name: name.into(), reason: reason.into() });
    }
    Ok(ignored)
}
