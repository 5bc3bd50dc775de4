//! A classifier from a few pictures of each class: a class is the mean of their embeddings, and a picture belongs to the
//! nearest. No text tower, no training. `ocelli labels --examples` does the same for folders of pictures.
//!
//! ```sh
//! cargo run --release --example few_shot --features decode [PICTURE]
//! ```

use ocelli::preprocess::decode;
use ocelli::score::{Examples, Scored};
use ocelli::{Classifier, ImageEncoder, ImageOptions, Model, Runtime, knobs};
use std::error::Error;
use std::path::Path;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const CLASSES: [(&str, &[&str]); 2] = [("animal", &["frog", "horse"]), ("vehicle", &["automobile", "ship"])];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(ROOT);
    let folder = root.join("examples");
    let model = Model::open(root.join("models/demo.ocelli"))?;
    let runtime = Runtime::new(&knobs::runtime_options()?)?;
    let mut encoder = ImageEncoder::new(&model, &runtime, &ImageOptions::default())?;

    let mut examples = Examples::new(model.config());
    let mut embedding = vec![0.0; encoder.embed_dim()];
    for (class, names) in CLASSES {
        for name in names {
            let picture = folder.join(name).with_extension("jpg");
            let decoded = decode::decode_file(&picture, &decode::Options::default())?;
            encoder.embed_into(&decoded.view(), &mut embedding)?;
            examples.add(class, &embedding)?;
        }
    }
    // One mean per class. `bank` could be saved: `bank.as_bank().to_bytes()`.
    let (bank, left_out) = examples.bank(1)?;
    println!("each picture taken out in turn: {} of {} right", left_out.right, left_out.judged);

    let mut classifier = Classifier::new(encoder, bank)?;
    let picture = std::env::args_os().nth(1).map_or_else(|| folder.join("cat.jpg"), Into::into);
    let decoded = decode::decode_file(picture, &decode::Options::default())?;
    let mut scores = vec![Scored::default(); classifier.labels().len()];
    classifier.classify_into(&decoded.view(), &mut scores)?;
    for scored in scores {
        println!("{:5.1} %  {}", 100.0 * scored.score, classifier.labels().name(scored.label));
    }
    Ok(())
}
