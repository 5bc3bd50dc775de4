//! How many tokens may be merged: the schedule that saves most time among those that keep the target.
//!
//! Tried are schedules that begin at the first block, a quarter or half through the tower, and whose counts stay the same or
//! rise in a line, with the square or the cube. Of each, the largest that keeps the mean cosine on the fitted pictures is
//! found by halving; then it shrinks until it holds on the pictures that judge as well.

use super::calibration::{Calibration, Frame, split};
use super::measure::{Embeddings, cosines};
use crate::error::{Error, Result};
use crate::progress::Progress;
use ocelli::Model;
use ocelli::format::Merging;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What is asked of token merging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeTokens {
    /// As much as the target allows.
    Auto,
    /// This.
    Fixed(Merging),
}

impl MergeTokens {
    /// `auto`, or what [`Merging`] reads.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<MergeTokens, String> {
        if text == "auto" {
            return Ok(MergeTokens::Auto);
        }
        text.parse().map(MergeTokens::Fixed).map_err(|problem| format!("auto, or {problem}"))
    }
}

/// How tokens of images are merged, and what that does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Merged {
    /// [`Merging::most`].
    pub most: u32,
    /// [`Merging::first`].
    pub first: u32,
    /// [`Merging::power`].
    pub power: u32,
    /// Tokens that go into each block, and what is left behind the last.
    pub tokens: Vec<usize>,
    /// Time that the blocks are predicted to take next to those of the same model without merging.
    pub predicted_time: f64,
    /// Mean cosine of the same model without merging.
    pub cosine_without: Option<f64>,
}

impl Merged {
    /// What `merging` makes of `model`; `cosine_without` was measured before.
    pub(super) fn of(model: &Model, merging: &Merging, cosine_without: Option<f64>) -> Option<Merged> {
        let config = model.config();
        let patches = config.vision.patches();
        let depth = config.vision.tower.depth as usize;
        let tokens = merging.tokens(depth, (patches, patches), config.vision.prefix_tokens as usize);
        (!merging.is_none()).then(|| Merged {
            most: merging.most,
            first: merging.first,
            power: merging.power,
            tokens: tokens.collect(),
            predicted_time: super::measure::round(config.share_with(merging, FLOAT_COST)),
            cosine_without,
        })
    }
}

impl Merged {
    /// In a line, for people.
    pub fn describe(&self) -> String {
        let (first, last) = (self.tokens.first().unwrap_or(&0), self.tokens.last().unwrap_or(&0));
        let without =
            self.cosine_without.map_or(String::new(), |mean| format!(", image cosine without it {mean:.5}"));
        let Merged { most, first: block, power, predicted_time, .. } = self;
        format!(
            "{most}:{block}:{power}, {first} to {last} in an image, predicted time {predicted_time:.3}{without}"
        )
    }
}

/// What a multiply-accumulate of f32 counts next to one of int8, as in the planner's other predictions.
const FLOAT_COST: f64 = 3.0;

/// Finds the schedule for `model` that is predicted to take the least time while embeddings of pictures keep a mean cosine of
/// `target` with those of `exact`. [`Merging::NONE`] if none does.
///
/// # Errors
/// What the runtime refuses.
pub(super) fn search(
    model: &Arc<Model>,
    exact: &Arc<Model>,
    calibration: &Calibration,
    target: f64,
    progress: &dyn Progress,
) -> Result<Merging> {
    let (fitted, judged) = split(&calibration.frames);
    let mean = |frames: &[&Frame], merging: Merging, right: &[f32]| -> Result<f64> {
        let found = Embeddings::of_images(model, frames, Some(merging))?;
        let cosines = cosines(&found, right, model.config().score.embed_dim as usize);
        progress.advance(1);
        Ok(cosines.iter().sum::<f64>() / cosines.len().max(1) as f64)
    };
    let right = [Embeddings::of_images(exact, &fitted, None)?, Embeddings::of_images(exact, &judged, None)?];
    let keeps = |merging: Merging| Ok::<_, Error>(mean(&fitted, merging, &right[0])? >= target);

    let config = model.config();
    let (depth, most) = (config.vision.tower.depth, config.vision.patches() as u32 / 2);
    let share = |merging: &Merging| config.share_with(merging, FLOAT_COST);
    let mut best = Merging::NONE;
    for (first, power) in [depth / 2, depth / 4, 0]
        .into_iter()
        .flat_map(|first| (0..=Merging::MAX_POWER).map(move |power| (first, power)))
    {
        let of = |most: u32| Merging { most, first, power };
        // Smaller schedules than this save less than what was found already.
        let worth = (1..=most).find(|&most| share(&of(most)) < share(&best));
        let Some(mut low) = worth else { continue };
        if !keeps(of(low))? {
            continue;
        }
        let mut high = most + 1;
        while high - low > 1 {
            // Losses grow fast: the middle of the logarithms.
            let middle = (f64::from(low) * f64::from(high))
                .sqrt()
                .round()
                .clamp(f64::from(low + 1), f64::from(high - 1)) as u32;
            if keeps(of(middle))? { low = middle } else { high = middle }
        }
        best = of(low);
    }
    while !best.is_none() && mean(&judged, best, &right[1])? < target {
        best.most -= best.most.div_ceil(16);
    }
    Ok(if best.is_none() { Merging::NONE } else { best })
}
