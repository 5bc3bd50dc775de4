//! Which matrices go to half precision, so that a tower reaches its target at the least predicted time, or gets as good
//! as a given time allows.

use super::evaluator::Evaluator;
use super::measure::{CosineSet, Tower};
use super::options::QuantizeOptions;
use super::recipe::Recipe;
use crate::error::Result;
use ocelli::format::Dtype;

/// Pictures, or texts, that sensitivity is measured on.
const SENSITIVITY_INPUTS: usize = 6;

/// A matrix that could be raised.
struct Candidate {
    tensor: usize,
    /// What the tower's mean cosine loses by having it in int8.
    loss: f64,
    /// Time that half precision adds.
    time: f64,
}

/// Raises matrices of the towers that miss the target, until they reach it or none is left, and then of all towers as far
/// as the time budget goes, if there is one. Returns how many.
///
/// Sensitivity is measured: with all matrices of the tower raised, each in turn goes back to int8, and the tower is run.
/// (The other way round, one raised in a model that is far from its target, gains drown in the errors of all others.)
/// Those with the largest loss per added time are raised first, the fewest of that order with which the tower reaches
/// the target; of these each goes back to int8, the most costly first, where the target holds without it.
pub(super) fn raise(
    evaluator: &mut Evaluator<'_, '_>,
    recipe: &mut Recipe,
    before: &CosineSet,
    options: &QuantizeOptions,
) -> Result<usize> {
    let mut raised = 0;
    for tower in Tower::ALL {
        let missed = options.target.filter(|&target| before.mean(tower) < target);
        if missed.is_none() && options.time_budget.is_none() {
            continue;
        }
        let candidates = candidates(evaluator, recipe, tower)?;
        let mut search = Search { evaluator, recipe, tower, target: missed.unwrap_or(0.0) };
        let mut chosen: Vec<&Candidate> = Vec::new();
        if missed.is_some() {
            chosen.extend(&candidates);
            if let Some(fewest) = search.fewest(&chosen)? {
                chosen.truncate(fewest);
                search.lower_again(&mut chosen)?;
            }
        }
        if let Some(budget) = options.time_budget {
            search.spend(&candidates, &mut chosen, budget);
        }
        *recipe = search.with(&chosen);
        raised += chosen.len();
    }
    Ok(raised)
}

/// The int8 matrices of a tower, those with the largest loss per added time first.
fn candidates(evaluator: &mut Evaluator<'_, '_>, recipe: &Recipe, tower: Tower) -> Result<Vec<Candidate>> {
    let mut tensors = evaluator.repairer.quantized(recipe);
    tensors.retain(|&i| evaluator.repairer.canonical.demands[i].name.as_str().starts_with(tower.prefix()));
    let raised_but = |evaluator: &Evaluator<'_, '_>, kept: Option<usize>| {
        let mut trial = recipe.clone();
        let others = tensors.iter().filter(|&&tensor| Some(tensor) != kept);
        others.for_each(|&tensor| evaluator.repairer.raise(&mut trial, tensor));
        trial
    };
    evaluator.progress.extend(tensors.len() as u64 + 1);
    let best = evaluator.mean(&raised_but(evaluator, None), tower, SENSITIVITY_INPUTS)?;
    let candidate = |&tensor: &usize| {
        let loss = best - evaluator.mean(&raised_but(evaluator, Some(tensor)), tower, SENSITIVITY_INPUTS)?;
        let time = evaluator.repairer.cost(tensor, Dtype::F16) - evaluator.repairer.cost(tensor, Dtype::I8);
        Ok(Candidate { tensor, loss, time: time.max(1.0) })
    };
    let mut all = tensors.iter().map(candidate).collect::<Result<Vec<_>>>()?;
    all.sort_by(|a, b| (b.loss / b.time).total_cmp(&(a.loss / a.time)).then(a.tensor.cmp(&b.tensor)));
    Ok(all)
}

/// The search for the matrices of one tower.
struct Search<'s, 'b, 'c> {
    evaluator: &'s mut Evaluator<'b, 'c>,
    recipe: &'s Recipe,
    tower: Tower,
    target: f64,
}

impl Search<'_, '_, '_> {
    /// The recipe with matrices raised.
    fn with(&self, raised: &[&Candidate]) -> Recipe {
        let mut recipe = self.recipe.clone();
        raised.iter().for_each(|candidate| self.evaluator.repairer.raise(&mut recipe, candidate.tensor));
        recipe
    }

    /// Whether the tower reaches the target with matrices raised.
    fn holds(&mut self, raised: &[&Candidate]) -> Result<bool> {
        self.evaluator.progress.extend(1);
        let recipe = self.with(raised);
        Ok(self.evaluator.mean(&recipe, self.tower, usize::MAX)? >= self.target)
    }

    /// How many of `order`, from its start, reach the target: twice as many until they do, then halving the gap. `None`
    /// if all of them do not.
    fn fewest(&mut self, order: &[&Candidate]) -> Result<Option<usize>> {
        // `low` matrices are too few.
        let (mut low, mut high) = (0, order.len().min(1));
        while !self.holds(&order[..high])? {
            if high == order.len() {
                return Ok(None);
            }
            (low, high) = (high, order.len().min(2 * high));
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.holds(&order[..middle])? {
                high = middle;
            } else {
                low = middle;
            }
        }
        Ok(Some(high))
    }

    /// Drops matrices, the most costly and among those the least sensitive first, where the target holds without them.
    fn lower_again<'c>(&mut self, raised: &mut Vec<&'c Candidate>) -> Result<()> {
        let mut by_cost = raised.clone();
        let order = |a: &&Candidate, b: &&Candidate| {
            b.time.total_cmp(&a.time).then(a.loss.total_cmp(&b.loss)).then(a.tensor.cmp(&b.tensor))
        };
        by_cost.sort_by(order);
        for candidate in by_cost {
            let rest: Vec<&'c Candidate> =
                raised.iter().copied().filter(|other| other.tensor != candidate.tensor).collect();
            if self.holds(&rest)? {
                *raised = rest;
            }
        }
        Ok(())
    }

    /// Adds matrices that lose anything in int8, in the order given, as long as the tower's predicted time stays within
    /// `budget` times that of all its matrices in int8.
    fn spend<'c>(&self, order: &'c [Candidate], raised: &mut Vec<&'c Candidate>, budget: f64) {
        let (repairer, recipe) = (&self.evaluator.repairer, self.with(raised));
        let canonical = repairer.canonical;
        let of_tower = |i: &usize| canonical.demands[*i].name.as_str().starts_with(self.tower.prefix());
        let mut left = 0.0;
        for i in canonical.matrices().filter(of_tower) {
            left += budget * repairer.macs(i) - repairer.cost(i, recipe.tensors[i].dtype);
        }
        for candidate in order.iter().filter(|candidate| candidate.loss > 0.0) {
            let new = raised.iter().all(|other| other.tensor != candidate.tensor);
            if new && candidate.time <= left {
                left -= candidate.time;
                raised.push(candidate);
            }
        }
    }
}
