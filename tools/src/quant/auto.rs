//! `--precision auto`: int8, measured, repaired where that pays, half precision where nothing else helps.

use super::accuracy::{AccuracyReport, Layer, Measured, Step};
use super::calibration::{Calibration, split};
use super::canonical::{Canonical, Draft};
use super::evaluator::Evaluator;
use super::measure::{CosineSet, Embeddings, Predictions, Tower, kernel_error, round};
use super::merge::{MergeTokens, Merged, search};
use super::observe::observe;
use super::options::{DEFAULT_TARGET, Labels, QuantizeOptions};
use super::precision::Precision;
use super::raise::raise;
use super::recipe::Recipe;
use super::repair::{Repair, Repairer, below_target, relative_cost};
use crate::error::Result;
use crate::progress::Progress;
use ocelli::format::{Dtype, Merging};
use ocelli::{Model, knobs};
use ocelli_kernels::Kernels;
use rayon::prelude::*;
use std::sync::Arc;

/// Finds a recipe for `canonical` that keeps what `options` asks for, starting from `precision`, and measures it.
///
/// # Errors
/// The pictures can't be read, the disk is full, or the target can't be met.
pub fn plan(
    canonical: &Canonical<'_>,
    precision: Precision,
    options: &QuantizeOptions,
    labels: Labels<'_>,
    progress: &dyn Progress,
) -> Result<(Recipe, AccuracyReport, Merging)> {
    progress.describe("f32 model");
    let exact = canonical.draft(Recipe::plain(&canonical.demands, Precision::Fp32), None)?.model;
    let calibration = Calibration::new(
        &exact,
        options.pictures.as_deref(),
        options.images,
        labels.labels,
        labels.templates,
    )?;
    let fitted = split(&calibration.frames).0.len() + split(&calibration.texts).0.len();
    progress.begin("steps", (fitted + options.repairs.len() + 2) as u64);
    progress.describe("activations of the f32 model");
    let inputs = observe(canonical, &exact, &calibration, &mut || progress.advance(1))?;
    let reference = Embeddings::of(&exact, &calibration, usize::MAX, usize::MAX)?;
    let repairer = Repairer { canonical, inputs, kernels: Kernels::new(knobs::isa()?) };

    progress.describe("plain model");
    let mut recipe = Recipe::plain(&canonical.demands, precision);
    let latest = canonical.draft(recipe.clone(), None)?;
    let mut evaluator = Evaluator { repairer, calibration, reference, latest, progress };
    let mut reached = evaluator.all(&recipe)?;
    let mut steps = vec![Step { repair: None, changed: 0, cosine: reached.cosines(), kept: Vec::new() }];
    for &repair in &options.repairs {
        progress.describe(repair.name());
        steps.extend(attempt(&mut evaluator, &mut recipe, &mut reached, repair, options)?);
    }
    evaluator.latest = canonical.draft(recipe.clone(), Some(&evaluator.latest))?;
    let merging = match options.merge {
        None => Merging::NONE,
        Some(MergeTokens::Fixed(merging)) => merging,
        Some(MergeTokens::Auto) => {
            progress.describe("merging of tokens");
            let target = options.target.unwrap_or(DEFAULT_TARGET);
            search(&evaluator.latest.model, &exact, &evaluator.calibration, target, progress)?
        }
    };
    progress.describe("final measurement");
    let report = report(&evaluator, &exact, &recipe, options, labels, (steps, merging))?;
    if let Some(target) = options.target.filter(|_| !report.holds && !options.allow_below_target) {
        let worst = [report.image_cosine, report.text_cosine].into_iter().flatten();
        let worst = worst.map(|cosine| cosine.mean).fold(1.0, f64::min);
        return Err(below_target(canonical.output, worst, target, &options.repairs));
    }
    Ok((recipe, report, merging))
}

