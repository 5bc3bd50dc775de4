//! Pictures and texts that belong together: recall, and the loss that such models are trained with.

use super::metrics::{Matrix, info_nce, recall, sigmoid_loss};
use ocelli::format::{ScoreConfig, Scoring};
use ocelli::score::{dot, normalize};
use serde::Serialize;

/// Retrieval over pairs.
#[derive(Clone, Debug, Serialize)]
pub struct Retrieval {
    /// Texts.
    pub texts: usize,
    /// Recall at 1, 5 and 10 of texts for pictures.
    pub image_to_text: [f64; 3],
    /// Recall at 1, 5 and 10 of pictures for texts.
    pub text_to_image: [f64; 3],
    /// The training loss over all pairs as one batch: InfoNCE for softmax models, the sigmoid loss for sigmoid ones.
    /// None if a picture has several texts.
    pub loss: Option<f64>,
    /// Its name.
    pub loss_name: &'static str,
}

/// Compares embeddings, [n, dim], of pictures and texts; they need not be normalised. `owners`: the picture of every text.
pub fn retrieval(config: &ScoreConfig, images: &[f32], texts: &[f32], owners: &[usize]) -> Retrieval {
    let dim = config.embed_dim as usize;
    let unit = |rows: &[f32]| -> Vec<Vec<f32>> {
        let mut rows: Vec<Vec<f32>> = rows.chunks_exact(dim).map(<[f32]>::to_vec).collect();
        rows.iter_mut().for_each(|row| normalize(row));
        rows
    };
    let (images, texts) = (unit(images), unit(texts));
    let sigmoid = Scoring::from_stored(config.kind) == Some(Scoring::Sigmoid);
    let (scale, bias) = (f64::from(config.logit_scale), f64::from(config.logit_bias));
    let bias = if sigmoid { bias } else { 0.0 };
    let logits: Matrix = images
        .iter()
        .map(|image| texts.iter().map(|text| scale * f64::from(dot(image, text)) + bias).collect())
        .collect();
    let transposed: Matrix = (0..texts.len()).map(|j| logits.iter().map(|row| row[j]).collect()).collect();
    let paired = owners.len() == images.len() && owners.iter().enumerate().all(|(i, &image)| image == i);
    let loss = if sigmoid { sigmoid_loss } else { info_nce };
    Retrieval {
        texts: texts.len(),
        image_to_text: recall(&logits, |image, text| owners[text] == image),
        text_to_image: recall(&transposed, |text, image| owners[text] == image),
        loss: paired.then(|| loss(&logits)),
        loss_name: if sigmoid { "sigmoid loss" } else { "symmetric InfoNCE" },
    }
}
