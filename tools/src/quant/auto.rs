//! `--precision auto`: int8, measured, repaired where that pays, half precision where nothing else helps.

use super::calibration::{Calibration, split};
use super::canonical::Draft;
use super::measure::{Answers, Embeddings, Judgement, Tower, kernel_error, round};
use super::observe::observe;
use super::promise::{Layer, Measured, Promise, Step};
use super::raise::raise;
use super::repair::{Repair, Workshop, below_target};
use super::{Canonical, Precision, Recipe};
use crate::Result;
use indicatif::ProgressBar;
use ocelli::format::Dtype;
use ocelli::format::LabelBank;
use ocelli::{Model, knobs};
use ocelli_kernels::Kernels;
use rayon::prelude::*;
use std::path::PathBuf;

/// What is asked of a quantized model.
#[derive(Clone, Debug)]
pub struct Wish {
    /// A folder of pictures to calibrate with; made-up ones without.
    pub pictures: Option<PathBuf>,
    /// Most pictures to use.
    pub images: usize,
    /// Mean cosine that embeddings must keep; `None` to measure only.
    pub target: Option<f64>,
    /// Repairs that may be made, in their order.
    pub repairs: Vec<Repair>,
    /// Write the model even if it misses the target.
    pub allow_below_target: bool,
}

impl Default for Wish {
    fn default() -> Wish {
        Wish {
            pictures: None,
            images: super::calibration::DEFAULT_IMAGES,
            target: Some(DEFAULT_TARGET),
            repairs: Repair::ALL.into_iter().filter(|repair| *repair != Repair::Gptq).collect(),
            allow_below_target: false,
        }
    }
}

/// Mean cosine that is demanded unless another is asked for.
pub const DEFAULT_TARGET: f64 = 0.995;

/// Labels to compare answers over, and to make calibration texts of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Labels<'l> {
    /// The labels, if any were given.
    pub labels: &'l [String],
    /// Prompt templates.
    pub templates: &'l [&'l str],
    /// Their embeddings, as the packed file will hold them.
    pub bank: Option<&'l LabelBank>,
}

/// Everything that measuring needs.
pub(super) struct Bench<'b, 's> {
    pub(super) workshop: Workshop<'b, 's>,
    calibration: Calibration,
    /// What the f32 model makes of the inputs that judge.
    right: Embeddings,
    /// The model that was measured last; the next draft copies what it has in common with it.
    latest: Draft,
    pub(super) progress: &'b ProgressBar,
}

impl Bench<'_, '_> {
    /// The whole model of `recipe` against the f32 one, on all that judges.
    pub(super) fn judge(&mut self, recipe: &Recipe) -> Result<Judgement> {
        self.measure(recipe, usize::MAX, usize::MAX)
    }

    /// The mean cosine of one tower of `recipe`, on the first `most` inputs that judge.
    pub(super) fn mean(&mut self, recipe: &Recipe, tower: Tower, most: usize) -> Result<f64> {
        let (images, texts) = if tower == Tower::Vision { (most, 0) } else { (0, most) };
        Ok(self.measure(recipe, images, texts)?.mean(tower))
    }

    fn measure(&mut self, recipe: &Recipe, images: usize, texts: usize) -> Result<Judgement> {
        self.latest = self.workshop.canonical.draft(recipe.clone(), Some(&self.latest))?;
        let found = Embeddings::of(&self.latest.model, &self.calibration, images, texts)?;
        self.progress.inc(1);
        Ok(found.against(&self.right))
    }
}

/// Finds a recipe for `canonical` that keeps what `wish` asks for, starting from `precision`, and measures it.
///
/// # Errors
/// The pictures can't be read, the disk is full, or the target can't be met.
pub fn plan(
    canonical: &Canonical<'_>,
    precision: Precision,
    wish: &Wish,
    labels: Labels<'_>,
    progress: &ProgressBar,
) -> Result<(Recipe, Promise)> {
    progress.set_message("f32 model");
    let exact = canonical.draft(Recipe::plain(&canonical.demands, Precision::Fp32), None)?.model;
    let calibration =
        Calibration::new(&exact, wish.pictures.as_deref(), wish.images, labels.labels, labels.templates)?;
    let fitted = split(&calibration.frames).0.len() + split(&calibration.texts).0.len();
    progress.set_length((fitted + wish.repairs.len() + 2) as u64);
    progress.set_message("activations of the f32 model");
    let inputs = observe(canonical, &exact, &calibration, &mut || progress.inc(1))?;
    let right = Embeddings::of(&exact, &calibration, usize::MAX, usize::MAX)?;
    let workshop = Workshop { canonical, inputs, kernels: Kernels::new(knobs::isa()?) };

    progress.set_message("plain model");
    let mut recipe = Recipe::plain(&canonical.demands, precision);
    let latest = canonical.draft(recipe.clone(), None)?;
    let mut bench = Bench { workshop, calibration, right, latest, progress };
    let mut reached = bench.judge(&recipe)?;
    let mut steps = vec![Step { repair: None, changed: 0, cosine: reached.cosines(), kept: Vec::new() }];
    for &repair in &wish.repairs {
        progress.set_message(repair.name());
        steps.extend(attempt(&mut bench, &mut recipe, &mut reached, repair, wish.target)?);
    }
    progress.set_message("final measurement");
    let promise = promise(&mut bench, &exact, &recipe, wish, labels, steps)?;
    if let Some(target) = wish.target.filter(|_| !promise.holds && !wish.allow_below_target) {
        let worst = reached.cosines().worst_mean();
        return Err(below_target(canonical.output, worst, target, &wish.repairs));
    }
    Ok((recipe, promise))
}

