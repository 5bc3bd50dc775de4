//! The repairs, one function each: they change a recipe, and the next measurement says whether that paid.

use super::canonical::Canonical;
use super::layer::{self, product_f16, product_f32, product_i8};
use super::observe::Inputs;
use super::recipe::Recipe;
use super::{gptq, smooth};
use crate::codes::Codes;
use crate::error::{Error, Result};
use ocelli::format::Dtype;
use ocelli_kernels::Kernels;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A repair, in the order in which they are tried: the cheapest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Repair {
    /// Scales folded exactly into norms and neighbouring matrices, so that no channel drowns the others
    Smooth,
    /// Weight scales that clip a channel's largest weights where that makes its error less
    Clip,
    /// Rounding that makes up for its own errors (GPTQ)
    Gptq,
    /// The mean error of every output taken out of its bias
    Bias,
    /// The layers that matter most in half precision, until the target holds
    Half,
}

impl Repair {
    /// All of them.
    pub const ALL: [Repair; 5] = [Repair::Smooth, Repair::Clip, Repair::Gptq, Repair::Bias, Repair::Half];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Repair::Smooth => "smooth",
            Repair::Clip => "clip",
            Repair::Gptq => "gptq",
            Repair::Bias => "bias",
            Repair::Half => "half",
        }
    }
}

/// What the repairs work on.
pub(super) struct Repairer<'c, 's> {
    /// The model.
    pub(super) canonical: &'c Canonical<'s>,
    /// What its matrices are multiplied by; scaled as smoothing scales it.
    pub(super) inputs: Vec<Inputs>,
    /// The kernels of this machine.
    pub(super) kernels: Kernels,
}

impl Repairer<'_, '_> {
    /// The int8 matrices that were seen at work.
    pub(super) fn quantized(&self, recipe: &Recipe) -> Vec<usize> {
        let of = |i: &usize| recipe.tensors[*i].dtype == Dtype::I8 && self.inputs[*i].k > 0;
        self.canonical.matrices().filter(of).collect()
    }

    /// See [`smooth`]. Returns the matrices whose inputs were divided, and by what.
    ///
    /// # Errors
    /// What reading the checkpoint gives.
    pub(super) fn smooth(&mut self, recipe: &mut Recipe) -> Result<Vec<(usize, Vec<f32>)>> {
        let matrices = self.quantized(recipe);
        let sites = smooth::sites(self.canonical);
        let sites: Vec<_> = sites.into_iter().filter(|site| matrices.contains(&site.consumer)).collect();
        let (this, before) = (&*self, &*recipe);
        let factors = sites
            .par_iter()
            .map(|site| {
                let inputs = &this.inputs[site.consumer];
                let weights = this.canonical.values(site.consumer, before)?;
                let right = product_f32(&this.kernels, &inputs.sample, &weights, inputs.k);
                let magnitude = before.tensors[site.consumer].magnitude;
                Ok(smooth::factors(&this.kernels, inputs, &weights, magnitude, &right))
            })
            .collect::<Result<Vec<_>>>()?;
        let mut rescaled = Vec::new();
        for (site, factors) in sites.iter().zip(factors) {
            if let Some(factors) = factors {
                smooth::fold(self.canonical, site, &factors, recipe);
                let inverse: Vec<f32> = factors.iter().map(|factor| 1.0 / factor).collect();
                self.inputs[site.consumer].scale(&inverse);
                rescaled.push((site.consumer, factors));
            }
        }
        Ok(rescaled)
    }

    /// Takes [`smooth`](Self::smooth) back, exactly.
    pub(super) fn undo_smooth(&mut self, rescaled: &[(usize, Vec<f32>)]) {
        rescaled.iter().for_each(|(consumer, factors)| self.inputs[*consumer].scale(factors));
    }

    /// Error-minimising weight scales for every int8 matrix.
    ///
    /// # Errors
    /// What reading the checkpoint gives.
    pub(super) fn clip(&self, recipe: &mut Recipe) -> Result<usize> {
        self.choose_codes(recipe, |weights, inputs, magnitude, _| {
            Some(Codes::clipped(weights, inputs.k, magnitude, &inputs.importance()))
        })
    }

