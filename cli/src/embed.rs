//! `ocelli embed`

mod output;

use crate::args::{ModelArgs, Opened, Resize, SizeArgs};
use crate::console::{Console, Failure};
use crate::decoders::{Decoded, each_decoded, preprocessors};
use crate::files::path_bytes;
use crate::inputs::{Input, ListArgs};
use clap::ValueEnum;
use clap::builder::{OsStringValueParser, TypedValueParser};
use ocelli::preprocess::{PixelView, TileBox, Tiles};
use ocelli::score::normalize;
use ocelli::vision::Layer;
use ocelli::{ImageEncoder, Result, TextEncoder, Watch, excerpt, knobs};
use output::{Format, Line, Sink};
use std::path::PathBuf;
use std::process::ExitCode;

/// Turn images and texts into embeddings: one JSON object per line, or a NumPy matrix.
///
/// Each line is {"kind":"image"|"text","input":...,"dim":N,"embedding":[...]}; images first, then texts. With --layer
/// other than `projected` lines of images also have "layer", and those of `patch` have "grid":[rows,columns] and, instead
/// of the embedding, "patches": one vector per patch, along the rows. With --tiles there is a line for the whole image,
/// for each tile and for their mean, of which all but the mean have "box":[left,top,width,height] in pixels.
/// An image whose name is not UTF-8 also has "input_bytes": the name, percent-encoded as in a URL.
///
/// Images that cannot be read are reported on stderr and left out, and the exit code is 1.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// JPEG, PNG, WebP, GIF, TIFF or BMP files; folders, whose pictures are taken, those of the folders in them too; - for stdin
    #[arg(value_name = "IMAGE", required_unless_present_any = ["image", "text", "files_from"])]
    images: Vec<PathBuf>,
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    size: SizeArgs,
    /// More images; may be given several times
    #[arg(long, value_name = "FILE", num_args = 1..)]
    image: Vec<PathBuf>,
    /// A text; may be given several times
    #[arg(long, value_name = "TEXT")]
    text: Vec<String>,
    /// Write the embeddings here instead of to stdout: X.npy for a NumPy matrix of float32, one row per embedding in the
    /// order of the arguments, or X.jsonl
    #[arg(long, short, value_name = "FILE", value_parser = OsStringValueParser::new().try_map(output::path))]
    output: Option<(PathBuf, Format)>,
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
    /// Print JSON (the default; accepted so that every command takes it)
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

pub(crate) fn run(args: &Args, console: &Console) -> Result<ExitCode, Failure> {
    args.check()?;
    let inputs = args.list.inputs(args.images.iter().chain(&args.image))?;
    let opened = args.model.open()?;
    output::with_sink(args.output.as_ref(), console, |sink| embed(args, inputs, &opened, console, sink))
}

impl Args {
    /// Refuses what does not go together.
    fn check(&self) -> Result<(), Failure> {
        let matrix = matches!(self.output, Some((_, Format::Npy)));
        let wider = if self.layer == LayerName::Patch {
            "--layer patch"
        } else if self.tiles {
            "--tiles"
        } else if self.layer != LayerName::Projected && !self.text.is_empty() {
            "--layer with --text"
        } else {
            return Ok(());
        };
        match matrix {
            true => Err(Failure::Usage(format!(
                "a .npy file has one row for each input, all of one length, which {wider} has not; write a .jsonl file"
            ))),
            false => Ok(()),
        }
    }
}

fn embed(
    args: &Args,
    inputs: Vec<Result<Input>>,
    opened: &Opened,
    console: &Console,
    sink: &mut Sink<'_, '_>,
) -> Result<ExitCode, Failure> {
    // What cannot work is said before any work is done.
    let mut texts = (!args.text.is_empty()).then(|| text_encoder(opened)).transpose()?;
    let mut code = ExitCode::SUCCESS;
    console.start(inputs.len() + args.text.len());
    if !inputs.is_empty() {
        let mut encoder = args.size.encoder(opened)?;
        let decoding = args.resize.decoding(&encoder)?;
        let tiles = args.size.any_res.is_some();
        let mut preprocessors = if tiles { Vec::new() } else { preprocessors(&encoder) };
        each_decoded(inputs, &decoding, &mut preprocessors, console, |decoded| -> Result<(), Failure> {
            let lines = decoded.and_then(|decoded| embed_image(args, &mut encoder, &decoded, console));
            match lines {
                Ok(lines) => lines.iter().try_for_each(|line| sink.put(line))?,
                Err(error) => {
                    console.complain(&error);
                    code = ExitCode::FAILURE;
                }
            }
            console.step(1);
            Ok(())
        })?;
    }
    if let Some(encoder) = &mut texts {
        for text in &args.text {
            let line = embed_text(args, encoder, text, console).map_err(|error| opened.blame(error))?;
            sink.put(&line)?;
            console.step(1);
        }
    }
    console.done();
    Ok(code)
}

