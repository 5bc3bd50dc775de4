//! A classifier from a few pictures of each class: a class is the mean of their embeddings, and a picture belongs to the
//! nearest. No text tower, no training.
//!
//! ```sh
//! cargo run --release --example few_shot --features decode [PICTURE]
//! ```

use ocelli::preprocess::decode;
use ocelli::score::{dot, normalize};
use ocelli::{ImageEncoder, ImageOptions, Model, Runtime, knobs};
use std::error::Error;
use std::path::Path;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const CLASSES: [(&str, &[&str]); 2] = [("animal", &["frog", "horse"]), ("vehicle", &["automobile", "ship"])];

fn embed(encoder: &mut ImageEncoder, picture: &Path) -> ocelli::Result<Vec<f32>> {
    let decoded = decode::decode_file(picture, &decode::Options::default())?;
    let mut embedding = vec![0.0; encoder.embed_dim()];
    encoder.embed_into(&decoded.view(), &mut embedding)?;
    Ok(embedding)
}

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(ROOT);
    let examples = root.join("examples");
    let model = Model::open(root.join("cli/demo.ocelli"))?;
    let runtime = Runtime::new(&knobs::runtime_options()?)?;
    let mut encoder = ImageEncoder::new(&model, &runtime, &ImageOptions::default())?;

    let mut means = Vec::new();
    for (class, names) in CLASSES {
        let mut mean = vec![0.0; encoder.embed_dim()];
        for name in names {
            let embedding = embed(&mut encoder, &examples.join(name).with_extension("jpg"))?;
            mean.iter_mut().zip(&embedding).for_each(|(mean, value)| *mean += value);
        }
        normalize(&mut mean);
        means.push((class, mean));
    }

    let picture = std::env::args_os().nth(1).map_or_else(|| examples.join("cat.jpg"), Into::into);
    let embedding = embed(&mut encoder, &picture)?;
    means.sort_by(|a, b| dot(&b.1, &embedding).total_cmp(&dot(&a.1, &embedding)));
    for (class, mean) in &means {
        println!("{:.4}  {class}", dot(mean, &embedding));
    }
    Ok(())
}