/// Tries a repair on both towers, measures, and keeps it in each tower that got better.
fn attempt(
    bench: &mut Bench<'_, '_>,
    recipe: &mut Recipe,
    reached: &mut Judgement,
    repair: Repair,
    target: Option<f64>,
) -> Result<Option<Step>> {
    let mut trial = recipe.clone();
    let mut rescaled = Vec::new();
    let changed = match repair {
        Repair::Smooth => {
            rescaled = bench.workshop.smooth(&mut trial)?;
            rescaled.len()
        }
        Repair::Clip => bench.workshop.clip(&mut trial)?,
        Repair::Gptq => bench.workshop.gptq(&mut trial)?,
        Repair::Bias => bench.workshop.bias(&mut trial)?,
        Repair::Half => match target {
            Some(target) => raise(bench, &mut trial, reached, target)?,
            None => 0,
        },
    };
    if changed == 0 {
        return Ok(None);
    }
    let found = bench.judge(&trial)?;
    let mut kept = Vec::new();
    for tower in Tower::ALL {
        // Layers go to half precision only where the target asks for it.
        let better = if repair == Repair::Half {
            found.mean(tower) > reached.mean(tower)
        } else {
            found.improves(reached, tower)
        };
        if better {
            kept.push(tower);
            reached.adopt(&found, tower);
        } else {
            let canonical = bench.workshop.canonical;
            let back = |i: usize| canonical.demands[i].name.as_str().starts_with(tower.prefix());
            (0..trial.tensors.len())
                .filter(|&i| back(i))
                .for_each(|i| trial.tensors[i] = recipe.tensors[i].clone());
            let back: Vec<_> = rescaled.iter().filter(|(consumer, _)| back(*consumer)).cloned().collect();
            bench.workshop.roughen(&back);
        }
    }
    *recipe = trial;
    Ok(Some(Step { repair: Some(repair), changed, cosine: found.cosines(), kept }))
}

/// Measures the model of `recipe` as it will be packed.
fn promise(
    bench: &mut Bench<'_, '_>,
    exact: &Model,
    recipe: &Recipe,
    wish: &Wish,
    labels: Labels<'_>,
    steps: Vec<Step>,
) -> Result<Promise> {
    bench.latest = bench.workshop.canonical.draft(recipe.clone(), Some(&bench.latest))?;
    let Bench { workshop, calibration, right, latest: Draft { model, .. }, .. } = &*bench;
    let found = Embeddings::of(model, calibration, usize::MAX, usize::MAX)?;
    let cosines = found.against(right).cosines();
    let (fitted_images, judged_images) = counts(&calibration.frames);
    let (fitted_texts, judged_texts) = counts(&calibration.texts);
    let answers =
        (Answers::of(exact, &right.images, labels.bank)?, Answers::of(model, &found.images, labels.bank)?);
    let (top1_agreement, labels) = match &answers {
        (Some(right), Some(found)) => (right.agreement(found), found.labels),
        _ => (None, 0),
    };
    let layers = layers(workshop, recipe)?;
    let tower = if judged_images > 0 { "vision." } else { "text." };
    let of_tower: Vec<&Layer> = layers.iter().filter(|layer| layer.name.starts_with(tower)).collect();
    let share = |dtype: Dtype| -> f64 {
        of_tower.iter().filter(|layer| layer.dtype == dtype.name()).map(|layer| layer.share).sum()
    };
    let time = [Dtype::I8, Dtype::F16, Dtype::F32]
        .into_iter()
        .map(|dtype| share(dtype) * super::repair::relative_cost(dtype))
        .sum();
    Ok(Promise {
        calibration: Measured {
            kind: calibration.kind,
            hash: calibration.hash.clone(),
            fitted_images,
            judged_images,
            fitted_texts,
            judged_texts,
        },
        target_cosine: wish.target,
        holds: wish.target.is_none_or(|target| cosines.worst_mean() >= target),
        image_cosine: cosines.image,
        text_cosine: cosines.text,
        top1_agreement,
        labels,
        kernel_error: round(kernel_error(model, calibration)?),
        int8_macs: round(share(Dtype::I8)),
        predicted_time: round(time),
        steps,
        layers,
    })
}

/// How many members fit, and how many judge.
fn counts<T>(all: &[T]) -> (usize, usize) {
    let (fitted, judged) = split(all);
    (fitted.len(), judged.len())
}

/// Every matrix with its type, its error, and its share of its tower's work.
fn layers(workshop: &Workshop<'_, '_>, recipe: &Recipe) -> Result<Vec<Layer>> {
    let matrices: Vec<usize> = workshop.canonical.matrices().collect();
    let name = |i: usize| workshop.canonical.demands[i].name;
    let tower = |i: usize| name(i).as_str().split('.').next().unwrap_or_default().to_owned();
    matrices
        .par_iter()
        .map(|&i| {
            let all: f64 = matrices
                .iter()
                .filter(|&&other| tower(other) == tower(i))
                .map(|&other| workshop.macs(other))
                .sum();
            Ok(Layer {
                name: name(i).as_str().into(),
                dtype: recipe.tensors[i].dtype.name().into(),
                snr_db: workshop.snr(recipe, i)?.map(round),
                share: if all > 0.0 { round(workshop.macs(i) / all) } else { 0.0 },
            })
        })
        .collect()
}
