//! `ocelli embed`

use crate::common::{self, Failure, ModelArgs, Resize};
use ocelli::score::normalize;
use ocelli::text::TextTokenizer;
use ocelli::{Model, Options, Result, Session};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Turn images and texts into embeddings: one JSON object per line.
///
/// Each line is {"kind":"image"|"text","input":...,"dim":N,"embedding":[...]}; images first, then texts.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// A JPEG, PNG, WebP or BMP file; may be given several times
    #[arg(long, value_name = "FILE", num_args = 1.., required_unless_present = "text")]
    image: Vec<PathBuf>,
    /// A text; may be given several times
    #[arg(long, value_name = "TEXT")]
    text: Vec<String>,
    /// Leave the embedding as the model gives it instead of normalising it to length 1
    #[arg(long)]
    raw: bool,
    /// How photos are resized
    #[arg(long, value_enum, default_value_t = Resize::Exact)]
    resize: Resize,
    /// Print JSON (there is no other format; accepted so that every command takes it)
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let model = args.model.open()?;
    let (image, text) = (!args.image.is_empty(), !args.text.is_empty());
    let tokenizer = text.then(|| TextTokenizer::new(model.file())).transpose();
    let tokenizer = tokenizer.map_err(|error| args.model.blame(error))?;
    let options = Options { vision: image, text, ..args.model.options()? };
    let mut session = Session::new(&model, &options)?;
    let mut embedding = vec![0.0; session.embed_dim()];
    let mut code = ExitCode::SUCCESS;
    for path in &args.image {
        match embed_image(args, &model, &mut session, path, &mut embedding) {
            Ok(()) => print(args, "image", &path.display().to_string(), &mut embedding)?,
            Err(error) => {
                common::complain(&error);
                code = ExitCode::FAILURE;
            }
        }
    }
    for (text, tokenizer) in args.text.iter().zip(tokenizer.iter().cycle()) {
        let tokens = tokenizer.encode(text)?;
        if tokens.truncated {
            let context = model.file().config().text.context;
            common::warn(format_args!("{text:?} is longer than {context} tokens and was cut"));
        }
        session.embed_text_raw_into(&tokens.ids, &mut embedding).map_err(|error| args.model.blame(error))?;
        print(args, "text", text, &mut embedding)?;
    }
    Ok(code)
}

fn embed_image(
    args: &Args,
    model: &Model,
    session: &mut Session<'_>,
    path: &Path,
    embedding: &mut [f32],
) -> Result<()> {
    let image = common::decode(path)?;
    let view = image.view();
    common::preprocess(session, model.file().config(), args.resize, &view)
        .map_err(|error| error.in_file(path))?;
    session.encode_frames(1, embedding).map_err(|error| error.in_file(path))
}

fn print(args: &Args, kind: &str, input: &str, embedding: &mut [f32]) -> Result<(), Failure> {
    if !args.raw {
        normalize(embedding);
    }
    let values: Vec<_> = embedding.iter().copied().map(common::number).collect();
    common::print_json(&json!({"kind": kind, "input": input, "dim": values.len(), "embedding": values}))
}
