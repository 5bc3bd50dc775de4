//! Which files of a repository a conversion needs.

use super::PullOptions;
use super::names::Target;
use super::reference::{Reference, is_file_name};
use super::snapshot::Snapshot;
use super::table::Layout;
use crate::families::is_supported;
use crate::source::{WEIGHTS, read_json, shards};
use crate::{Error, Result};
use serde_json::Value;
use std::path::Path;

const CONFIG: &str = "config.json";
const OPEN_CLIP: &str = "open_clip_config.json";
const SAFETENSORS: &str = ".safetensors";
/// What holds a tokenizer, in the order in which families look for it.
const TOKENIZERS: [&[&str]; 6] = [
    &["spiece.model"],
    &["tokenizer.json"],
    &["vocab.json", "merges.txt"],
    &["vocab.txt"],
    &["sentencepiece.bpe.model"],
    &["tokenizer.model"],
];
/// What goes with a tokenizer or a picture, where it is there.
const TOKENIZER_SETTINGS: [&str; 2] = ["tokenizer_config.json", "special_tokens_map.json"];
const PREPROCESSING: [&str; 2] = ["preprocessor_config.json", "processor_config.json"];
/// Endings of weights that are not read.
const OTHER_WEIGHTS: [&str; 9] =
    [".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".gguf", ".tflite"];
/// Models of transformers without a text tower.
const IMAGE_ONLY: [&str; 8] = [
    "clip_vision_model",
    "siglip_vision_model",
    "siglip2_vision_model",
    "vit",
    "vit_mae",
    "dinov2",
    "dinov2_with_registers",
    "dinov3_vit",
];
/// A repository with the vocabulary that open_clip has built in.
const CLIP_TOKENIZER: &str = "openai/clip-vit-base-patch32";

/// What a conversion needs.
pub(super) struct Needed {
    /// The file with the weights, or their index.
    pub(super) weights: String,
    /// All files, that one included.
    pub(super) files: Vec<String>,
    /// Where the tokenizer is, if not among them.
    pub(super) tokenizer: Option<Elsewhere>,
}

/// A tokenizer in another repository.
pub(super) struct Elsewhere {
    pub(super) reference: Reference,
    /// Why there.
    pub(super) reason: &'static str,
}

impl Needed {
    /// Decides from the repository's configuration, which is fetched for it, as is an index of shards.
    pub(super) fn of(snapshot: &Snapshot<'_>, target: &Target, options: PullOptions) -> Result<Needed> {
        let (layout, weights) = choose(snapshot, target)?;
        let config = if layout == Layout::OpenClip { OPEN_CLIP } else { CONFIG };
        let json = fetch_json(snapshot, config)?;
        let mut files = vec![config.to_owned()];
        let has_text = match layout {
            Layout::OpenClip => true,
            Layout::Transformers => {
                check_type(snapshot, &json)?;
                files.extend(present(snapshot, &PREPROCESSING)?);
                json["model_type"].as_str().is_some_and(|name| !IMAGE_ONLY.contains(&name))
            }
        };
        let mut tokenizer = None;
        if has_text && !options.without_tokenizer {
            match (tokenizer_files(snapshot)?, layout) {
                (found, _) if !found.is_empty() => files.extend(found),
                (_, Layout::OpenClip) => tokenizer = Some(elsewhere(&json)?),
                _ => {
                    let problem = "has no tokenizer, which the text tower needs: name a folder that has it with \
                                   --tokenizer DIR, or leave the text tower out with --vision-only";
                    return Err(Error::hub(snapshot.repository(), problem));
                }
            }
        }
        if weights.ends_with(".json") {
            snapshot.fetch(std::slice::from_ref(&weights))?;
            for shard in shards(&snapshot.path(&weights))? {
                let name = shard.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                let end = if weights.contains(SAFETENSORS) { SAFETENSORS } else { ".bin" };
                if !is_file_name(name) || !name.ends_with(end) {
                    let problem = format!("lists a shard of the name {name:?}, which no shard has");
                    return Err(Error::file(&snapshot.path(&weights), problem));
                }
                files.push(name.into());
            }
        }
        files.push(weights.clone());
        Ok(Needed { weights, files, tokenizer })
    }
}

/// Which of a repository's checkpoints is meant, and the file with its weights.
fn choose(snapshot: &Snapshot<'_>, target: &Target) -> Result<(Layout, String)> {
    let (plain, open_clip) = (snapshot.has(CONFIG)?, snapshot.has(OPEN_CLIP)?);
    let repository = snapshot.repository();
    if let Some(name) = &target.reference.weights {
        if !(name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json")) {
            return Err(Error::hub(
                repository,
                format!("{name} can't be read: weights are .safetensors or their index"),
            ));
        }
        if !snapshot.has(name)? {
            return Err(Error::hub(repository, format!("has no file {name}")));
        }
        let is_open_clip = open_clip && (!plain || name.starts_with("open_clip"));
        return Ok((if is_open_clip { Layout::OpenClip } else { Layout::Transformers }, name.clone()));
    }
    let mut found = Vec::new();
    for name in present(snapshot, &WEIGHTS)? {
        if open_clip && (!plain || name.starts_with("open_clip")) {
            found.push((Layout::OpenClip, name));
        } else if plain && !name.starts_with("open_clip") {
            found.push((Layout::Transformers, name));
        }
    }
    // Safetensors before what PyTorch pickled.
    if found.iter().any(|(_, name)| name.contains(SAFETENSORS)) {
        found.retain(|(_, name)| name.contains(SAFETENSORS));
    }
    let has = |layout| found.iter().any(|(found, _)| *found == layout);
    // A repository with both: the one that was asked for, or the one with both towers.
    let layout = match target.layout {
        _ if !has(Layout::OpenClip) => Layout::Transformers,
        _ if !has(Layout::Transformers) => Layout::OpenClip,
        Some(layout) => layout,
        None if fetch_json(snapshot, CONFIG)?.get("model_type").is_some() => Layout::Transformers,
        None => Layout::OpenClip,
    };
    found.into_iter().find(|(found, _)| *found == layout).ok_or_else(|| without_weights(snapshot))
}

/// The error for a repository without weights that can be read, which says what is there instead.
fn without_weights(snapshot: &Snapshot<'_>) -> Error {
    let problem = match snapshot.listed().find(|name| OTHER_WEIGHTS.iter().any(|end| name.ends_with(end))) {
        Some(name) => format!(
            "has its weights as {name}, not as safetensors, and those are not read: look for another repository with the \
             same model, or for a revision in which somebody converted them (@refs/pr/N), or save it as safetensors and \
             name the folder (docs/models.md)"
        ),
        None => format!(
            "is no checkpoint that is known here: {CONFIG} or {OPEN_CLIP}, with one of {}, would be",
            WEIGHTS.join(", ")
        ),
    };
    Error::hub(snapshot.repository(), problem)
}

/// Refuses a model before its weights are downloaded.
fn check_type(snapshot: &Snapshot<'_>, json: &Value) -> Result<()> {
    match json.get("model_type").and_then(Value::as_str) {
        Some(name) if !is_supported(name) => {
            let problem =
                format!("is {name:?}, which is not supported (docs/models.md): nothing more is downloaded");
            Err(Error::field(&snapshot.path(CONFIG), "model_type", problem))
        }
        _ => Ok(()),
    }
}

/// The tokenizer that an open_clip model without one uses.
fn elsewhere(json: &Value) -> Result<Elsewhere> {
    let named = json["model_cfg"]["text_cfg"]["hf_tokenizer_name"].as_str();
    Ok(match named {
        Some(name) => {
            Elsewhere { reference: Reference::main(name)?, reason: "which its configuration names" }
        }
        None => Elsewhere {
            reference: Reference::main(CLIP_TOKENIZER)?,
            reason: "which has the vocabulary that open_clip has built in",
        },
    })
}

/// The files of a repository's tokenizer; empty if it has none.
pub(super) fn tokenizer_files(snapshot: &Snapshot<'_>) -> Result<Vec<String>> {
    for files in TOKENIZERS {
        let mut found = present(snapshot, files)?;
        if found.len() == files.len() {
            found.extend(present(snapshot, &TOKENIZER_SETTINGS)?);
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

/// Those of `names` that the repository has.
fn present(snapshot: &Snapshot<'_>, names: &[&str]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for name in names {
        if snapshot.has(name)? {
            found.push((*name).to_owned());
        }
    }
    Ok(found)
}

fn fetch_json(snapshot: &Snapshot<'_>, name: &str) -> Result<Value> {
    snapshot.fetch(&[name.to_owned()])?;
    let path: &Path = &snapshot.path(name);
    read_json(path)
}
