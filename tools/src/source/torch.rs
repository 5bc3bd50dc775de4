//! Checkpoints that `torch.save` wrote: a ZIP archive with a pickle that describes the tensors (`data.pkl`) and their
//! bytes (`data/0`, `data/1`, ...). The pickle is read, not run ([`pickle`](super::pickle)).

use super::pickle::{self, View};
use super::safetensors::Found;
use super::zip::{self, Entry};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

/// Longest pickle that is read; that of a large model has some hundred KB.
const MAX_PICKLE: u64 = 8 << 20;

/// What to do with a file that is not read here.
fn advice(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!(
        "; if you trust it, save it as safetensors: python -c \"import torch, safetensors.torch as s; \
         s.save_file({{k: v.clone().contiguous() for k, v in torch.load('{name}', 'cpu', weights_only=True).items()}}, \
         'model.safetensors')\""
    )
}

/// The error for a file that `torch.save` wrote before version 1.6, or with another protocol.
pub(super) fn legacy(path: &Path) -> Error {
    let problem = "a PyTorch checkpoint that is no ZIP archive, as it was before version 1.6, is not read";
    Error::file(path, format!("{problem}{}", advice(path)))
}

/// The tensors of the archive `file`.
///
/// # Errors
/// It is damaged, or holds something else than tensors.
pub(super) fn tensors(path: &Path, file: &mut File) -> Result<Vec<Found>> {
    let wrong = |problem: String| Error::file(path, format!("not a usable PyTorch checkpoint: {problem}"));
    let entries = zip::entries(file).map_err(wrong)?;
    let mut roots = entries.keys().filter_map(|name| name.strip_suffix("data.pkl"));
    let root = match (roots.next(), roots.next()) {
        (Some(root), None) if root.is_empty() || root.ends_with('/') => root.to_owned(),
        _ => return Err(wrong("it has no data.pkl that is stored as it is, or several".into())),
    };
    let mut read = |entry: &Entry| zip::read(file, entry.start, entry.len as usize).map_err(wrong);
    if let Some(order) = entries.get(&format!("{root}byteorder"))
        && (order.len != 6 || read(order)? != b"little")
    {
        return Err(wrong("its numbers are not little-endian".into()));
    }
    let pickle = entries[&format!("{root}data.pkl")];
    if pickle.len > MAX_PICKLE {
        return Err(wrong(format!("its data.pkl has {} bytes", pickle.len)));
    }
    let views = pickle::tensors(&read(&pickle)?);
    let views = views.map_err(|problem| wrong(format!("{problem}{}", advice(path))))?;
    views.into_iter().map(|(name, view)| locate(name, &view, &root, &entries)).collect()
}

/// Where the elements of a tensor lie. They must lie one after the other.
fn locate(name: String, view: &View, root: &str, entries: &BTreeMap<String, Entry>) -> Result<Found> {
    let wrong = |problem: String| Error::tensor(&name, problem);
    let key = format!("{root}data/{}", view.key);
    let entry = entries
        .get(&key)
        .ok_or_else(|| wrong(format!("needs {key}, which the file does not have, or compressed")))?;
    let size = view.dtype.bitsize() as u64 / 8;
    if view.elements.checked_mul(size).is_none_or(|bytes| bytes > entry.len) {
        return Err(wrong(format!(
            "has {} elements, more than the {} bytes of {key}",
            view.elements, entry.len
        )));
    }
    if view.strides.len() != view.shape.len() {
        return Err(wrong(format!("has shape {:?} and steps {:?}", view.shape, view.strides)));
    }
    let mut count = 1u64;
    for (&side, &stride) in view.shape.iter().zip(&view.strides).rev() {
        if side > 1 && stride != count {
            let problem =
                format!("has shape {:?} with steps {:?}: save it contiguous", view.shape, view.strides);
            return Err(wrong(problem));
        }
        count = count.checked_mul(side).ok_or_else(|| wrong(format!("has shape {:?}", view.shape)))?;
    }
    if view.offset.checked_add(count).is_none_or(|end| end > view.elements) {
        return Err(wrong(format!("has shape {:?}, more than its {} elements", view.shape, view.elements)));
    }
    let start = entry.start + view.offset * size;
    let shape = view.shape.iter().map(|&side| side as usize).collect();
    Ok(Found { name, start, dtype: view.dtype, shape })
}
