//! Tensors of a checkpoint, one file or several shards: safetensors, or PyTorch's archives ([`torch`](super::torch)).
//!
//! Rows are read from the files as they are needed instead of mapping them: memory stays small whatever the size of the
//! checkpoint, and a file that shrinks meanwhile gives an error instead of a signal.

use super::dtype::SourceType;
use super::torch;
use crate::{Error, Result};
use ocelli::format::{SNIFFED, sniff};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Longest header that is read: far above any real one, far below what would hurt.
const MAX_HEADER: u64 = 100 << 20;

/// What wrappers put before the names of all tensors: DataParallel, `torch.compile`, Lightning, averaging, distillation.
const WRAPPERS: [&str; 12] = [
    "module.",
    "_orig_mod.",
    "model.",
    "clip_model.",
    "clip.",
    "base_model.",
    "backbone.",
    "network.",
    "net.",
    "student.",
    "teacher.",
    "state_dict.",
];

/// A checkpoint's tensors by name, without what a wrapper put before all names.
#[derive(Debug)]
pub struct Tensors {
    prefix: String,
    shards: Vec<(PathBuf, File)>,
    tensors: BTreeMap<String, TensorInfo>,
}

/// One tensor of a checkpoint.
#[derive(Debug)]
pub struct TensorInfo {
    shard: usize,
    start: u64,
    /// Its type in the file.
    pub dtype: safetensors::Dtype,
    /// Its shape, outermost first.
    pub shape: Vec<usize>,
}

/// A tensor in a file: its name, its first byte, and what it is.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) start: u64,
    pub(super) dtype: safetensors::Dtype,
    pub(super) shape: Vec<usize>,
}

impl Tensors {
    /// Opens the shards and reads their headers.
    pub fn open(paths: &[PathBuf]) -> Result<Tensors> {
        let (mut shards, mut tensors) = (Vec::new(), BTreeMap::new());
        for path in paths {
            let mut file = File::open(path).map_err(Error::io("open", path))?;
            for Found { name, start, dtype, shape } in find(path, &mut file)? {
                let info = TensorInfo { shard: shards.len(), start, dtype, shape };
                if tensors.insert(name.clone(), info).is_some() {
                    return Err(Error::tensor(name, format!("occurs twice, also in {}", path.display())));
                }
            }
            shards.push((path.clone(), file));
        }
        let mut prefix = String::new();
        while let Some(shared) = WRAPPERS.iter().find(|wrapper| {
            !tensors.is_empty() && tensors.keys().all(|name: &String| name.starts_with(*wrapper))
        }) {
            prefix += shared;
            tensors =
                tensors.into_iter().map(|(name, info)| (name[shared.len()..].to_owned(), info)).collect();
        }
        Ok(Tensors { prefix, shards, tensors })
    }

    /// What a wrapper put before the name of every tensor; it is left out of names here.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The tensor with this name.
    pub fn get(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The file that holds a tensor.
    pub fn path_of(&self, info: &TensorInfo) -> &Path {
        &self.shards[info.shard].0
    }

    /// Reads elements `range` of the tensor, in the order of the file.
    ///
    /// # Errors
    /// If the type is none that can be read, the file cannot be read, or a value is not finite.
    pub fn read(&self, name: &str, range: Range<usize>, out: &mut [f32]) -> Result<()> {
        let info = self.get(name).ok_or_else(|| Error::tensor(name, "is missing"))?;
        let dtype = SourceType::new(info.dtype).ok_or_else(|| {
            Error::tensor(name, format!("has type {:?}: only F32, F16 and BF16 can be converted", info.dtype))
        })?;
        let (path, mut file) = (self.path_of(info), &self.shards[info.shard].1);
        let mut bytes = vec![0; range.len() * dtype.size()];
        let start = info.start + (range.start * dtype.size()) as u64;
        file.seek(SeekFrom::Start(start))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(Error::io("read", path))?;
        dtype.widen(&bytes, out);
        match out.iter().position(|value| !value.is_finite()) {
            None => Ok(()),
            Some(bad) => {
                Err(Error::tensor(name, format!("holds {} at element {}", out[bad], range.start + bad)))
            }
        }
    }
}

/// The tensors of one file.
fn find(path: &Path, file: &mut File) -> Result<Vec<Found>> {
    let mut first = [0; 4];
    let len = file.read(&mut first).and_then(|len| file.rewind().map(|()| len));
    match &first[..len.map_err(Error::io("read", path))?] {
        b"PK\x03\x04" => return torch::tensors(path, file),
        [0x80, 2..=5, ..] => return Err(torch::legacy(path)),
        _ => {}
    }
    let (data_start, metadata) = read_header(path, file)?;
    let found = metadata.tensors().into_iter().map(|(name, info)| Found {
        name,
        start: data_start + info.data_offsets.0 as u64,
        dtype: info.dtype,
        shape: info.shape.clone(),
    });
    Ok(found.collect())
}

/// Whether a file starts as safetensors files do.
fn is_safetensors(first: &[u8]) -> bool {
    first.get(8) == Some(&b'{') && first[4..8] == [0; 4]
}

/// Offset of the data, and the header's contents, whose offsets are checked against the file's length.
fn read_header(path: &Path, file: &mut File) -> Result<(u64, safetensors::tensor::Metadata)> {
    let io = || Error::io("read", path);
    let metadata = file.metadata().map_err(io())?;
    if !metadata.is_file() {
        return Err(Error::file(path, "not a regular file"));
    }
    let mut first = Vec::new();
    file.take(SNIFFED as u64).read_to_end(&mut first).map_err(io())?;
    let kind = sniff(&first).filter(|_| !is_safetensors(&first));
    if let Some(kind) = kind {
        return Err(Error::file(path, format!("not a safetensors file: this is {kind}")));
    }
    let Some(start) = first.first_chunk().copied() else {
        return Err(Error::file(path, "not a safetensors file: shorter than the length of its header"));
    };
    file.seek(SeekFrom::Start(8)).map_err(io())?;
    let len = u64::from_le_bytes(start);
    if len > MAX_HEADER || len + 8 > metadata.len() {
        let problem = format!(
            "not a safetensors file, or cut off inside its header: that would have {len} bytes, the file has {}",
            metadata.len()
        );
        return Err(Error::file(path, problem));
    }
    let mut header = vec![0; len as usize];
    file.read_exact(&mut header).map_err(io())?;
    // Deserializing checks that the tensors tile the data and have the lengths that type and shape demand.
    let tensors: safetensors::tensor::Metadata = serde_json::from_slice(&header)
        .map_err(|e| Error::file(path, format!("not a safetensors file: {e}")))?;
    let (expected, found) = (8 + len + tensors.data_len() as u64, metadata.len());
    if expected != found {
        return Err(Error::file(
            path,
            format!(
                "cut off or damaged: expected {expected} bytes, found {found}; copy or download it again"
            ),
        ));
    }
    Ok((8 + len, tensors))
}
