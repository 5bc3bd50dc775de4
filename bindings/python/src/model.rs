//! Models and what they are.

use crate::error::raised;
use ocelli::format::{AlignedBytes, Dtype, Scoring};
use ocelli::knobs;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// An open model.
#[pyclass(frozen, module = "ocelli._native")]
pub(crate) struct Model(pub(crate) Arc<ocelli::Model>);

/// `model`, its weights checked if that is asked for: by the caller or, with `None`, by `OCELLI_VERIFY`.
fn checked(model: Arc<ocelli::Model>, verify: Option<bool>) -> ocelli::Result<Model> {
    let verify = match verify {
        Some(verify) => verify,
        None => knobs::verify()?,
    };
    if verify {
        model.check_weights(knobs::threads()?)?;
    }
    Ok(Model(model))
}

#[pymethods]
impl Model {
    /// Opens the packed file at `path`, its weights mapped or, with `copy`, copied into memory.
    #[staticmethod]
    fn open(python: Python<'_>, path: PathBuf, verify: Option<bool>, copy: bool) -> PyResult<Model> {
        let open = || {
            let model = match copy {
                true => ocelli::Model::read(&path),
                false => ocelli::Model::open(&path),
            }?;
            checked(model, verify).map_err(|error| error.in_file(&path))
        };
        python.detach(open).map_err(raised)
    }

    /// A copy of the packed file in `data`.
    #[staticmethod]
    fn from_bytes(data: &Bound<'_, PyBytes>, verify: Option<bool>) -> PyResult<Model> {
        let (python, bytes) = (data.py(), data.as_bytes());
        let open = || {
            let mut copy = AlignedBytes::zeroed(bytes.len())?;
            copy.copy_from_slice(bytes);
            checked(ocelli::Model::from_bytes(copy)?, verify)
        };
        python.detach(open).map_err(raised)
    }

    /// Its labels: those of its classifier, or of the bank that is in it.
    fn labels(&self) -> Vec<String> {
        let file = self.0.file();
        let classes: Vec<String> = file.labels().map(String::from).collect();
        match file.bank() {
            Some(bank) if classes.is_empty() => bank.labels().map(String::from).collect(),
            _ => classes,
        }
    }

    /// What it is.
    fn info<'py>(&self, python: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (file, config) = (self.0.file(), self.0.config());
        let info = PyDict::new(python);
        info.set_item("bytes", file.bytes_len())?;
        info.set_item("model_id", hex(&file.model_id()))?;
        info.set_item("checkpoint_id", hex(&config.checkpoint_id))?;
        info.set_item("embed_dim", config.score.embed_dim)?;
        info.set_item("scoring", Scoring::from_stored(config.score.kind).map(Scoring::name))?;
        info.set_item("logit_scale", config.score.logit_scale)?;
        info.set_item("logit_bias", config.score.logit_bias)?;
        info.set_item("classes", config.score.classes)?;
        if file.has_vision() {
            let image = PyDict::new(python);
            image.set_item("height", config.vision.height)?;
            image.set_item("width", config.vision.width)?;
            image.set_item("patch", config.vision.patch)?;
            image.set_item("tower_width", config.vision.tower.width)?;
            image.set_item("depth", config.vision.tower.depth)?;
            image.set_item("mean", config.preprocess.mean)?;
            image.set_item("std", config.preprocess.std)?;
            info.set_item("image", image)?;
        }
        if file.has_text() {
            let text = PyDict::new(python);
            text.set_item("context", config.text.context)?;
            text.set_item("vocab", config.text.vocab)?;
            text.set_item("pad", config.text.pad)?;
            text.set_item("eos", config.text.eos)?;
            text.set_item("padded", config.text.padded != 0)?;
            text.set_item("tower_width", config.text.tower.width)?;
            text.set_item("depth", config.text.tower.depth)?;
            info.set_item("text", text)?;
        }
        let mut elements = BTreeMap::<&str, u64>::new();
        for tensor in file.tensors() {
            *elements.entry(Dtype::name(tensor.dtype())).or_default() +=
                tensor.n() as u64 * tensor.k().max(1) as u64;
        }
        info.set_item("precision", elements)?;
        info.set_item("provenance", file.provenance())?;
        Ok(info)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
