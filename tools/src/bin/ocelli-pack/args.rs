//! The command line.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand};
use clap_complete::Shell;
use ocelli::format::Merging;
use ocelli_tools::families::ModelOptions;
use ocelli_tools::quant::{
    DEFAULT_IMAGES, DEFAULT_TARGET, MergeTokens, QuantizeOptions, Repair, parse_repairs,
};
use ocelli_tools::{ConvertOptions, LabelSet, Precision, Result};
use std::path::PathBuf;

/// Turns checkpoints into packed .ocelli files, and inspects and verifies them.
///
/// Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 failed, 2 wrong usage.
#[derive(Parser)]
#[command(name = "ocelli-pack", version)]
pub(crate) struct Cli {
    /// Show no progress and no list of tensors: only results, warnings and errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Convert a checkpoint to a packed file
    ///
    /// Reads the folder of a CLIP, SigLIP, ViT, MAE or DINO of transformers (config.json, model.safetensors or shards
    /// with their index, preprocessor_config.json or processor_config.json, and the tokenizer's files), of an OpenCLIP
    /// (open_clip_config.json, open_clip_model.safetensors) or of a timm ViT or EVA; docs/models.md lists them. Whatever
    /// is missing, unknown or not supported is named and nothing is written; an interrupted conversion leaves an
    /// older output as it was.
    Convert {
        /// The checkpoint's folder, its .safetensors file or its shard index; or hf:ORG/NAME or
        /// hf:ORG/NAME@REVISION, which is downloaded first, as `pull` does
        #[arg(value_name = "CHECKPOINT")]
        checkpoint: PathBuf,
        /// The packed file to write
        #[arg(short, long, value_name = "FILE.ocelli")]
        output: PathBuf,
        #[command(flatten)]
        convert: ConvertArgs,
        /// Print the report as JSON to standard output
        #[arg(long)]
        json: bool,
    },
    /// Download a checkpoint by its name and convert it
    ///
    /// NAME is a repository of huggingface.co, as in openai/clip-vit-base-patch32, or a model as open_clip and Immich
    /// call it, as in ViT-B-32__openai: --list shows those. Only the files that the conversion needs are downloaded, into
    /// the cache that Python's huggingface_hub uses too; what breaks off is resumed the next time, and every file is
    /// checked against the hash that the hub has. Then as `convert`.
    ///
    /// Environment: HF_ENDPOINT, another hub; HF_HUB_CACHE or HF_HOME, where files are kept; HF_TOKEN or the file that a
    /// login wrote, for private and gated repositories; HF_HUB_OFFLINE=1, nothing is downloaded; HTTPS_PROXY, HTTP_PROXY,
    /// NO_PROXY; SSL_CERT_FILE; HF_HUB_DOWNLOAD_TIMEOUT, seconds that a server may be silent.
    #[cfg(feature = "hub")]
    Pull {
        /// ORG/NAME, ORG/NAME/FILE (both also with @REVISION) or a name of the list
        #[arg(required_unless_present = "list")]
        name: Option<String>,
        /// The packed file to write [default: NAME.ocelli, without ORG/, in this folder]
        #[arg(short, long, value_name = "FILE.ocelli")]
        output: Option<PathBuf>,
        /// List the models that are known by name
        #[arg(long, conflicts_with_all = ["name", "output"])]
        list: bool,
        /// With their size in int8 and the time for an image that is predicted for a Raspberry Pi 4 and 5
        #[arg(long, requires = "list", conflicts_with = "name")]
        costs: bool,
        #[command(flatten)]
        convert: ConvertArgs,
        /// Print the report, or each model of the list, as JSON to standard output
        #[arg(long)]
        json: bool,
    },
    /// Put the image tower of one packed file and the text tower of another into one
    ///
    /// For text towers that come alone, as M-CLIP's: convert both checkpoints, then join them. Embeddings must have the
    /// same length; whether they were trained to meet, the files cannot tell. Preprocessing, scores and label banks are
    /// those of the image tower's checkpoint.
    Join {
        /// The packed file with the image tower
        image: PathBuf,
        /// The packed file with the text tower
        text: PathBuf,
        /// The packed file to write
        #[arg(short, long, value_name = "FILE.ocelli")]
        output: PathBuf,
    },
    /// Show header, configuration, provenance and tensors of a packed file
    Inspect {
        /// The packed file
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Measure how good a model is: zero-shot accuracy, or retrieval and the training loss
    ///
    /// With labels: top-1, top-5 and a confusion table. With texts: recall@1, 5 and 10 both ways, and the symmetric
    /// InfoNCE loss (CLIP) or the sigmoid loss (SigLIP) over all pairs as one batch.
    Eval {
        /// The packed model
        model: PathBuf,
        /// A folder with one folder of pictures per class, or a CSV file with the columns image and label, or image and
        /// text; paths in it are relative to the file
        #[arg(long, value_name = "DIR|CSV")]
        images: PathBuf,
        /// Prompt template with {} for the label; several are averaged
        #[arg(long, value_name = "TEXT")]
        template: Vec<String>,
        /// Score with the labels of this bank, made by `ocelli labels` of the same checkpoint: needs no text tower
        #[arg(long, value_name = "FILE", conflicts_with = "template")]
        bank: Option<PathBuf>,
        /// Merge tokens of this model in another way than its file says, to see what that costs: as `convert` has it, without
        /// auto; 0 for not at all
        #[arg(long, value_name = "MOST:FIRST:POWER")]
        merge_tokens: Option<Merging>,
        /// Compare with this model: cosines, agreement, difference in accuracy with its 95 % interval
        #[arg(long, value_name = "OTHER.ocelli")]
        against: Option<PathBuf>,
        /// Write a page with plots: signal-to-noise ratios, cosines, confusion, reliability
        #[arg(long, value_name = "OUT.html")]
        report: Option<PathBuf>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Check every invariant and every checksum of a packed file
    Verify {
        /// The packed file
        file: PathBuf,
    },
    /// Print a script that completes this command in a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write manual pages
    Man {
        /// The folder to write them to
        folder: PathBuf,
    },
}

/// How a checkpoint is converted.
#[derive(clap::Args)]
pub(crate) struct ConvertArgs {
    /// How weights are stored
    #[arg(long, default_value = "int8", value_parser = precision())]
    pub(crate) precision: Precision,
    /// Leave the text tower and the tokenizer out: for boards that use ready label banks
    #[arg(long)]
    pub(crate) vision_only: bool,
    /// Take the tokenizer from this folder instead of the checkpoint's
    #[arg(long, value_name = "DIR", conflicts_with = "vision_only")]
    pub(crate) tokenizer: Option<PathBuf>,
    /// Lower-case every text although the checkpoint's library does not: SigLIP 2 was trained on lower-case texts
    #[arg(long, conflicts_with = "vision_only")]
    pub(crate) lowercase: bool,
    /// Make the model see images of this size instead of the checkpoint's, in pixels: positions are interpolated
    /// as its library does it
    #[arg(long, value_name = "HxW", value_parser = pair)]
    pub(crate) image_size: Option<(u32, u32)>,
    /// Labels that the file carries, separated by commas: `ocelli classify` uses them when it is given none. For a
    /// supervised classifier, the names of its classes in their order
    #[arg(long, value_name = "A,B,C", value_delimiter = ',', group = "label_source")]
    pub(crate) labels: Option<Vec<String>>,
    /// The same from a UTF-8 text file with one label per line
    #[arg(long, value_name = "FILE", group = "label_source")]
    pub(crate) labels_file: Option<PathBuf>,
    /// Prompt template for those labels, with {} for the label; several are averaged
    #[arg(long, value_name = "TEXT", requires = "label_source")]
    pub(crate) template: Vec<String>,
    #[command(flatten)]
    pub(crate) quantize: QuantizeArgs,
}

impl ConvertArgs {
    /// The conversion that was asked for.
    pub(crate) fn options(self, checkpoint: PathBuf, output: PathBuf) -> Result<ConvertOptions> {
        let ConvertArgs { precision, vision_only, tokenizer, lowercase, image_size, .. } = self;
        let labels = match (self.labels, self.labels_file) {
            (Some(labels), _) => Some(labels.iter().map(|label| label.trim().to_owned()).collect()),
            (None, Some(path)) => Some(ocelli::text::read_labels(&path)?),
            (None, None) => None,
        };
        let mut options = ConvertOptions::new(checkpoint, output, precision);
        options.model = ModelOptions { vision_only, tokenizer, lowercase, image_size };
        options.labels = labels.map(|labels| LabelSet { labels, templates: self.template });
        if let Some(MergeTokens::Fixed(merging)) = self.quantize.merge_tokens {
            options.merging = merging;
        }
        options.quantize = self.quantize.options(precision);
        Ok(options)
    }
}

/// What is measured on the converted model, and what it must keep of the fp32 one.
#[derive(clap::Args)]
pub(crate) struct QuantizeArgs {
    /// Pictures to calibrate with and measure on: every JPEG, PNG, WebP and BMP in this folder and those inside it. 32
    /// are enough, and half of them are only measured on. Without a folder, --precision auto makes pictures up
    #[arg(long, value_name = "DIR")]
    calibrate: Option<PathBuf>,
    /// Most pictures to use, spread evenly over the folder
    #[arg(long, value_name = "N", default_value_t = DEFAULT_IMAGES as u32, value_parser = clap::value_parser!(u32).range(1..))]
    calibration_images: u32,
    /// Mean cosine that embeddings must keep with those of the fp32 model, images and texts each
    /// [default: 0.995 with --precision auto, none otherwise]
    #[arg(long, value_name = "X", value_parser = cosine)]
    target_cosine: Option<f64>,
    /// Time that auto may spend for accuracy beyond the target, in each tower next to all of it in int8, as predicted (1.1:
    /// a tenth more): the matrices that lose most per added time become fp16
    #[arg(long, value_name = "X", value_parser = budget)]
    time_budget: Option<f64>,
    /// Repairs that auto may try: smooth, clip, gptq, bias, half; or none. Each is kept only if the measured pictures (or
    /// texts) get better by more than chance; half, only if the target is missed without it or --time-budget is given
    #[arg(long, value_name = "LIST", value_parser = RepairList::parse, default_value = "smooth,clip,gptq,bias,half")]
    repair: RepairList,
    /// Merge the most alike tokens of patches after each block's attention (ToMe, arXiv 2210.09461): less time for some
    /// accuracy. auto merges as many as --target-cosine allows, measured on the pictures of --calibrate. MOST:FIRST:POWER
    /// (POWER, or both, may be left out) merges MOST tokens in the last block but one, from block FIRST (0) on a number
    /// that rises with this POWER (0 not at all, 1, 2 or 3). Patch embeddings are computed without
    #[arg(long, value_name = "auto|MOST:FIRST:POWER", value_parser = MergeTokens::parse)]
    merge_tokens: Option<MergeTokens>,
    /// Write the file even if it misses the target; it says so in the file
    #[arg(long)]
    allow_below_target: bool,
}

impl QuantizeArgs {
    /// What was asked for; nothing is measured unless something was.
    pub(crate) fn options(self, precision: Precision) -> Option<QuantizeOptions> {
        let auto = precision == Precision::Auto;
        let measured = self.merge_tokens == Some(MergeTokens::Auto);
        (auto || measured || self.calibrate.is_some() || self.target_cosine.is_some()).then(|| {
            QuantizeOptions {
                pictures: self.calibrate,
                images: self.calibration_images as usize,
                target: self.target_cosine.or(auto.then_some(DEFAULT_TARGET)),
                time_budget: self.time_budget,
                repairs: if auto { self.repair.0 } else { Vec::new() },
                merge: self.merge_tokens,
                allow_below_target: self.allow_below_target,
            }
        })
    }
}

#[derive(Clone, Debug)]
struct RepairList(Vec<Repair>);

impl RepairList {
    fn parse(list: &str) -> Result<RepairList, String> {
        parse_repairs(list).map(RepairList)
    }
}

/// A cosine that can be demanded.
fn cosine(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    if value > 0.0 && value <= 1.0 { Ok(value) } else { Err("a cosine from 0 to 1".into()) }
}

fn budget(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    if (1.0..=10.0).contains(&value) { Ok(value) } else { Err("a number from 1 to 10".into()) }
}

/// The names of precisions, each with what it means.
fn precision() -> impl TypedValueParser<Value = Precision> {
    let value = |precision: Precision| PossibleValue::new(precision.name()).help(precision.meaning());
    PossibleValuesParser::new(Precision::ALL.map(value)).try_map(|name| {
        Precision::ALL.into_iter().find(|precision| precision.name() == name).ok_or("no precision")
    })
}

/// `336x448`, height first, or `336` for both.
fn pair(text: &str) -> Result<(u32, u32), String> {
    let number = |text: &str| match text.parse::<u32>() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("{text:?} is no number above 0: expected two, as in 336x448, or one for both")),
    };
    match text.split_once('x') {
        Some((first, second)) => Ok((number(first)?, number(second)?)),
        None => number(text).map(|both| (both, both)),
    }
}
