//! What one forward pass of an image encoder works with.

use super::buffers::{ImageBuffers, ImageSizes};
use super::check_finite;
use crate::error::{Error, Result};
use crate::format::Config;
use crate::model::{Model, VisionWeights};
use crate::nn::{Forward, Orders};
use crate::preprocess::{NormalizationTable, Resizer};
use crate::profile::Profile;
use crate::runtime::Hold;
use ocelli_kernels::{Kernels, Remainders};

/// What one forward pass works with.
pub(super) struct Parts<'s> {
    pub(super) model: &'s Model,
    pub(super) config: &'s Config,
    pub(super) weights: &'s VisionWeights<'s>,
    pub(super) kernels: &'s Kernels,
    pub(super) team: Hold<'s>,
    pub(super) sizes: &'s ImageSizes,
    pub(super) orders: &'s mut Orders,
    pub(super) normalization: &'s NormalizationTable,
    pub(super) resizer: &'s mut Option<Resizer>,
    pub(super) grids: &'s mut [(usize, usize)],
    pub(super) profile: &'s mut Profile,
    pub(super) buffers: ImageBuffers<'s>,
}

impl Parts<'_> {
    /// Finds the orders of int8 weights, if enough rows have passed; `rows` more will.
    pub(super) fn find_orders(&mut self, rows: usize) {
        let Parts { orders, team, kernels, model, buffers, .. } = self;
        orders.pass(rows, team, kernels, model.vision_tensors(), buffers.tower.orders);
    }

    /// `logits = classifier(embedding)`
    pub(super) fn classify(mut self, embedding: &[f32], logits: &mut [f32]) -> Result<()> {
        let classifier = self.weights.classifier.as_ref().ok_or_else(no_classifier)?;
        let tower = self.buffers.tower;
        let mut forward = Forward {
            tap: None,
            kernels: self.kernels,
            team: &mut self.team,
            profile: self.profile,
            scratch: tower.scratch,
            rows: tower.rows,
            orders: (self.orders, tower.orders),
            remainders: Remainders::default(),
        };
        forward.apply(classifier, embedding, logits);
        check_finite(logits)
    }
}

pub(super) fn no_classifier() -> Error {
    Error::ModelLacks { part: "classifier of its own", remedy: "score its embeddings against labels" }
}
