//! `ocelli embed`

use crate::common::{self, Failure, ModelArgs, Resize, SizeArgs};
use clap::ValueEnum;
use ocelli::preprocess::{PixelView, Tiles};
use ocelli::score::normalize;
use ocelli::text::TextTokenizer;
use ocelli::vision::Layer;
use ocelli::{Options, Result, Session};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Turn images and texts into embeddings: one JSON object per line.
///
/// Each line is {"kind":"image"|"text","input":...,"dim":N,"embedding":[...]}; images first, then texts. With --layer
/// other than `projected` lines of images also have "layer", and those of `patch` have "grid":[rows,columns] and, instead
/// of the embedding, "patches": one vector per patch, along the rows. With --tiles there is a line for the whole image,
/// for each tile and for their mean, of which all but the mean have "box":[left,top,width,height] in pixels.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    size: SizeArgs,
    /// A JPEG, PNG, WebP, GIF, TIFF or BMP file; may be given several times
    #[arg(long, value_name = "FILE", num_args = 1.., required_unless_present = "text")]
    image: Vec<PathBuf>,
    /// A text; may be given several times
    #[arg(long, value_name = "TEXT")]
    text: Vec<String>,
    /// Leave the embedding as the model gives it instead of normalising it to length 1
    #[arg(long)]
    raw: bool,
    /// Which of the model's vectors to give for an image
    #[arg(long, value_enum, default_value_t = LayerName::Projected, conflicts_with = "any_res")]
    layer: LayerName,
    /// Print the embedding of each tile and of the whole image too, with their boxes
    #[arg(long, requires = "any_res")]
    tiles: bool,
    /// How photos are resized
    #[arg(long, value_enum, default_value_t = Resize::Exact)]
    resize: Resize,
    /// Print JSON (there is no other format; accepted so that every command takes it)
    #[arg(long)]
    json: bool,
}

/// A [`Layer`] on the command line.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LayerName {
    /// One vector per patch: dense features
    Patch,
    /// The class token
    Cls,
    /// What the projection or the classifier reads
    Pooled,
    /// The embedding
    Projected,
}

impl LayerName {
    fn layer(self) -> Layer {
        match self {
            LayerName::Patch => Layer::Patch,
            LayerName::Cls => Layer::Class,
            LayerName::Pooled => Layer::Pooled,
            LayerName::Projected => Layer::Projected,
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let model = args.model.open()?;
    let (image, text) = (!args.image.is_empty(), !args.text.is_empty());
    let tokenizer = text.then(|| TextTokenizer::new(model.file())).transpose();
    let tokenizer = tokenizer.map_err(|error| args.model.blame(error))?;
    let options = Options { vision: image, text, ..args.size.apply(args.model.options()?) };
    let mut session = Session::new(&model, &options)?;
    let mut code = ExitCode::SUCCESS;
    for path in &args.image {
        match embed_image(args, &mut session, path) {
            Ok(lines) => lines.iter().try_for_each(common::print_json)?,
            Err(error) => {
                common::complain(&error);
                code = ExitCode::FAILURE;
            }
        }
    }
    let mut embedding = vec![0.0; session.embed_dim()];
    for (text, tokenizer) in args.text.iter().zip(tokenizer.iter().cycle()) {
        let tokens = tokenizer.encode(text)?;
        if tokens.truncated {
            let context = model.file().config().text.context;
            common::warn(format_args!("{text:?} is longer than {context} tokens and was cut"));
        }
        session.embed_text_raw_into(&tokens.ids, &mut embedding).map_err(|error| args.model.blame(error))?;
        common::print_json(&line(args, "text", text, &mut embedding))?;
    }
    Ok(code)
}

/// The lines of one image.
fn embed_image(args: &Args, session: &mut Session<'_>, path: &Path) -> Result<Vec<Value>> {
    let image = common::decode(session, args.resize, path)?;
    let view = image.view();
    let input = path.display().to_string();
    let lines = match args.size.tiles(session, &view)? {
        Some(tiles) => embed_tiles(args, session, &input, &view, tiles),
        None => embed_layer(args, session, &input, &view).map(|line| vec![line]),
    };
    lines.map_err(|error| error.in_file(path))
}

fn embed_layer(args: &Args, session: &mut Session<'_>, input: &str, view: &PixelView<'_>) -> Result<Value> {
    let layer = args.layer.layer();
    let (vectors, channels) = session.layer_shape(layer)?;
    session.preprocess(core::slice::from_ref(view))?;
    let mut values = vec![0.0; vectors * channels];
    session.encode_layer(1, layer, &mut values)?;
    if layer == Layer::Patch {
        let patches: Vec<Vec<Value>> = values.chunks_exact_mut(channels).map(|v| numbers(args, v)).collect();
        let (rows, columns) = session.grid()?;
        return Ok(json!({
            "kind": "image", "input": input, "layer": layer.name(), "grid": [rows, columns], "dim": channels,
            "patches": patches,
        }));
    }
    let mut line = line(args, "image", input, &mut values);
    if layer != Layer::Projected {
        line["layer"] = layer.name().into();
    }
    Ok(line)
}

fn embed_tiles(
    args: &Args,
    session: &mut Session<'_>,
    input: &str,
    view: &PixelView<'_>,
    tiles: Tiles,
) -> Result<Vec<Value>> {
    let mut lines = Vec::new();
    let mut mean = vec![0.0; session.embed_dim()];
    session.embed_tiles_into(view, tiles, &mut mean, &mut |part, embedding| {
        if args.tiles {
            let mut line = line(args, "image", input, &mut embedding.to_vec());
            line["box"] = common::box_json(part);
            lines.push(line);
        }
    })?;
    lines.push(line(args, "image", input, &mut mean));
    Ok(lines)
}

fn line(args: &Args, kind: &str, input: &str, embedding: &mut [f32]) -> Value {
    json!({"kind": kind, "input": input, "dim": embedding.len(), "embedding": numbers(args, embedding)})
}

/// A vector as it is printed.
fn numbers(args: &Args, vector: &mut [f32]) -> Vec<Value> {
    if !args.raw {
        normalize(vector);
    }
    vector.iter().copied().map(common::number).collect()
}
