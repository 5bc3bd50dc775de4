//! Texts to embeddings, and labels to banks.

use crate::bank::Bank;
use crate::error::raised;
use crate::model::Model;
use crate::runtime::Runtime;
use numpy::{IntoPyArray, PyArray2, PyArrayMethods};
use ocelli::knobs;
use ocelli::score::normalize;
use ocelli::text::templates as checked_templates;
use pyo3::prelude::*;
use std::sync::{Mutex, PoisonError};

/// A text tower with its memory and its tokenizer. Threads take turns.
#[pyclass(frozen, module = "ocelli._native")]
pub(crate) struct TextEncoder(Mutex<ocelli::TextEncoder>);

impl TextEncoder {
    /// Runs `work` with the encoder and without the interpreter's lock, when no other thread has it.
    fn with<T: Send>(
        &self,
        python: Python<'_>,
        work: impl FnOnce(&mut ocelli::TextEncoder) -> ocelli::Result<T> + Send,
    ) -> PyResult<T> {
        let work = || work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
        python.detach(work).map_err(raised)
    }
}

#[pymethods]
impl TextEncoder {
    #[new]
    fn new(python: Python<'_>, model: &Model, runtime: &Runtime) -> PyResult<TextEncoder> {
        let make = || {
            let mut encoder = ocelli::TextEncoder::new(&model.0, &runtime.0, &knobs::limits()?)?;
            encoder.tokenizer()?;
            Ok(encoder)
        };
        Ok(TextEncoder(Mutex::new(python.detach(make).map_err(raised)?)))
    }

    /// Token ids of each text, and whether it was cut.
    fn tokenize(&self, python: Python<'_>, texts: Vec<String>) -> PyResult<(Vec<Vec<u32>>, Vec<bool>)> {
        self.with(python, |encoder| {
            let tokenizer = encoder.tokenizer()?;
            let (mut ids, mut cut) = (Vec::new(), Vec::new());
            for text in &texts {
                let tokens = tokenizer.encode(text)?;
                ids.push(tokens.ids);
                cut.push(tokens.truncated);
            }
            Ok((ids, cut))
        })
    }

    /// The embeddings of texts that are given as token ids, [texts, channels], each of length 1 with `unit`.
    fn encode_ids<'py>(
        &self,
        python: Python<'py>,
        texts: Vec<Vec<u32>>,
        unit: bool,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let (values, dim) = self.with(python, |encoder| {
            let dim = encoder.embed_dim();
            let mut values = vec![0.0; texts.len() * dim];
            encoder.encode_all_ids(&texts, &mut values)?;
            if unit {
                values.chunks_exact_mut(dim).for_each(normalize);
            }
            Ok((values, dim))
        })?;
        let count = values.len() / dim;
        values.into_pyarray(python).reshape([count, dim])
    }

    /// A bank of `labels` with the mean embedding over `templates`, and what was cut.
    fn embed_labels(
        &self,
        python: Python<'_>,
        labels: Vec<String>,
        templates: Vec<String>,
    ) -> PyResult<(Bank, Vec<String>)> {
        self.with(python, |encoder| {
            let mut warnings = Vec::new();
            let templates = checked_templates(&templates)?;
            let bank = encoder.embed_labels(&labels, &templates, &mut |warning| warnings.push(warning))?;
            Ok((Bank(bank), warnings))
        })
    }
}
