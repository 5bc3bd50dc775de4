//! A model under its canonical names, before it is packed: what quantization works on, whatever family it came from.

use super::recipe::{Recipe, Treatment};
use crate::error::Result;
use crate::progress::Progress;
use crate::write::{Contents, Planned, ReadRows, draft, write};
use ocelli::Model;
use ocelli::format::{Config, Kind, TensorSpec};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Reads rows of the demanded tensor number `.0` into `.2`, as [`ReadRows`] does, from any thread.
pub type Source<'s> = dyn Fn(usize, Range<usize>, &mut [f32]) -> Result<()> + Sync + 's;

/// A model whose tensors are read from a checkpoint as they are needed.
pub struct Canonical<'s> {
    /// Its configuration.
    pub config: &'s Config,
    /// Every tensor, in the order of the packed file.
    pub demands: Vec<TensorSpec>,
    /// Where their values come from.
    pub source: &'s Source<'s>,
    /// Text of the tokenizer, if there is a text tower.
    pub tokenizer: Option<&'s str>,
    /// Names of a classifier's classes.
    pub classes: &'s [String],
    /// The packed file to write in the end; drafts lie beside it.
    pub output: &'s Path,
}

/// A packed model that lives only while it is measured.
pub struct Draft {
    /// The model.
    pub model: Arc<Model>,
    /// What was done to its tensors.
    pub recipe: Recipe,
}

impl Canonical<'_> {
    /// The place of a tensor.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.demands.iter().position(|demand| demand.name.as_str() == name)
    }

    /// The matrices that the towers multiply by, which may be stored in any precision.
    pub fn matrices(&self) -> impl Iterator<Item = usize> {
        (0..self.demands.len()).filter(|&i| self.demands[i].kind == Kind::Matrix)
    }

    /// All of tensor `i`, treated as `recipe` says, but not quantized: [n, k].
    ///
    /// # Errors
    /// What reading the checkpoint gives.
    pub fn values(&self, i: usize, recipe: &Recipe) -> Result<Vec<f32>> {
        let TensorSpec { n, k, .. } = self.demands[i];
        let mut values = vec![0.0; n * k];
        self.rows(i, recipe, 0..n, &mut values)?;
        Ok(values)
    }

    fn rows(&self, i: usize, recipe: &Recipe, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        (self.source)(i, rows.clone(), out)?;
        recipe.tensors[i].apply(rows, self.demands[i].k, out);
        Ok(())
    }

    /// Packs the model as `recipe` says into a file without a name, and opens it. What `like` has the same is copied from
    /// it; all else is encoded anew.
    ///
    /// # Errors
    /// What reading the checkpoint gives, or the disk is full.
    pub fn draft(&self, recipe: Recipe, like: Option<&Draft>) -> Result<Draft> {
        let mut planned = self.plan(&recipe);
        if let Some(Draft { model, recipe: known }) = like {
            let ready = known.tensors.iter().zip(model.file().tensors());
            for ((treatment, planned), (known, tensor)) in recipe.tensors.iter().zip(&mut planned).zip(ready)
            {
                planned.payload = (treatment == known).then(|| model.file().payload(&tensor));
            }
        }
        let model = draft(self.output, &self.contents(&planned, "{}", None), &mut |i, rows, out| {
            self.rows(i, &recipe, rows, out)
        })?;
        Ok(Draft { model, recipe })
    }

    /// Packs the model as `recipe` says into the output, atomically, and tells `progress` of every weight. Returns its
    /// length.
    ///
    /// # Errors
    /// What reading the checkpoint gives, or the disk is full.
    pub fn write(
        &self,
        recipe: &Recipe,
        provenance: &str,
        bank: Option<&[u8]>,
        progress: &dyn Progress,
    ) -> Result<u64> {
        let planned = self.plan(recipe);
        let read: &mut ReadRows<'_> = &mut |i, rows, out| {
            progress.advance(out.len() as u64);
            self.rows(i, recipe, rows, out)
        };
        let mut warn = |message: String| progress.warn(&message);
        write(self.output, &self.contents(&planned, provenance, bank), &mut warn, read)
    }

    fn plan<'r>(&self, recipe: &'r Recipe) -> Vec<Planned<'r>> {
        let planned = |(demand, treatment): (&TensorSpec, &'r Treatment)| Planned {
            demand: *demand,
            dtype: treatment.dtype,
            magnitude: treatment.magnitude,
            codes: treatment.codes.as_deref(),
            payload: None,
        };
        self.demands.iter().zip(&recipe.tensors).map(planned).collect()
    }

    fn contents<'c>(
        &'c self,
        tensors: &'c [Planned<'c>],
        provenance: &'c str,
        bank: Option<&'c [u8]>,
    ) -> Contents<'c> {
        let Canonical { config, tokenizer, classes, .. } = *self;
        Contents { config, tokenizer, provenance, bank, labels: classes, tensors }
    }
}
