//! Labels to a bank of embeddings, with prompt ensembles.

use super::{TextTokenizer, fill};
use crate::error::{Error, Result};
use crate::format::LabelBank;
use crate::format::{Config, bank};
use crate::score::normalize;
use crate::session::Session;
use std::string::String;
use std::vec::Vec;

/// Embeds `labels` with each of `templates` and puts the means into a bank. As CLIP does (arXiv 2103.00020, section
/// 3.1.4), each prompt's embedding is normalised, then averaged over the templates, then normalised again.
///
/// `warn` is told of prompts that are longer than the model reads and were cut.
///
/// # Errors
/// There are no labels, one is blank, or the text tower refuses a prompt.
pub fn embed_labels<L: AsRef<str>>(
    session: &mut Session<'_>,
    config: &Config,
    tokenizer: &TextTokenizer,
    labels: &[L],
    templates: &[&str],
    warn: &mut dyn FnMut(String),
) -> Result<LabelBank> {
    if labels.is_empty() {
        return Err(Error::Message("no labels given".into()));
    }
    let dim = session.embed_dim();
    let mut embeddings = std::vec![0.0; labels.len() * dim];
    let mut embedding = std::vec![0.0; dim];
    for (i, (label, mean)) in labels.iter().zip(embeddings.chunks_exact_mut(dim)).enumerate() {
        let label = label.as_ref();
        if label.trim().is_empty() {
            let number = i + 1;
            return Err(Error::Message(std::format!("label {number} is empty: is there a comma too many?")));
        }
        for template in templates {
            let prompt = fill(template, label);
            let tokens = tokenizer.encode(&prompt)?;
            if tokens.truncated {
                let context = config.text.context;
                warn(std::format!(
                    "label {label:?} with its template is longer than {context} tokens and was cut"
                ));
            }
            session.embed_text_into(&tokens.ids, &mut embedding)?;
            mean.iter_mut().zip(&embedding).for_each(|(mean, value)| *mean += value);
        }
        normalize(mean);
    }
    let labels: Vec<&str> = labels.iter().map(AsRef::as_ref).collect();
    LabelBank::new(&bank::write(&labels, templates, dim, &embeddings, config.checkpoint_id)?)
}
