//! Checkpoints as they lie on the disk.

mod dtype;
mod pickle;
mod safetensors;
mod torch;
mod zip;

pub use self::dtype::SourceType;
pub use self::safetensors::{TensorInfo, Tensors};

use crate::{Error, Result};
use ocelli::format::sniff;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A file that went into a model.
#[derive(Clone, Debug, Serialize)]
pub struct SourceFile {
    /// Its name without folders.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

/// Where a checkpoint was downloaded from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceRepository {
    /// Address of the hub.
    pub hub: String,
    /// The repository.
    pub repository: String,
    /// The branch, tag or commit that was asked for.
    pub revision: String,
    /// The commit that it was.
    pub commit: String,
    /// The licence that the repository names, if it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
}

/// Where a checkpoint's files are.
#[derive(Debug)]
pub struct Checkpoint {
    /// The folder with `config.json`.
    pub directory: PathBuf,
    /// The files with the weights.
    pub weights: Vec<PathBuf>,
}

impl Checkpoint {
    /// Finds the files of a checkpoint given by its folder, its file of weights (`.safetensors`, or what `torch.save` wrote) or its shard index.
    pub fn locate(path: &Path) -> Result<Checkpoint> {
        let metadata = fs::metadata(path).map_err(Error::io("open", path))?;
        let file = if !metadata.is_dir() {
            path.to_path_buf()
        } else {
            let found = WEIGHTS.iter().map(|name| path.join(name)).find(|file| file.exists());
            match found {
                Some(found) => found,
                None => return Err(without_weights(path)),
            }
        };
        let directory = match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        let is_index = file.extension().is_some_and(|extension| extension == "json");
        let weights = if is_index { shards(&file)? } else { vec![file] };
        Ok(Checkpoint { directory, weights })
    }
}

/// Where the weights of a checkpoint's folder are looked for.
pub(crate) const WEIGHTS: [&str; 6] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "open_clip_model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "open_clip_pytorch_model.bin",
];

/// The error for a folder without weights, which says what is there instead.
fn without_weights(folder: &Path) -> Error {
    let names: BTreeSet<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let ending = |endings: &[&str]| names.iter().find(|name| endings.iter().any(|end| name.ends_with(end)));
    let advice = if names.contains("adapter_model.safetensors") {
        "; it holds an adapter: merge it into its base model and save that".into()
    } else if let Some(name) = ending(&[".safetensors"]) {
        format!("; if {name} has the weights, give its path instead of the folder's")
    } else if let Some(name) = ending(&[".bin", ".pt", ".pth", ".ckpt"]) {
        format!("; if {name} has the weights, give its path instead of the folder's")
    } else if let Some(name) = ending(&[".onnx", ".gguf", ".h5", ".msgpack"]) {
        format!("; weights as in {name} must be saved as safetensors first (save_pretrained does it)")
    } else if let Some(name) = ending(&[".ocelli"]) {
        format!("; {name} is a packed model already")
    } else {
        "; other kinds of checkpoint must be saved as safetensors first".into()
    };
    Error::file(folder, format!("holds none of {}{advice}", WEIGHTS.join(", ")))
}

/// The shards that an index names, in the order of their names.
pub(crate) fn shards(index: &Path) -> Result<Vec<PathBuf>> {
    let json = read_json(index)?;
    let map = json.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| Error::field(index, "weight_map", "is missing"))?;
    let mut names = BTreeSet::new();
    for (tensor, shard) in map {
        // A shard lies beside its index: a path from a downloaded file must not lead elsewhere.
        let name = shard.as_str().filter(|name| !name.contains(['/', '\\']) && *name != "..");
        let name = name.ok_or_else(|| {
            Error::field(
                index,
                format!("weight_map.{tensor}"),
                "is not the name of a file in the same folder",
            )
        })?;
        names.insert(index.with_file_name(name));
    }
    Ok(names.into_iter().collect())
}

/// The JSON in a file.
///
/// # Errors
/// The file can't be read or is no JSON; what it is instead is named if it is recognised.
pub fn read_json(path: &Path) -> Result<Value> {
    let text = fs::read(path).map_err(Error::io("read", path))?;
    serde_json::from_slice(&text).map_err(|error| mistaken(path, &text).unwrap_or(Error::json(path)(error)))
}

/// The error that names what `bytes`, the start of the file at `path`, are instead of what they should be, if that is
/// recognised: a Git LFS pointer, a web page, an empty file.
pub fn mistaken(path: &Path, bytes: &[u8]) -> Option<Error> {
    sniff(bytes).map(|kind| Error::file(path, format!("this is {kind}")))
}

/// Size and SHA-256 of a file, and the digest itself.
pub fn hash(path: &Path) -> Result<(SourceFile, [u8; 32])> {
    let mut file = fs::File::open(path).map_err(Error::io("open", path))?;
    let (mut hash, mut size, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        let n = file.read(&mut buffer).map_err(Error::io("read", path))?;
        if n == 0 {
            break;
        }
        hash.update(&buffer[..n]);
        size += n as u64;
    }
    let digest: [u8; 32] = hash.finalize().into();
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok((SourceFile { name, size, sha256: hex(&digest) }, digest))
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