    /// Error-compensated rounding for every int8 matrix, from the scales that it has.
    ///
    /// # Errors
    /// What reading the checkpoint gives.
    pub(super) fn gptq(&self, recipe: &mut Recipe) -> Result<usize> {
        self.choose_codes(recipe, |weights, inputs, magnitude, chosen| {
            let start = chosen.map_or_else(|| Codes::plain(weights, inputs.k, magnitude), Codes::clone);
            gptq::compensated(weights, &start, magnitude, &inputs.sample, &inputs.counts)
        })
    }

    fn choose_codes(
        &self,
        recipe: &mut Recipe,
        choose: impl Fn(&[f32], &Inputs, i8, Option<&Codes>) -> Option<Codes> + Sync,
    ) -> Result<usize> {
        let (matrices, before) = (self.quantized(recipe), &*recipe);
        let chosen = matrices
            .par_iter()
            .map(|&i| {
                let treatment = &before.tensors[i];
                let weights = self.canonical.values(i, before)?;
                Ok(choose(&weights, &self.inputs[i], treatment.magnitude, treatment.codes.as_deref()))
            })
            .collect::<Result<Vec<_>>>()?;
        let mut changed = 0;
        for (&i, codes) in matrices.iter().zip(chosen) {
            if let Some(codes) = codes {
                recipe.tensors[i].codes = Some(Arc::new(codes));
                changed += 1;
            }
        }
        Ok(changed)
    }

    /// Moves the mean error of every output of an int8 matrix into its bias, where it has one.
    ///
    /// # Errors
    /// What reading the checkpoint gives.
    pub(super) fn bias(&self, recipe: &mut Recipe) -> Result<usize> {
        let before = &*recipe;
        let biased: Vec<(usize, usize)> =
            self.quantized(recipe).into_iter().filter_map(|i| Some((i, self.bias_of(i)?))).collect();
        let offsets = biased
            .par_iter()
            .map(|&(i, _)| {
                let (weights, inputs) = (self.canonical.values(i, before)?, &self.inputs[i]);
                let codes = before.codes(i, &weights, inputs.k);
                let right = product_f32(&self.kernels, &inputs.sample, &weights, inputs.k);
                let found = product_i8(&self.kernels, &inputs.sample, &codes);
                let n = codes.scales.len();
                let mut means = vec![0f64; n];
                for (right, found) in right.chunks_exact(n).zip(found.chunks_exact(n)) {
                    let off = right.iter().zip(found).map(|(right, found)| f64::from(right - found));
                    means.iter_mut().zip(off).for_each(|(mean, off)| *mean += off);
                }
                let rows = (right.len() / n) as f64;
                Ok(means.into_iter().map(|sum| (sum / rows) as f32).collect::<Vec<f32>>())
            })
            .collect::<Result<Vec<_>>>()?;
        let count = biased.len();
        for ((_, bias), offset) in biased.into_iter().zip(offsets) {
            recipe.tensors[bias].offset = Some(offset);
        }
        Ok(count)
    }

    /// The bias of a matrix.
    fn bias_of(&self, i: usize) -> Option<usize> {
        let name = self.canonical.demands[i].name.as_str();
        self.canonical.find(&format!("{}.bias", name.strip_suffix(".weight")?))
    }

    /// Stores matrix `i` in half precision, and takes back what was only meant for its codes.
    pub(super) fn raise(&self, recipe: &mut Recipe, i: usize) {
        recipe.tensors[i].dtype = Dtype::F16;
        recipe.tensors[i].codes = None;
        if let Some(bias) = self.bias_of(i) {
            recipe.tensors[bias].offset = None;
        }
    }

