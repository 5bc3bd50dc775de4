//! `ocelli classify`

use crate::common::{self, Failure, LabelArgs, Labels, ModelArgs, Resize, SizeArgs};
use ocelli::format::{Config, Scoring};
use ocelli::preprocess::{PixelView, TileBox, Tiles};
use ocelli::score::{Scored, normalize, score_logits};
use ocelli::{Model, Result, Session};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// Say what photos show: score them against labels.
///
/// Labels come from --labels, --labels-file or --bank (made by `ocelli labels`; needs no text tower), otherwise from
/// the model: a supervised classifier uses its own classes. With a CLIP the scores of all labels add up to 1; with a
/// SigLIP each is the probability of that label alone, whatever the others are, and all may be small. Images that cannot be read are reported on stderr, the
/// others are still classified, and the exit code is 1.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// JPEG, PNG, WebP, GIF, TIFF or BMP files
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
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
    fn find(args: &Args, model: &'m Model) -> Result<Target<'m>> {
        if let Some(path) = &args.bank {
            let bank = common::open_bank(path)?;
            bank.as_bank().check_fits(model.file().config()).map_err(|error| error.in_file(path))?;
            return Ok(Target::Labels(Labels::Owned(bank)));
        }
        let classes: Vec<&str> = model.file().labels().collect();
        if !classes.is_empty() && !args.labels.given() {
            return Ok(Target::Classes(classes));
        }
        common::find_labels(&args.labels, &args.model, model).map(Target::Labels)
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

    /// What `Scored::similarity` is.
    fn measure(&self) -> &'static str {
        match self {
            Target::Labels(_) => "similarity",
            Target::Classes(_) => "logit",
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

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let model = args.model.open()?;
    let options = args.size.apply(args.model.options()?);
    let target = Target::find(args, &model)?;
    let mut session = Session::new(&model, &ocelli::Options { text: false, ..options })?;
    let mut code = ExitCode::SUCCESS;
    for path in &args.images {
        match classify(args, &mut session, &target, path) {
            Ok(found) => print(args, model.file().config(), &target, path, &found)?,
            Err(error) => {
                common::complain(&error);
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

fn classify(args: &Args, session: &mut Session<'_>, target: &Target<'_>, path: &Path) -> Result<Found> {
    let mut found =
        Found { scored: vec![Scored::default(); target.len()], tiles: Vec::new(), times: Times::default() };
    let start = Instant::now();
    let image = common::decode(session, args.resize, path)?;
    found.times.decode = common::ms_since(start);
    let view = image.view();
    let result = match args.size.tiles(session, &view)? {
        Some(tiles) => by_tiles(session, target, &view, tiles, &mut found),
        None => at_once(session, target, &view, &mut found),
    };
    result.map_err(|error| error.in_file(path))?;
    found.times.total = common::ms_since(start);
    Ok(found)
}

fn at_once(
    session: &mut Session<'_>,
    target: &Target<'_>,
    view: &PixelView<'_>,
    found: &mut Found,
) -> Result<()> {
    let preprocessing = Instant::now();
    session.preprocess(core::slice::from_ref(view))?;
    found.times.preprocess = common::ms_since(preprocessing);
    let encoding = Instant::now();
    let mut embedding = vec![0.0; session.embed_dim()];
    session.encode_frames(1, &mut embedding)?;
    found.times.encode = common::ms_since(encoding);
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
    found.times.encode = common::ms_since(encoding);
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

fn print(
    args: &Args,
    config: &Config,
    target: &Target<'_>,
    path: &Path,
    found: &Found,
) -> Result<(), Failure> {
    let Found { scored, tiles, times } = found;
    let top = &scored[..scored.len().min(args.top_k as usize)];
    if args.json {
        let label = |s: &Scored| {
            let (score, measure) = (common::number(s.score), common::number(s.similarity));
            json!({"label": target.name(s.label), "score": score, target.measure(): measure})
        };
        let mut report = json!({
            "image": path.display().to_string(),
            "labels": top.iter().map(label).collect::<Vec<_>>(),
            "model": args.model.name(),
            "ms": {
                "decode": common::round_ms(times.decode),
                "preprocess": common::round_ms(times.preprocess),
                "encode": common::round_ms(times.encode),
                "total": common::round_ms(times.total),
            },
        });
        if args.size.any_res.is_some() {
            let tile = |(part, best): &(TileBox, Scored)| {
                let mut tile = label(best);
                tile["box"] = common::box_json(*part);
                tile
            };
            report["tiles"] = tiles.iter().map(tile).collect::<Vec<Value>>().into();
        }
        return common::print_json(&report);
    }
    let mut out = std::io::stdout().lock();
    // A label that is judged for itself often has far less than a per cent, and still more than the others.
    let alone = config.score.kind == Scoring::Sigmoid as u32;
    let (digits, note) = if alone { (4, ", each label for itself") } else { (2, "") };
    writeln!(out, "{}  ({:.1} ms{note})", path.display(), times.total)?;
    for s in top {
        let (score, name, wide) = (s.score * 100.0, target.name(s.label), digits + 4);
        writeln!(out, "  {score:>wide$.digits$} %  {:>7.4}  {name}", s.similarity)?;
    }
    for (TileBox { left, top, width, height }, best) in tiles {
        let (score, name) = (best.score * 100.0, target.name(best.label));
        writeln!(out, "  tile {width}x{height} at {left},{top}: {score:.2} %  {name}")?;
    }
    Ok(())
}
