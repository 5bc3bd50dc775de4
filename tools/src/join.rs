//! One packed file of two: the image tower of one beside the text tower of another that was trained to meet it, as M-CLIP's
//! are to meet CLIP's images.

use crate::convert::refuse_to_overwrite;
use crate::progress::Progress;
use crate::write::{Contents, Planned, write};
use crate::{Error, Result};
use ocelli::Model;
use ocelli::format::{Config, TensorSpec, feature, for_each_tensor};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// Writes the image tower of the packed file `image`, with its preprocessing, scores and checkpoint id, and the text tower
/// of the packed file `text`, with its tokenizer, to `output`, atomically. Weights are copied as they are stored. Returns
/// the length of the new file.
///
/// Label banks that are made with it fit every packed file of the image tower's checkpoint.
///
/// # Errors
/// One of them lacks its tower, is damaged, or their embeddings have different lengths; or what the system says.
pub fn join(image: &Path, text: &Path, output: &Path, progress: &dyn Progress) -> Result<u64> {
    refuse_to_overwrite(output, [image, text].into_iter())?;
    let (images, texts) = (open(image)?, open(text)?);
    let config = joined((&images, image), (&texts, text))?;
    let tensors = planned(&config, &images, &texts)?;
    let provenance = json!({
        "converter": concat!("ocelli-pack ", env!("CARGO_PKG_VERSION")),
        "image": provenance(&images, image)?,
        "text": provenance(&texts, text)?,
    });
    let contents = Contents {
        config: &config,
        tokenizer: texts.file().tokenizer(),
        provenance: &provenance.to_string(),
        bank: None,
        labels: &[],
        tensors: &tensors,
    };
    let mut warn = |message: String| progress.warn(&message);
    write(output, &contents, &mut warn, &mut |i, _, _| {
        Err(Error::tensor(tensors[i].demand.name.as_str(), "has no payload"))
    })
}

/// A packed file whose weights are what was written.
fn open(path: &Path) -> Result<Arc<Model>> {
    let model = Model::open(path)?;
    model.check_weights(1).map_err(|error| error.in_file(path))?;
    Ok(model)
}

fn provenance(model: &Model, path: &Path) -> Result<Value> {
    serde_json::from_str(model.file().provenance()).map_err(Error::json(path))
}

/// The configuration of both towers.
fn joined((images, image): (&Model, &Path), (texts, text): (&Model, &Path)) -> Result<Config> {
    let (of_images, of_texts) = (images.config(), texts.config());
    if !of_images.has_vision() || of_images.vision.tower.has(feature::CLASSIFIER) {
        return Err(Error::file(image, "has no image tower that texts could be compared with"));
    }
    if !of_texts.has_text() || texts.file().tokenizer().is_none() {
        return Err(Error::file(text, "has no text tower with its tokenizer"));
    }
    let (found, expected) = (of_texts.score.embed_dim, of_images.score.embed_dim);
    if found != expected {
        let image = image.display();
        let problem = format!("embeds texts in {found} values, but {image} embeds images in {expected}");
        return Err(Error::file(text, problem));
    }
    Ok(Config { text: of_texts.text, ..*of_images })
}

/// Every tensor of `config`, with its payload in the file of its tower.
fn planned<'m>(config: &Config, images: &'m Model, texts: &'m Model) -> Result<Vec<Planned<'m>>> {
    let mut tensors = Vec::new();
    for_each_tensor(config, &mut |demand: TensorSpec| {
        let name = demand.name.as_str();
        let file = if name.starts_with("text.") { texts.file() } else { images.file() };
        let tensor = file.tensor(name)?;
        tensors.push(Planned {
            demand,
            dtype: tensor.dtype(),
            // At most 127: the file was checked when it was opened.
            magnitude: i8::try_from(tensor.entry().magnitude).unwrap_or(i8::MAX),
            codes: None,
            payload: Some(file.payload(&tensor)),
        });
        Ok::<(), Error>(())
    })?;
    Ok(tensors)
}
