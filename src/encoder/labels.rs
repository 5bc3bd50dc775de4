//! Labels to a bank of embeddings, with prompt ensembles.

use super::TextEncoder;
use crate::error::{Error, Result};
use crate::format::{LabelBank, bank};
use crate::printable::excerpt;
use crate::score::normalize;
use crate::text::fill;
use std::string::String;
use std::vec::Vec;

/// Prompts that are embedded at once.
const PROMPTS_AT_ONCE: usize = 1024;

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
        if let Some(i) = labels.iter().position(|label| label.as_ref().trim().is_empty()) {
            let problem = std::format!("label {} is empty: is there a comma too many?", i + 1);
            return Err(Error::Labels { problem });
        }
        let (dim, of_label) = (self.embed_dim(), templates.len().max(1));
        let mut embeddings = std::vec![0.0; labels.len() * dim];
        // Many prompts at once, so that there are some of each length; not all, whose embeddings may be large.
        let at_once = (PROMPTS_AT_ONCE / of_label).max(1);
        let mut made = std::vec![0.0; at_once.min(labels.len()) * of_label * dim];
        for (labels, means) in labels.chunks(at_once).zip(embeddings.chunks_mut(at_once * dim)) {
            let prompts = labels
                .iter()
                .flat_map(|label| templates.iter().map(|template| fill(template, label.as_ref())));
            let prompts: Vec<String> = prompts.collect();
            let made = &mut made[..prompts.len() * dim];
            let truncated = self.embed_all_into(&prompts, made)?;
            for i in truncated.iter().enumerate().filter_map(|(i, &truncated)| truncated.then_some(i)) {
                let (context, label) = (self.model().config().text.context, labels[i / of_label].as_ref());
                warn(std::format!(
                    "label {:?} with its template is longer than {context} tokens and was cut",
                    excerpt(label)
                ));
            }
            for (mean, made) in means.chunks_exact_mut(dim).zip(made.chunks_exact(of_label * dim)) {
                for made in made.chunks_exact(dim) {
                    mean.iter_mut().zip(made).for_each(|(mean, value)| *mean += value);
                }
                normalize(mean);
            }
        }
        let labels: Vec<&str> = labels.iter().map(AsRef::as_ref).collect();
        let checkpoint_id = self.model().config().checkpoint_id;
        LabelBank::new(&bank::write(&labels, templates, dim, &embeddings, checkpoint_id)?)
    }
}