/// Tries a repair on both towers, measures, and keeps it in each tower that got better.
fn attempt(
    evaluator: &mut Evaluator<'_, '_>,
    recipe: &mut Recipe,
    reached: &mut CosineSet,
    repair: Repair,
    options: &QuantizeOptions,
) -> Result<Option<Step>> {
    let mut trial = recipe.clone();
    let mut rescaled = Vec::new();
    let changed = match repair {
        Repair::Smooth => {
            rescaled = evaluator.repairer.smooth(&mut trial)?;
            rescaled.len()
        }
        Repair::Clip => evaluator.repairer.clip(&mut trial)?,
        Repair::Gptq => evaluator.repairer.gptq(&mut trial)?,
        Repair::Bias => evaluator.repairer.bias(&mut trial)?,
        Repair::Half => raise(evaluator, &mut trial, reached, options)?,
    };
    if changed == 0 {
        return Ok(None);
    }
    let found = evaluator.all(&trial)?;
    let mut kept = Vec::new();
    for tower in Tower::ALL {
        // Layers go to half precision only where the target or the budget asks for it.
        let better = if repair == Repair::Half {
            found.mean(tower) > reached.mean(tower)
        } else {
            found.improves(reached, tower)
        };
        if better {
            kept.push(tower);
            reached.adopt(&found, tower);
        } else {
            let canonical = evaluator.repairer.canonical;
            let back = |i: usize| canonical.demands[i].name.as_str().starts_with(tower.prefix());
            (0..trial.tensors.len())
                .filter(|&i| back(i))
                .for_each(|i| trial.tensors[i] = recipe.tensors[i].clone());
            let back: Vec<_> = rescaled.iter().filter(|(consumer, _)| back(*consumer)).cloned().collect();
            evaluator.repairer.undo_smooth(&back);
        }
    }
    *recipe = trial;
    Ok(Some(Step { repair: Some(repair), changed, cosine: found.cosines(), kept }))
}

/// Measures the latest draft, the model of `recipe`, as it will be packed, its tokens merged.
fn report(
    evaluator: &Evaluator<'_, '_>,
    exact: &Arc<Model>,
    recipe: &Recipe,
    options: &QuantizeOptions,
    labels: Labels<'_>,
    (steps, merging): (Vec<Step>, Merging),
) -> Result<AccuracyReport> {
    let Evaluator { repairer, calibration, reference, latest: Draft { model, .. }, .. } = evaluator;
    let mut found = Embeddings::of(model, calibration, usize::MAX, usize::MAX)?;
    let without = found.against(reference).cosines().image.map(|cosine| cosine.mean);
    if !merging.is_none() {
        let judged = split(&calibration.frames).1;
        found.images = Embeddings::of_images(model, &judged, Some(merging))?;
    }
    let cosines = found.against(reference).cosines();
    let (fitted_images, judged_images) = counts(&calibration.frames);
    let (fitted_texts, judged_texts) = counts(&calibration.texts);
    let answers = (
        Predictions::of(exact, &reference.images, labels.bank)?,
        Predictions::of(model, &found.images, labels.bank)?,
    );
    let (top1_agreement, labels) = match &answers {
        (Some(reference), Some(found)) => (reference.agreement(found), found.labels),
        _ => (None, 0),
    };
    let layers = layers(repairer, recipe)?;
    let tower = if judged_images > 0 { "vision." } else { "text." };
    let of_tower: Vec<&Layer> = layers.iter().filter(|layer| layer.name.starts_with(tower)).collect();
    let share = |dtype: Dtype| -> f64 {
        of_tower.iter().filter(|layer| layer.dtype == dtype.name()).map(|layer| layer.share).sum()
    };
    let time = [Dtype::I8, Dtype::F16, Dtype::F32]
        .into_iter()
        .map(|dtype| share(dtype) * relative_cost(dtype))
        .sum();
    Ok(AccuracyReport {
        calibration: Measured {
            kind: calibration.kind,
            hash: calibration.hash.clone(),
            fitted_images,
            judged_images,
            fitted_texts,
            judged_texts,
        },
        target_cosine: options.target,
        holds: options.target.is_none_or(|target| cosines.worst_mean() >= target),
        image_cosine: cosines.image,
        text_cosine: cosines.text,
        top1_agreement,
        labels,
        kernel_error: round(kernel_error(model, calibration)?),
        int8_macs: round(share(Dtype::I8)),
        predicted_time: round(time),
        merging: Merged::of(model, &merging, without),
        steps,
        layers,
    })
}

/// How many members fit, and how many are measured on.
fn counts<T>(all: &[T]) -> (usize, usize) {
    let (fitted, judged) = split(all);
    (fitted.len(), judged.len())
}

/// Every matrix with its type, its error, and its share of its tower's work.
fn layers(repairer: &Repairer<'_, '_>, recipe: &Recipe) -> Result<Vec<Layer>> {
    let matrices: Vec<usize> = repairer.canonical.matrices().collect();
    let name = |i: usize| repairer.canonical.demands[i].name;
    let tower = |i: usize| name(i).as_str().split('.').next().unwrap_or_default().to_owned();
    matrices
        .par_iter()
        .map(|&i| {
            let all: f64 = matrices
                .iter()
                .filter(|&&other| tower(other) == tower(i))
                .map(|&other| repairer.macs(other))
                .sum();
            Ok(Layer {
                name: name(i).as_str().into(),
                dtype: recipe.tensors[i].dtype.name().into(),
                snr_db: repairer.snr(recipe, i)?.map(round),
                share: if all > 0.0 { round(repairer.macs(i) / all) } else { 0.0 },
            })
        })
        .collect()
}