/// The text encoder, with its tokenizer.
fn text_encoder(opened: &Opened) -> Result<TextEncoder> {
    let encoder = TextEncoder::new(&opened.model, &opened.runtime, &knobs::limits()?);
    let mut encoder = encoder.map_err(|error| opened.blame(error))?;
    encoder.tokenizer().map_err(|error| opened.blame(error))?;
    Ok(encoder)
}

fn embed_text(args: &Args, encoder: &mut TextEncoder, text: &str, console: &Console) -> Result<Line> {
    let tokens = encoder.tokenizer()?.encode(text)?;
    if tokens.truncated {
        let context = encoder.model().config().text.context;
        console.warn(format_args!("{:?} is longer than {context} tokens and was cut", excerpt(text)));
    }
    let mut embedding = vec![0.0; encoder.embed_dim()];
    encoder.encode_ids(&tokens.ids, &mut embedding, Watch::default())?;
    Ok(Line { kind: "text", input: text.to_owned(), ..args.line(embedding) })
}

/// The lines of one image.
fn embed_image(
    args: &Args,
    encoder: &mut ImageEncoder,
    decoded: &Decoded,
    console: &Console,
) -> Result<Vec<Line>> {
    let (input, view) = (&decoded.input, decoded.image.view());
    let lines = match args.size.tiles(encoder, &view) {
        Some(tiles) => embed_tiles(args, encoder, &view, tiles, console),
        None => embed_layer(args, encoder, decoded).map(|line| vec![line]),
    };
    let mut lines = lines.map_err(|error| error.in_file(input.path()))?;
    for line in &mut lines {
        line.input = input.path().display().to_string();
        line.input_bytes = path_bytes(input.path());
    }
    Ok(lines)
}

fn embed_layer(args: &Args, encoder: &mut ImageEncoder, decoded: &Decoded) -> Result<Line> {
    let layer = args.layer.layer();
    let (vectors, channels) = encoder.layer_shape(layer)?;
    decoded.preprocess(encoder)?;
    let mut values = vec![0.0; vectors * channels];
    encoder.encode(ocelli::Input::Frames(1), layer, &mut values)?;
    let name = (layer != Layer::Projected).then(|| layer.name());
    if layer == Layer::Patch {
        let patches = values.chunks_exact(channels).map(|vector| args.scaled(vector.to_vec())).collect();
        let (rows, columns) = encoder.grid();
        let (grid, patches) = (Some([rows, columns]), Some(patches));
        return Ok(Line { layer: name, grid, dim: channels, patches, ..Line::default() });
    }
    Ok(Line { layer: name, ..args.line(values) })
}

fn embed_tiles(
    args: &Args,
    encoder: &mut ImageEncoder,
    view: &PixelView<'_>,
    tiles: Tiles,
    console: &Console,
) -> Result<Vec<Line>> {
    let step = console.start_inner(tiles.count() as usize + 1);
    let mut lines = Vec::new();
    let mut mean = vec![0.0; encoder.embed_dim()];
    encoder.embed_tiles_into(
        view,
        tiles,
        &mut mean,
        &mut |TileBox { left, top, width, height }, embedding| {
            step();
            if args.tiles {
                lines.push(Line { part: Some([left, top, width, height]), ..args.line(embedding.to_vec()) });
            }
        },
    )?;
    lines.push(args.line(mean));
    Ok(lines)
}

impl Args {
    /// A line with this embedding.
    fn line(&self, embedding: Vec<f32>) -> Line {
        let embedding = self.scaled(embedding);
        Line { dim: embedding.len(), embedding: Some(embedding), ..Line::default() }
    }

    /// A vector as it is printed.
    fn scaled(&self, mut vector: Vec<f32>) -> Vec<f32> {
        if !self.raw {
            normalize(&mut vector);
        }
        vector
    }
}