    /// Signal-to-noise ratio of matrix `i` as it is stored, in decibels, over its sample; `None` for one that no
    /// picture or text reached.
    ///
    /// # Errors
    /// What reading the checkpoint gives.
    pub(super) fn snr(&self, recipe: &Recipe, i: usize) -> Result<Option<f64>> {
        let inputs = &self.inputs[i];
        if inputs.k == 0 {
            return Ok(None);
        }
        let (weights, treatment) = (self.canonical.values(i, recipe)?, &recipe.tensors[i]);
        let right = product_f32(&self.kernels, &inputs.sample, &weights, inputs.k);
        let codes = match treatment.dtype {
            Dtype::I8 => recipe.codes(i, &weights, inputs.k),
            _ => Arc::new(Codes { codes: Vec::new(), scales: Vec::new() }),
        };
        let found = match treatment.dtype {
            Dtype::I8 => product_i8(&self.kernels, &inputs.sample, &codes),
            Dtype::F16 => product_f16(&self.kernels, &inputs.sample, &weights, inputs.k),
            Dtype::F32 => return Ok(Some(layer::MOST_DECIBELS)),
        };
        let mut error = layer::Error::between(&found, &right);
        // The offset of the bias takes the mean of the error out.
        if let Some(offset) = self.bias_of(i).and_then(|bias| recipe.tensors[bias].offset.as_ref()) {
            let corrected: Vec<f32> = found
                .chunks_exact(offset.len())
                .flat_map(|row| row.iter().zip(offset).map(|(value, offset)| value + offset))
                .collect();
            error = layer::Error::between(&corrected, &right);
        }
        Ok(Some(error.snr()))
    }

    /// What matrix `i` costs per call in `dtype`, in int8 multiply-accumulates.
    pub(super) fn cost(&self, i: usize, dtype: Dtype) -> f64 {
        self.macs(i) * relative_cost(dtype)
    }

    /// Multiply-accumulates of matrix `i` per call of its tower.
    pub(super) fn macs(&self, i: usize) -> f64 {
        self.inputs[i].rows_per_call() * (self.canonical.demands[i].n * self.canonical.demands[i].k) as f64
    }
}

/// What a multiply-accumulate costs next to one of int8. Fixed, not timed, so that plans do not change from run to run:
/// the ratio of whole models in BENCHMARKS.md (ViT-B/16, AVX-512 VNNI, one thread) is 3.0 for f16 and 3.5 for f32.
pub(super) fn relative_cost(dtype: Dtype) -> f64 {
    match dtype {
        Dtype::I8 => 1.0,
        Dtype::F16 => 3.0,
        Dtype::F32 => 3.5,
    }
}

impl Recipe {
    /// The codes that tensor `i`, whose treated values are `weights`, is stored as.
    fn codes(&self, i: usize, weights: &[f32], k: usize) -> Arc<Codes> {
        let treatment = &self.tensors[i];
        treatment.codes.clone().unwrap_or_else(|| Arc::new(Codes::plain(weights, k, treatment.magnitude)))
    }
}

/// The names of `repairs`, for messages.
pub(super) fn names(repairs: &[Repair]) -> String {
    repairs.iter().map(|repair| repair.name()).collect::<Vec<_>>().join(", ")
}

/// Repairs from a list of names, as the command line has it; "none" is the empty list.
///
/// # Errors
/// A name that is none.
pub fn parse(list: &str) -> std::result::Result<Vec<Repair>, String> {
    if list == "none" {
        return Ok(Vec::new());
    }
    let one = |name: &str| {
        Repair::ALL
            .into_iter()
            .find(|repair| repair.name() == name)
            .ok_or_else(|| format!("no repair {name:?}; there are {} and none", names(&Repair::ALL)))
    };
    let mut repairs =
        list.split(',').map(|name| one(name.trim())).collect::<std::result::Result<Vec<_>, _>>()?;
    repairs.sort_unstable();
    repairs.dedup();
    Ok(repairs)
}

/// An error for a target that was not reached.
pub(super) fn below_target(output: &std::path::Path, reached: f64, target: f64, tried: &[Repair]) -> Error {
    let tried = if tried.is_empty() { "no repair".into() } else { names(tried) };
    Error::file(
        output,
        format!(
            "was not written: the mean cosine of embeddings is {reached:.5}, below the target of {target} (with {tried}). \
             Ask for less with --target-cosine, allow more repairs with --repair, use --precision fp16, or write it all \
             the same with --allow-below-target"
        ),
    )
}
