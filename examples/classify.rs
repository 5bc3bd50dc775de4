//! What is in a picture file, by the labels that are in the model.
//!
//! ```sh
//! cargo run --release --example classify --features decode [MODEL PICTURE]
//! ```

use ocelli::format::LabelBank;
use ocelli::preprocess::decode;
use ocelli::score::Scored;
use ocelli::{Classifier, ImageEncoder, ImageOptions, Model, Runtime, knobs};
use std::error::Error;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/demo.ocelli");
const PICTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/ship.jpg");

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let model = Model::open(args.next().as_deref().unwrap_or(MODEL))?;
    let picture = args.next().unwrap_or_else(|| PICTURE.into());

    let runtime = Runtime::new(&knobs::runtime_options()?)?;
    let encoder = ImageEncoder::new(&model, &runtime, &ImageOptions::default())?;
    // A model has a label bank, or a classifier with classes of its own, or neither.
    let mut classifier = match model.file().bank() {
        Some(bank) => Classifier::new(encoder, LabelBank::from(bank))?,
        None => Classifier::of_classes(encoder)?,
    };
    let mut scores = vec![Scored::default(); classifier.labels().len()];

    let decoded = decode::decode_file(&picture, &decode::Options::default())?;
    for warning in decoded.warnings() {
        eprintln!("{picture}: {warning}");
    }
    classifier.classify_into(&decoded.view(), &mut scores)?;
    for scored in scores.iter().take(5) {
        println!("{:6.2} %  {}", 100.0 * scored.score, classifier.labels().name(scored.label));
    }
    Ok(())
}
