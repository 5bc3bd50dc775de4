//! From a checkpoint to a packed file.

use crate::encoders::text_encoder;
use crate::error::{Error, Result};
use crate::families::{ModelOptions, OTHER_TOWER, Origin, Recognised, identify, recognise};
use crate::progress::{Progress, Silent};
use crate::quant::{
    self, AccuracyReport, Canonical, Labels, MergeTokens, Precision, QuantizeOptions, Recipe, Source,
};
use crate::read::{check, read_rows};
use crate::source::{Checkpoint, SourceFile, SourceRepository, Tensors, hash, hex};
use ocelli::excerpt;
use ocelli::format::{Config, LabelBank, Merging, TensorSpec, for_each_tensor};
use ocelli::text::templates;
use serde::Serialize;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

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
    pub model: ModelOptions,
    /// Labels that the packed file carries, ready to score against.
    pub labels: Option<LabelSet>,
    /// Where the checkpoint was downloaded from, for the packed file's provenance.
    pub repository: Option<SourceRepository>,
    /// How tokens of images are merged, where nothing is measured; what is measured says it itself.
    pub merging: Merging,
    /// What the packed model must keep of the f32 one; `None` to measure nothing. `auto` needs it.
    pub quantize: Option<QuantizeOptions>,
}

impl ConvertOptions {
    /// Everything in the checkpoint, in `precision`.
    pub fn new(checkpoint: impl Into<PathBuf>, output: impl Into<PathBuf>, precision: Precision) -> Self {
        ConvertOptions {
            checkpoint: checkpoint.into(),
            output: output.into(),
            precision,
            model: ModelOptions::default(),
            labels: None,
            repository: None,
            merging: Merging::NONE,
            quantize: (precision == Precision::Auto).then(QuantizeOptions::default),
        }
    }
}

/// Labels, and the prompts to embed them with.
#[derive(Clone, Debug, Default)]
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
    /// Where the checkpoint was downloaded from, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<SourceRepository>,
    /// What was measured, if that was asked for.
    #[serde(rename = "promise", skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<AccuracyReport>,
    /// Every tensor of the packed file.
    pub tensors: Vec<Used>,
    /// Every tensor of the checkpoint that was left out.
    pub ignored: Vec<Ignored>,
    /// The files that were read.
    pub files: Vec<SourceFile>,
    /// What was done that may not have been meant.
    pub warnings: Vec<String>,
}

/// The text of the PROVENANCE section.
#[derive(Serialize)]
struct Provenance<'a> {
    converter: &'a str,
    precision: Precision,
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<&'a SourceRepository>,
    files: &'a [SourceFile],
    ignored: &'a [Ignored],
    #[serde(rename = "promise", skip_serializing_if = "Option::is_none")]
    accuracy: Option<&'a AccuracyReport>,
}

/// Converts a checkpoint. Whatever stands at the output is replaced only when the new file is complete.
///
/// # Errors
/// What in the checkpoint is missing, unknown, mis-shaped or not supported, by name; or what the system says.
pub fn convert(options: &ConvertOptions) -> Result<Report> {
    convert_with(options, &Silent)
}

/// As [`convert`], and tells `progress` of it.
///
/// # Errors
/// As [`convert`].
pub fn convert_with(options: &ConvertOptions, progress: &dyn Progress) -> Result<Report> {
    let mut opened = Opened::new(options)?;
    let bank = match &options.labels {
        Some(set) if opened.recognised.config.score.classes > 0 => {
            name_classes(&mut opened.recognised, set)?;
            None
        }
        labels => labels.as_ref().map(|labels| embed(options, labels, progress)).transpose()?,
    };
    let Opened { demands, origins, ignored, files, id, .. } = &opened;
    let source = opened.source();
    let mut canonical = opened.canonical(&source, &options.output);
    let (recipe, accuracy, merging) = recipe(&canonical, options, bank.as_ref(), progress)?;
    let config = with_merging(canonical.config, merging)?;
    canonical.config = &config;
    let provenance = Provenance {
        converter: concat!("ocelli-pack ", env!("CARGO_PKG_VERSION")),
        precision: options.precision,
        repository: options.repository.as_ref(),
        files,
        ignored,
        accuracy: accuracy.as_ref(),
    };
    let provenance = serde_json::to_string(&provenance).map_err(Error::json(&options.output))?;
    progress.begin("weights", demands.iter().map(|demand| (demand.n * demand.k) as u64).sum());
    let bank = bank.as_ref().map(|bank| bank.as_bank().to_bytes());
    let bytes = canonical.write(&recipe, &provenance, bank.as_deref(), progress)?;
    progress.end();

    let used = demands.iter().zip(&recipe.tensors).zip(origins).map(|((demand, treatment), origin)| Used {
        name: demand.name.as_str().into(),
        from: origin.names().map(|name| format!("{}{name}", opened.tensors.prefix())).collect(),
        dtype: treatment.dtype.name(),
        n: demand.n,
        k: demand.k,
    });
    Ok(Report {
        output: options.output.clone(),
        bytes,
        precision: options.precision,
        checkpoint_id: hex(id),
        repository: options.repository.clone(),
        accuracy,
        tensors: used.collect(),
        ignored: ignored.clone(),
        files: files.clone(),
        warnings: opened.warnings(),
    })
}

