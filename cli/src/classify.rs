//! `ocelli classify`

mod report;

use crate::args::{ModelArgs, Resize, SizeArgs};
use crate::console::{Console, Failure, ms_since};
use crate::decoders::{Decoded, each_decoded, preprocessors};
use crate::inputs::ListArgs;
use crate::label_args::{self, LabelArgs};
use ocelli::format::Scoring;
use ocelli::preprocess::{PixelView, TileBox, Tiles};
use ocelli::score::Scored;
use ocelli::{Classifier, Result};
use report::Report;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Say what photos show: score them against labels.
///
/// Labels come from --labels, --labels-file or --bank (made by `ocelli labels` of words or of example pictures; needs no
/// text tower), otherwise from the model: a supervised classifier uses its own classes. With a CLIP, and with a bank of
/// pictures, the scores of all labels add up to 1; with a
/// SigLIP each is the probability of that label alone, whatever the others are, and all may be small. Images that cannot be read are reported on stderr, the
/// others are still classified, and the exit code is 1.
///
/// In JSON, an image whose name is not UTF-8 also has "image_bytes": the name, percent-encoded as in a URL.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// JPEG, PNG, WebP, GIF, TIFF or BMP files; folders, whose pictures are taken, those of the folders in them too; - for stdin
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

/// What was found in an image.
struct Found {
    scored: Vec<Scored>,
    /// Every tile with its best label.
    tiles: Vec<(TileBox, Scored)>,
    times: Times,
}

/// Milliseconds that an image took. It is decoded and preprocessed while the one before is encoded.
#[derive(Default)]
struct Times {
    decode: f64,
    preprocess: f64,
    encode: f64,
    total: f64,
}

pub(crate) fn run(args: &Args, console: &Console) -> Result<ExitCode, Failure> {
    let inputs = args.list.inputs(&args.images)?;
    let opened = args.model.open()?;
    let encoder = args.size.encoder(&opened)?;
    let mut classifier =
        label_args::classifier(encoder, args.bank.as_deref(), &args.labels, &opened, console)?;
    let decoding = args.resize.decoding(classifier.encoder())?;
    // A label that is judged for itself is not compared with the others.
    let alone = opened.model.config().score.kind == Scoring::Sigmoid as u32;
    if classifier.labels().len() == 1 && !alone {
        console.warn(format_args!(
            "one label alone always has 100 %, whatever the image shows: give others to compare it with"
        ));
    }
    let mut code = ExitCode::SUCCESS;
    console.start(inputs.len());
    let tiles = args.size.any_res.is_some();
    let mut preprocessors = if tiles { Vec::new() } else { preprocessors(classifier.encoder()) };
    each_decoded(inputs, &decoding, &mut preprocessors, console, |decoded| -> Result<(), Failure> {
        let found =
            decoded.and_then(|decoded| Ok((classify(args, &mut classifier, &decoded, console)?, decoded)));
        match found {
            Ok((found, Decoded { input, .. })) => {
                let report = Report::new(args, &opened, classifier.labels(), &input, &found);
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
        console.step(1);
        Ok(())
    })?;
    console.done();
    Ok(code)
}

fn classify(args: &Args, classifier: &mut Classifier, decoded: &Decoded, console: &Console) -> Result<Found> {
    let scored = vec![Scored::default(); classifier.labels().len()];
    let times = Times { decode: decoded.ms, ..Times::default() };
    let mut found = Found { scored, tiles: Vec::new(), times };
    let view = decoded.image.view();
    let result = match args.size.tiles(classifier.encoder(), &view) {
        Some(tiles) => by_tiles(classifier, &view, tiles, &mut found, console),
        None => at_once(classifier, decoded, &mut found),
    };
    result.map_err(|error| error.in_file(decoded.input.path()))?;
    let times = &mut found.times;
    times.total = times.decode + times.preprocess + times.encode;
    Ok(found)
}

fn at_once(classifier: &mut Classifier, decoded: &Decoded, found: &mut Found) -> Result<()> {
    found.times.preprocess = decoded.preprocess(classifier.encoder_mut())?;
    let encoding = Instant::now();
    classifier.classify_frame_into(&mut found.scored)?;
    found.times.encode = ms_since(encoding);
    Ok(())
}

/// The mean over the image and its tiles, and each tile's best label. Preprocessing counts as encoding here.
fn by_tiles(
    classifier: &mut Classifier,
    view: &PixelView<'_>,
    tiles: Tiles,
    found: &mut Found,
    console: &Console,
) -> Result<()> {
    let encoding = Instant::now();
    let mut parts = Vec::new();
    let step = console.start_inner(tiles.count() as usize + 1);
    classifier.classify_tiles_into(view, tiles, &mut found.scored, &mut |part, embedding| {
        parts.push((part, embedding.to_vec()));
        step();
    })?;
    found.times.encode = ms_since(encoding);
    let mut scored = found.scored.clone();
    for (part, embedding) in parts.iter_mut().skip(1) {
        classifier.score_into(embedding, &mut scored)?;
        found.tiles.push((*part, scored[0]));
    }
    Ok(())
}
