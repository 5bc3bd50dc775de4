//! Labels to a bank of embeddings, with prompt ensembles.

use super::TextEncoder;
use crate::error::{Error, Result};
use crate::format::{LabelBank, bank};
use crate::printable::excerpt;
use crate::score::normalize;
use crate::text::fill;
use std::string::String;
use std::vec::Vec;

impl TextEncoder {
    /// Embeds `labels` with each of `templates` and puts the means into a bank. As CLIP does (arXiv 2103.00020, section
    /// 3.1.4), each prompt's embedding is normalised, then averaged over the templates, then normalised again.
    ///
    /// `warn` is told of prompts that are longer than the model reads and were cut.
    ///
    /// # Errors
    /// There are no labels, one is blank, or the text tower refuses a prompt.
    pub fn embed_labels<L: AsRef<str>>(
        &mut self,
        labels: &[L],
        templates: &[&str],
        warn: &mut dyn FnMut(String),
    ) -> Result<LabelBank> {
        if labels.is_empty() {
            return Err(Error::Labels { problem: "no labels given".into() });
        }
        let dim = self.embed_dim();
        let mut embeddings = std::vec![0.0; labels.len() * dim];
        let mut embedding = std::vec![0.0; dim];
        for (i, (label, mean)) in labels.iter().zip(embeddings.chunks_exact_mut(dim)).enumerate() {
            let label = label.as_ref();
            if label.trim().is_empty() {
                let problem = std::format!("label {} is empty: is there a comma too many?", i + 1);
                return Err(Error::Labels { problem });
            }
            for template in templates {
                if self.embed_into(&fill(template, label), &mut embedding)? {
                    let context = self.model().config().text.context;
                    warn(std::format!(
                        "label {:?} with its template is longer than {context} tokens and was cut",
                        excerpt(label)
                    ));
                }
                mean.iter_mut().zip(&embedding).for_each(|(mean, value)| *mean += value);
            }
            normalize(mean);
        }
        let labels: Vec<&str> = labels.iter().map(AsRef::as_ref).collect();
        let checkpoint_id = self.model().config().checkpoint_id;
        LabelBank::new(&bank::write(&labels, templates, dim, &embeddings, checkpoint_id)?)
    }
}