/// A checkpoint that was understood, its tensors checked.
pub(crate) struct Opened {
    tensors: Tensors,
    recognised: Recognised,
    demands: Vec<TensorSpec>,
    origins: Vec<Origin>,
    ignored: Vec<Ignored>,
    files: Vec<SourceFile>,
    id: [u8; 16],
    /// Reading moves the file's position, so readers take turns.
    reading: Mutex<()>,
}

impl Opened {
    /// Opens the checkpoint of `options`.
    pub(crate) fn new(options: &ConvertOptions) -> Result<Opened> {
        let checkpoint = Checkpoint::locate(&options.checkpoint)?;
        let tensors = Tensors::open(&checkpoint.weights)?;
        let mut recognised = recognise(&checkpoint, &tensors, &options.model)?;
        let (demands, origins) = demands(&recognised, &tensors)?;
        let ignored = leftovers(&recognised, &tensors, &origins)?;
        refuse_to_overwrite(
            &options.output,
            checkpoint
                .weights
                .iter()
                .chain([&recognised.path])
                .chain(&recognised.files)
                .map(PathBuf::as_path),
        )?;
        let (mut files, id) = identify(&recognised.path, &checkpoint)?;
        recognised.config.checkpoint_id = id;
        for path in &recognised.files {
            files.push(hash(path)?.0);
        }
        Ok(Opened { tensors, recognised, demands, origins, ignored, files, id, reading: Mutex::new(()) })
    }

    /// What the user may not have meant.
    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let others = self.ignored.iter().filter(|ignored| ignored.reason == OTHER_TOWER).count();
        if others > 0 {
            let path = self.recognised.path.display();
            warnings.push(format!(
                "{others} tensors are {OTHER_TOWER}: ignored, since {path} describes one tower alone"
            ));
        }
        if !self.tensors.prefix().is_empty() {
            let prefix = self.tensors.prefix();
            warnings.push(format!("the name of every tensor starts with {:?}: left out", excerpt(prefix)));
        }
        warnings
    }

    /// Reads rows of a demanded tensor.
    pub(crate) fn source(&self) -> impl Fn(usize, Range<usize>, &mut [f32]) -> Result<()> + Sync {
        let Opened { tensors, demands, origins, reading, .. } = self;
        move |i, rows, out| {
            let _turn = reading.lock();
            read_rows(tensors, &demands[i], &origins[i], rows, out)
        }
    }

    /// The model, which is read through `source` and will be packed to `output`.
    pub(crate) fn canonical<'s>(&'s self, source: &'s Source<'s>, output: &'s Path) -> Canonical<'s> {
        Canonical {
            config: &self.recognised.config,
            demands: self.demands.clone(),
            source,
            tokenizer: self.recognised.tokenizer.as_deref(),
            classes: &self.recognised.labels,
            output,
        }
    }
}

/// How every tensor is stored, and what was measured on that if it was asked for.
fn recipe(
    canonical: &Canonical<'_>,
    options: &ConvertOptions,
    bank: Option<&LabelBank>,
    progress: &dyn Progress,
) -> Result<(Recipe, Option<AccuracyReport>, Merging)> {
    let Some(quantize) = &options.quantize else {
        return Ok((Recipe::plain(&canonical.demands, options.precision), None, options.merging));
    };
    let set = options.labels.clone().unwrap_or_default();
    let templates = templates(&set.templates)?;
    let labels = Labels { labels: &set.labels, templates: &templates, bank };
    // What cannot be merged is said before hours of measuring.
    if let Some(MergeTokens::Fixed(merging)) = quantize.merge {
        with_merging(canonical.config, merging)?;
    } else if quantize.merge.is_some() {
        if quantize.pictures.is_none() || quantize.target.is_none() {
            return Err(Error::options(
                "--merge-tokens auto needs --calibrate DIR, photos like those to come, and --target-cosine X",
            ));
        }
        with_merging(canonical.config, Merging { most: 1, ..Merging::NONE })?;
    }
    let (recipe, accuracy, merging) = quant::plan(canonical, options.precision, quantize, labels, progress)?;
    Ok((recipe, Some(accuracy), merging))
}

