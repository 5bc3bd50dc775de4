//! Which matrices go to half precision, so that a tower reaches its target at the least predicted time.

use super::Recipe;
use super::auto::Bench;
use super::measure::{Judgement, Tower};
use crate::Result;
use ocelli::format::Dtype;

/// Pictures, or texts, that sensitivity is measured on.
const JUDGES: usize = 6;

/// A matrix that could be raised.
struct Candidate {
    tensor: usize,
    /// What the tower's mean cosine loses by having it in int8.
    loss: f64,
    /// Time that half precision adds.
    time: f64,
}

/// Raises matrices of the towers that miss `target`, until they reach it or none is left. Returns how many.
///
/// Sensitivity is measured: with all matrices of the tower raised, each in turn goes back to int8, and the tower is run.
/// (The other way round, one raised in a model that is far from its target, gains drown in the errors of all others.)
/// Those with the largest loss per added time are raised first, the fewest of that order with which the tower reaches
/// the target; of these each goes back to int8, the dearest first, where the target holds without it.
pub(super) fn raise(
    bench: &mut Bench<'_, '_>,
    recipe: &mut Recipe,
    before: &Judgement,
    target: f64,
) -> Result<usize> {
    let mut raised = 0;
    for tower in Tower::ALL {
        if before.mean(tower) < target {
            let candidates = candidates(bench, recipe, tower)?;
            let mut search = Search { bench, recipe, tower, target };
            let mut chosen: Vec<&Candidate> = candidates.iter().collect();
            if let Some(fewest) = search.fewest(&chosen)? {
                chosen.truncate(fewest);
                search.give_back(&mut chosen)?;
            }
            *recipe = search.with(&chosen);
            raised += chosen.len();
        }
    }
    Ok(raised)
}

/// The int8 matrices of a tower, those with the largest loss per added time first.
fn candidates(bench: &mut Bench<'_, '_>, recipe: &Recipe, tower: Tower) -> Result<Vec<Candidate>> {
    let mut tensors = bench.workshop.quantized(recipe);
    tensors.retain(|&i| bench.workshop.canonical.demands[i].name.as_str().starts_with(tower.prefix()));
    let raised_but = |bench: &Bench<'_, '_>, kept: Option<usize>| {
        let mut trial = recipe.clone();
        let others = tensors.iter().filter(|&&tensor| Some(tensor) != kept);
        others.for_each(|&tensor| bench.workshop.raise(&mut trial, tensor));
        trial
    };
    bench.progress.inc_length(tensors.len() as u64 + 1);
    let best = bench.mean(&raised_but(bench, None), tower, JUDGES)?;
    let candidate = |&tensor: &usize| {
        let loss = best - bench.mean(&raised_but(bench, Some(tensor)), tower, JUDGES)?;
        let time = bench.workshop.cost(tensor, Dtype::F16) - bench.workshop.cost(tensor, Dtype::I8);
        Ok(Candidate { tensor, loss, time: time.max(1.0) })
    };
    let mut all = tensors.iter().map(candidate).collect::<Result<Vec<_>>>()?;
    all.sort_by(|a, b| (b.loss / b.time).total_cmp(&(a.loss / a.time)).then(a.tensor.cmp(&b.tensor)));
    Ok(all)
}

/// The search for the matrices of one tower.
struct Search<'s, 'b, 'c> {
    bench: &'s mut Bench<'b, 'c>,
    recipe: &'s Recipe,
    tower: Tower,
    target: f64,
}

impl Search<'_, '_, '_> {
    /// The recipe with matrices raised.
    fn with(&self, raised: &[&Candidate]) -> Recipe {
        let mut recipe = self.recipe.clone();
        raised.iter().for_each(|candidate| self.bench.workshop.raise(&mut recipe, candidate.tensor));
        recipe
    }

    /// Whether the tower reaches the target with matrices raised.
    fn holds(&mut self, raised: &[&Candidate]) -> Result<bool> {
        self.bench.progress.inc_length(1);
        let recipe = self.with(raised);
        Ok(self.bench.mean(&recipe, self.tower, usize::MAX)? >= self.target)
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

    /// Drops matrices, the dearest and among those the least sensitive first, where the target holds without them.
    fn give_back<'c>(&mut self, raised: &mut Vec<&'c Candidate>) -> Result<()> {
        let mut dearest = raised.clone();
        let order = |a: &&Candidate, b: &&Candidate| {
            b.time.total_cmp(&a.time).then(a.loss.total_cmp(&b.loss)).then(a.tensor.cmp(&b.tensor))
        };
        dearest.sort_by(order);
        for candidate in dearest {
            let rest: Vec<&'c Candidate> =
                raised.iter().copied().filter(|other| other.tensor != candidate.tensor).collect();
            if self.holds(&rest)? {
                *raised = rest;
            }
        }
        Ok(())
    }
}
