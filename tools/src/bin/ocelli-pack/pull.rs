//! Checkpoints by name.

use crate::args::ConvertArgs;
use crate::converted;
use crate::output::{Bar, tell};
use ocelli_tools::hub::{self, Arrival, PullOptions, Settings, table};
use ocelli_tools::{Error, Result, inspect};
use std::path::{Path, PathBuf};

/// The repository that stands in a checkpoint's place, if one does: `hf:ORG/NAME`.
pub(crate) fn repository(checkpoint: &Path) -> Option<String> {
    checkpoint.to_str().filter(|name| name.starts_with("hf:")).map(str::to_owned)
}

/// The models that are known by name.
pub(crate) fn list(costs: bool, json: bool) -> Result<String> {
    if !json {
        return Ok(table::render(costs));
    }
    table::json_lines(costs).map_err(|source| Error::Json { path: "standard output".into(), source })
}

/// Downloads what a conversion of `name` needs, and converts it.
pub(crate) fn pull(
    name: &str,
    output: Option<PathBuf>,
    convert: ConvertArgs,
    json: bool,
    bar: &Bar,
    quiet: bool,
) -> Result<Vec<u8>> {
    let target = hub::resolve(name)?;
    let output = output.unwrap_or_else(|| format!("{}.ocelli", target.stem).into());
    // Labels are read before anything is downloaded: they may not be there.
    let mut options = convert.options(PathBuf::new(), output)?;
    let without_tokenizer = options.model.vision_only || options.model.tokenizer.is_some();
    let pulled = hub::pull(&target, PullOptions { without_tokenizer }, &Settings::from_env()?, bar)?;
    if !quiet {
        for file in &pulled.files {
            let from = match file.from {
                Arrival::Cached => "cached    ",
                Arrival::Downloaded => "downloaded",
                Arrival::Resumed => "resumed   ",
            };
            tell(format_args!("{from} {}/{} ({} bytes)", file.repository, file.name, file.size));
        }
        let source = &pulled.source;
        let licence = source.licence.as_deref().unwrap_or("not named by the hub: see the repository's page");
        tell(format_args!("{} at commit {}; licence: {licence}", source.repository, source.commit));
    }
    pulled.prepare(&mut options);
    let result = converted(&options, json, bar, quiet)?;
    if !quiet {
        tell(format_args!("next: {}", next(&options.output)?));
        if let Some(images) = target.images {
            tell(format_args!("for pictures: ocelli-pack pull {images} --vision-only"));
        }
    }
    Ok(result.into_bytes())
}

/// A command that uses the model.
fn next(model: &Path) -> Result<String> {
    let config = &inspect::inspect(model)?["config"];
    let name = quoted(&model.to_string_lossy());
    Ok(if config["vision"].is_null() {
        format!("ocelli embed --model {name} --text \"a photo of a cat\"")
    } else if !config["text"].is_null() {
        format!("ocelli classify photo.jpg --model {name} --labels \"a cat,a dog\"")
    } else if config["score"]["classes"].as_u64().unwrap_or(0) > 0 {
        format!("ocelli classify photo.jpg --model {name}")
    } else {
        format!("ocelli embed photo.jpg --model {name}")
    })
}

/// A word that a shell takes as it is.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-._/+@%:".contains(c);
    if name.chars().all(plain) { name.into() } else { format!("'{}'", name.replace('\'', "'\\''")) }
}
