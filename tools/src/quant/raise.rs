//! Which matrices go to half precision: those whose int8 error costs most for the time that half precision takes.

use super::Recipe;
use super::auto::Bench;
use super::measure::{Cosines, Embeddings, Tower};
use crate::Result;
use ocelli::format::Dtype;

/// Pictures, and texts, that sensitivity is measured on.
const JUDGES: usize = 6;

/// A matrix that could be raised.
struct Candidate {
    tensor: usize,
    /// By how much the tower's mean cosine comes closer to 1.
    gain: f64,
    /// Added time.
    time: f64,
}

/// Raises matrices of the towers that miss `target`, until they reach it or none is left. Returns how many.
///
/// Sensitivity is measured, not modelled: each int8 matrix in turn is stored as f16 and the whole model is run on a few
/// pictures (texts) that no repair was fitted to. Errors of different matrices hardly correlate, so gains add up: the
/// matrices with the largest gain per time go first, as many as the gains say are needed, and the whole model is
/// measured again after each further one.
pub(super) fn raise(
    bench: &Bench<'_, '_>,
    recipe: &mut Recipe,
    before: Cosines,
    target: f64,
) -> Result<usize> {
    let mut raised = 0;
    for tower in Tower::ALL {
        let mut reached = tower.of(&before);
        if reached >= target {
            continue;
        }
        let mut candidates = candidates(bench, recipe, tower)?;
        candidates
            .sort_by(|a, b| (b.gain / b.time).total_cmp(&(a.gain / a.time)).then(a.tensor.cmp(&b.tensor)));
        let mut predicted = reached;
        for candidate in candidates {
            bench.workshop.raise(recipe, candidate.tensor);
            raised += 1;
            predicted += candidate.gain.max(0.0);
            // Measuring is worth its time once the prediction says that the target is near.
            if predicted >= target {
                reached = tower.of(&bench.judge(recipe)?);
                predicted = reached;
                if reached >= target {
                    break;
                }
            }
        }
    }
    Ok(raised)
}

fn candidates(bench: &Bench<'_, '_>, recipe: &Recipe, tower: Tower) -> Result<Vec<Candidate>> {
    let Bench { workshop, calibration, right, progress } = bench;
    let (images, texts) = if tower == Tower::Vision { (JUDGES, 0) } else { (0, JUDGES) };
    let mean = |recipe: &Recipe| -> Result<f64> {
        let model = workshop.canonical.draft(recipe)?;
        let found = Embeddings::of(&model, calibration, images, texts)?;
        let cosines = found.against(&Embeddings {
            dim: right.dim,
            images: right.images[..found.images.len()].to_vec(),
            texts: right.texts[..found.texts.len()].to_vec(),
        });
        Ok(cosines.worst_mean())
    };
    let base = mean(recipe)?;
    let tensors: Vec<usize> = workshop
        .canonical
        .matrices()
        .filter(|&i| recipe.tensors[i].dtype == Dtype::I8 && workshop.inputs[i].k > 0)
        .filter(|&i| workshop.canonical.demands[i].name.as_str().starts_with(tower.prefix()))
        .collect();
    progress.inc_length(tensors.len() as u64);
    tensors
        .into_iter()
        .map(|tensor| {
            let mut trial = recipe.clone();
            workshop.raise(&mut trial, tensor);
            let gain = mean(&trial)? - base;
            progress.inc(1);
            let time = workshop.cost(tensor, Dtype::F16) - workshop.cost(tensor, Dtype::I8);
            Ok(Candidate { tensor, gain, time: time.max(1.0) })
        })
        .collect()
}