/// `config` with tokens merged as `merging` says.
fn with_merging(config: &Config, merging: Merging) -> Result<Config> {
    let mut config = *config;
    let vision = &mut config.vision;
    if merging.is_none() {
        return Ok(config);
    }
    let problem = if vision.tower.depth < 2 {
        Some("it has no image tower of two blocks or more".into())
    } else if let Some(why) = vision.no_merging() {
        Some(why.to_owned())
    } else if merging.most as usize > vision.patches() / 2 {
        Some(format!("at most half of its {} patches at once, not {}", vision.patches(), merging.most))
    } else if merging.first + 2 > vision.tower.depth {
        Some(format!("its last block that may merge is {}, not {}", vision.tower.depth - 2, merging.first))
    } else {
        None
    };
    if let Some(problem) = problem {
        return Err(Error::options(format!("--merge-tokens: this model cannot do that: {problem}")));
    }
    vision.tower.set_merging(merging);
    Ok(config)
}

/// Gives the classes of a supervised classifier the names that were asked for.
fn name_classes(recognised: &mut Recognised, set: &LabelSet) -> Result<()> {
    let (classes, names) = (recognised.config.score.classes as usize, &set.labels);
    let unusable = |name: &&String| name.trim().is_empty() || name.contains('\n');
    let problem = match names.iter().find(unusable) {
        _ if names.len() != classes => {
            format!("{} labels were given, but the classifier has {classes} classes", names.len())
        }
        Some(name) => format!("the label {:?} cannot name a class", excerpt(name)),
        None => {
            recognised.labels = names.clone();
            return Ok(());
        }
    };
    Err(Error::options(problem))
}

/// Embeds labels with the text tower in half precision, whatever the precision of the output and even if that has no
/// text tower: through a packed file that lives only meanwhile.
fn embed(options: &ConvertOptions, set: &LabelSet, progress: &dyn Progress) -> Result<LabelBank> {
    let templates = templates(&set.templates)?;
    let model = ModelOptions { vision_only: false, ..options.model.clone() };
    let opened = Opened::new(&ConvertOptions { model, ..options.clone() })?;
    let source = opened.source();
    let canonical = opened.canonical(&source, &options.output);
    let model = canonical.draft(Recipe::plain(&canonical.demands, Precision::Fp16), None)?.model;
    let mut cut = |message: String| progress.warn(&message);
    Ok(text_encoder(&model)?.embed_labels(&set.labels, &templates, &mut cut)?)
}

/// An output that is one of the inputs would replace the checkpoint by what was made of it.
pub(crate) fn refuse_to_overwrite<'p>(
    output: &Path,
    mut inputs: impl Iterator<Item = &'p Path>,
) -> Result<()> {
    if output.is_dir() {
        return Err(Error::file(output, "is a folder: name the file to write, as in model.ocelli"));
    }
    let Ok(output) = output.canonicalize() else { return Ok(()) };
    match inputs.find(|input| input.canonicalize().is_ok_and(|input| input == output)) {
        None => Ok(()),
        Some(_) => Err(Error::file(&output, "is part of what is read: choose another output")),
    }
}

/// What the configuration demands, and where it comes from; shapes and types are checked.
fn demands(recognised: &Recognised, tensors: &Tensors) -> Result<(Vec<TensorSpec>, Vec<Origin>)> {
    let (mut demands, mut origins) = (Vec::new(), Vec::new());
    for_each_tensor(&recognised.config, &mut |demand: TensorSpec| {
        let origin = (recognised.origin)(&demand);
        check(tensors, &demand, &origin)?;
        demands.push(demand);
        origins.push(origin);
        Ok::<(), Error>(())
    })?;
    Ok((demands, origins))
}

/// The tensors that nothing demands; an error if one of them has no business in such a checkpoint.
fn leftovers(recognised: &Recognised, tensors: &Tensors, origins: &[Origin]) -> Result<Vec<Ignored>> {
    let used: BTreeSet<String> = origins.iter().flat_map(Origin::names).collect();
    let mut ignored = Vec::new();
    for name in tensors.names() {
        if used.contains(name) || recognised.scalars.iter().any(|scalar| scalar == name) {
            continue;
        }
        let reason = (recognised.ignore)(name)
            .ok_or_else(|| Error::tensor(name, "is unknown: the configuration has no use for it"))?;
        ignored.push(Ignored { name: format!("{}{name}", tensors.prefix()), reason: reason.into() });
    }
    Ok(ignored)
}
