//! Label banks.

use crate::error::{raised, refuse};
use crate::model::Model;
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods};
use ocelli::atomic::write_atomically;
use ocelli::format::LabelBank;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::io::Write;
use std::path::PathBuf;

/// Labels with their embeddings.
#[pyclass(frozen, module = "ocelli._native")]
pub(crate) struct Bank(pub(crate) LabelBank);

#[pymethods]
impl Bank {
    /// Reads the bank at `path`.
    #[staticmethod]
    fn open(python: Python<'_>, path: PathBuf) -> PyResult<Bank> {
        python.detach(|| LabelBank::open(path)).map(Bank).map_err(raised)
    }

    /// Reads the bank in `data`.
    #[staticmethod]
    fn from_bytes(data: &Bound<'_, PyBytes>) -> PyResult<Bank> {
        LabelBank::new(data.as_bytes()).map(Bank).map_err(raised)
    }

    /// The bank in `model`.
    #[staticmethod]
    fn of_model(model: &Model) -> PyResult<Bank> {
        let bank = model.0.file().bank();
        Ok(Bank(bank.ok_or_else(|| refuse("this model has no labels in it"))?.into()))
    }

    /// Writes the bank to `path`, whole or not at all.
    fn save(&self, python: Python<'_>, path: PathBuf) -> PyResult<()> {
        let write = || {
            write_atomically(&path, |writer| {
                let written = writer.write_all(&self.0.as_bank().to_bytes());
                written.map_err(|source| ocelli::Error::Io { action: "write the label bank", source })
            })
        };
        python.detach(write).map_err(raised)
    }

    /// The labels.
    #[getter]
    fn labels(&self) -> Vec<String> {
        self.0.as_bank().labels().map(String::from).collect()
    }

    /// The templates that it was made with.
    #[getter]
    fn templates(&self) -> Vec<String> {
        self.0.as_bank().templates().map(String::from).collect()
    }

    /// The embeddings: a row for each label, or several where it has more.
    #[getter]
    fn embeddings<'py>(&self, python: Python<'py>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let bank = self.0.as_bank();
        let values: Bound<'py, PyArray1<f32>> = bank.embeddings().to_vec().into_pyarray(python);
        values.reshape([bank.embeddings().len() / bank.dim().max(1), bank.dim()])
    }

    fn __len__(&self) -> usize {
        self.0.as_bank().len()
    }
}
