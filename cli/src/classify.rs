//! `ocelli classify`

mod report;

use crate::args::{self, ModelArgs, Resize, SizeArgs};
use crate::console::{Console, Failure, ms_since};
use crate::inputs::{Input, ListArgs};
use crate::label_args::{self, LabelArgs, Labels};
use ocelli::format::Scoring;
use ocelli::preprocess::{PixelView, TileBox, Tiles};
use ocelli::score::{Scored, normalize, score_logits};
use ocelli::{Model, Result, Session};
use report::Report;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Say what photos show: score them against labels.
///
/// Labels come from --labels, --labels-file or --bank (made by `ocelli labels`; needs no text tower), otherwise from
/// the model: a supervised classifier uses its own classes. With a CLIP the scores of all labels add up to 1; with a
/// SigLIP each is the probability of that label alone, whatever the others are, and all may be small. Images that cannot be read are reported on stderr, the
/// others are still classified, and the exit code is 1.
///
/// In JSON, an image whose name is not UTF-8 also has "image_bytes": the name, percent-encoded as in a URL.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// JPEG, PNG, WebP or BMP files; folders, whose pictures are taken, those of the folders in them too; - for stdin
    #[arg(required_unless_present = "files_from", value_name = "IMAGE")]
    images: Vec<PathBuf>,
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    size: SizeArgs,
    #[command(flatten)]
    labels: LabelArgs,
    /// A label bank made by `ocelli labels`
    #[arg(long, value_name = "FILE", group = "source", conflicts_with = "template")]
    bank: Option<PathBuf>,
    /// How many labels to show per image
    #[arg(long, short = 'k', value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    top_k: u32,
    /// How photos are resized
    #[arg(long, value_enum, default_value_t = Resize::Exact)]
    resize: Resize,
    /// Print one JSON object per image
    #[arg(long)]
    json: bool,
}

/// What images are scored against.
enum Target<'m> {
    Labels(Labels<'m>),
    /// The classes of the model's own classifier.
    Classes(Vec<&'m str>),
}

impl<'m> Target<'m> {
    fn find(args: &Args, model: &'m Model, console: &Console) -> Result<Target<'m>> {
        if let Some(path) = &args.bank {
            let bank = label_args::open_bank(path)?;
            bank.as_bank().check_fits(model.file().config()).map_err(|error| error.in_file(path))?;
            return Ok(Target::Labels(Labels::Owned(bank)));
        }
        let classes: Vec<&str> = model.file().labels().collect();
        if !classes.is_empty() && !args.labels.given() {
            return Ok(Target::Classes(classes));
        }
        label_args::find_labels(&args.labels, &args.model, model, console).map(Target::Labels)
    }

    fn len(&self) -> usize {
        match self {
            Target::Labels(labels) => labels.bank().len(),
            Target::Classes(classes) => classes.len(),
        }
    }

    fn name(&self, label: usize) -> String {
        match self {
            Target::Labels(labels) => labels.bank().label(label).to_owned(),
            Target::Classes(classes) => classes[label].to_owned(),
        }
    }

    /// Scores an embedding as the model gave it.
    fn score(&self, session: &mut Session<'_>, embedding: &mut [f32], scored: &mut [Scored]) -> Result<()> {
        match self {
            Target::Labels(labels) => {
                normalize(embedding);
                session.score(embedding, &labels.bank(), scored)
            }
            Target::Classes(classes) => {
                let mut logits = vec![0.0; classes.len()];
                session.logits_into(embedding, &mut logits)?;
                score_logits(&logits, scored);
                Ok(())
            }
        }
    }
}

/// What was found in an image.
struct Found {
    scored: Vec<Scored>,
    /// Every tile with its best label.
    tiles: Vec<(TileBox, Scored)>,
    times: Times,
}

/// Milliseconds that an image took.
#[derive(Default)]
struct Times {
    decode: f64,
    preprocess: f64,
    encode: f64,
    total: f64,
}

pub(crate) fn run(args: &Args, console: &Console) -> Result<ExitCode, Failure> {
    let inputs = args.list.inputs(&args.images)?;
    let model = args.model.open()?;
    let options = args.size.apply(args.model.options()?);
    let target = Target::find(args, &model, console)?;
    // A label that is judged for itself is not compared with the others.
    let alone = model.file().config().score.kind == Scoring::Sigmoid as u32;
    if target.len() == 1 && !alone {
        console.warn(format_args!(
            "one label alone always has 100 %, whatever the image shows: give others to compare it with"
        ));
    }
    let mut session = Session::new(&model, &ocelli::Options { text: false, ..options })?;
    let mut code = ExitCode::SUCCESS;
    console.start(inputs.len());
    for input in inputs {
        match input.and_then(|input| Ok((classify(args, &mut session, &target, &input)?, input))) {
            Ok((found, input)) => {
                let report = Report::new(args, &target, &input, &found);
                match args.json {
                    true => console.print_json(&report)?,
                    false => console.print(&report.text(alone))?,
                }
            }
            Err(error) => {
                console.complain(&error);
                code = ExitCode::FAILURE;
            }
        }
        console.step();
    }
    console.done();
    Ok(code)
}

fn classify(args: &Args, session: &mut Session<'_>, target: &Target<'_>, input: &Input) -> Result<Found> {
    let mut found =
        Found { scored: vec![Scored::default(); target.len()], tiles: Vec::new(), times: Times::default() };
    let start = Instant::now();
    let image = input.decode()?;
    found.times.decode = ms_since(start);
    let view = image.view();
    let result = match args.size.tiles(session, &view)? {
        Some(tiles) => by_tiles(session, target, &view, tiles, &mut found),
        None => at_once(args, session, target, &view, &mut found),
    };
    result.map_err(|error| error.in_file(input.path()))?;
    found.times.total = ms_since(start);
    Ok(found)
}

fn at_once(
    args: &Args,
    session: &mut Session<'_>,
    target: &Target<'_>,
    view: &PixelView<'_>,
    found: &mut Found,
) -> Result<()> {
    let preprocessing = Instant::now();
    args::preprocess(session, args.resize, view)?;
    found.times.preprocess = ms_since(preprocessing);
    let encoding = Instant::now();
    let mut embedding = vec![0.0; session.embed_dim()];
    session.encode_frames(1, &mut embedding)?;
    found.times.encode = ms_since(encoding);
    target.score(session, &mut embedding, &mut found.scored)
}

/// The mean over the image and its tiles, and each tile's best label. Preprocessing counts as encoding here.
fn by_tiles(
    session: &mut Session<'_>,
    target: &Target<'_>,
    view: &PixelView<'_>,
    tiles: Tiles,
    found: &mut Found,
) -> Result<()> {
    let encoding = Instant::now();
    let mut parts = Vec::new();
    let mut mean = vec![0.0; session.embed_dim()];
    session.embed_tiles_into(view, tiles, &mut mean, &mut |part, embedding| {
        parts.push((part, embedding.to_vec()));
    })?;
    found.times.encode = ms_since(encoding);
    if let Target::Classes(_) = target {
        // Classifiers average logits, which is linear in embeddings that are not normalised.
        for (i, mean) in mean.iter_mut().enumerate() {
            *mean = parts.iter().map(|(_, embedding)| embedding[i]).sum::<f32>() / parts.len() as f32;
        }
    }
    target.score(session, &mut mean, &mut found.scored)?;
    let mut scored = found.scored.clone();
    for (part, embedding) in parts.iter_mut().skip(1) {
        target.score(session, embedding, &mut scored)?;
        found.tiles.push((*part, scored[0]));
    }
    Ok(())
}
