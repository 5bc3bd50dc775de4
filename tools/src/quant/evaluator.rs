//! A recipe's model, packed, run, and compared with the f32 one.

use super::calibration::Calibration;
use super::canonical::Draft;
use super::measure::{CosineSet, Embeddings, Tower};
use super::recipe::Recipe;
use super::repair::Repairer;
use crate::error::Result;
use crate::progress::Progress;

/// Everything that measuring needs.
pub(super) struct Evaluator<'b, 's> {
    /// The model and the repairs of it.
    pub(super) repairer: Repairer<'b, 's>,
    /// Pictures and texts.
    pub(super) calibration: Calibration,
    /// What the f32 model makes of the inputs that are measured on.
    pub(super) reference: Embeddings,
    /// The model that was measured last; the next draft copies what it has in common with it.
    pub(super) latest: Draft,
    /// Is told of every measurement.
    pub(super) progress: &'b dyn Progress,
}

impl Evaluator<'_, '_> {
    /// The whole model of `recipe` against the f32 one, on all inputs.
    pub(super) fn all(&mut self, recipe: &Recipe) -> Result<CosineSet> {
        self.measure(recipe, usize::MAX, usize::MAX)
    }

    /// The mean cosine of one tower of `recipe`, on the first `most` inputs.
    pub(super) fn mean(&mut self, recipe: &Recipe, tower: Tower, most: usize) -> Result<f64> {
        let (images, texts) = if tower == Tower::Vision { (most, 0) } else { (0, most) };
        Ok(self.measure(recipe, images, texts)?.mean(tower))
    }

    fn measure(&mut self, recipe: &Recipe, images: usize, texts: usize) -> Result<CosineSet> {
        self.latest = self.repairer.canonical.draft(recipe.clone(), Some(&self.latest))?;
        let found = Embeddings::of(&self.latest.model, &self.calibration, images, texts)?;
        self.progress.advance(1);
        Ok(found.against(&self.reference))
    }
}
