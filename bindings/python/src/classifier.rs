//! Images to labels with scores.

use crate::bank::Bank;
use crate::error::raised;
use crate::image_encoder::make;
use crate::model::Model;
use crate::picture::Source;
use crate::runtime::Runtime;
use ocelli::format::LabelBank;
use ocelli::score::Scored;
use pyo3::prelude::*;
use std::sync::{Mutex, PoisonError};

/// An image encoder and the labels that it scores against. Threads take turns.
#[pyclass(frozen, module = "ocelli._native")]
pub(crate) struct Classifier {
    classifier: Mutex<ocelli::Classifier>,
    labels: Vec<String>,
}

#[pymethods]
impl Classifier {
    /// Scores against `bank` or, without one, the model's own classes or the labels in it.
    #[new]
    fn new(
        python: Python<'_>,
        model: &Model,
        runtime: &Runtime,
        bank: Option<&Bank>,
        image_size: Option<(u32, u32)>,
    ) -> PyResult<Classifier> {
        let make = || {
            let encoder = make(model, runtime, 1, image_size)?;
            let own = model.0.file().bank().filter(|_| encoder.classes() == 0).map(LabelBank::from);
            match bank.map(|bank| bank.0.clone()).or(own) {
                Some(bank) => ocelli::Classifier::new(encoder, bank),
                None => ocelli::Classifier::of_classes(encoder),
            }
        };
        let classifier = python.detach(make).map_err(raised)?;
        let labels = classifier.labels();
        let labels = (0..labels.len()).map(|index| labels.name(index).to_owned()).collect();
        Ok(Classifier { classifier: Mutex::new(classifier), labels })
    }

    /// The labels.
    #[getter]
    fn labels(&self) -> Vec<String> {
        self.labels.clone()
    }

    /// Index, score and similarity of the `most` best labels, best first.
    fn classify(
        &self,
        python: Python<'_>,
        source: Source<'_>,
        most: usize,
    ) -> PyResult<Vec<(usize, f32, f32)>> {
        let held = source.hold()?;
        let view = held.view()?;
        let mut scored = vec![Scored::default(); self.labels.len()];
        let out = &mut scored;
        let classify = || {
            let mut classifier = self.classifier.lock().unwrap_or_else(PoisonError::into_inner);
            classifier.classify_into(&view, out)
        };
        python.detach(classify).map_err(raised)?;
        Ok(scored.iter().take(most).map(|scored| (scored.label, scored.score, scored.similarity)).collect())
    }
}
