//! Texts to embeddings.

use super::buffers::{TowerBuffers, TowerSizes};
use super::input::Watch;
use super::{check_finite, check_len, sizes, unfit};
use crate::error::Result;
use crate::format::{Cost, Limits};
use crate::model::Model;
use crate::nn::{Forward, Shape};
use crate::profile::Profile;
use crate::runtime::{Arena, Carver, Plan, Runtime};
use crate::score::normalize;
use crate::text::{TextBuffers, encode, no_text};
#[cfg(feature = "text")]
use crate::text::{TextTokenizer, Tokens};
use ocelli_kernels::Remainders;
use std::sync::Arc;

/// A text tower ready to run.
///
/// All memory is taken by [`TextEncoder::new`]; embedding token ids afterwards allocates nothing, on any thread.
pub struct TextEncoder {
    model: Arc<Model>,
    runtime: Runtime,
    sizes: TowerSizes,
    plan: Plan,
    arena: Arena,
    profile: Profile,
    /// Made when the first text asks for it: token ids need none.
    #[cfg(feature = "text")]
    tokenizer: Option<TextTokenizer>,
}

impl TextEncoder {
    /// Plans the memory for the text tower of `model` and takes it.
    ///
    /// # Errors
    /// The model has no text tower, it costs more than `limits` allow, or the memory can't be had.
    pub fn new(model: &Arc<Model>, runtime: &Runtime, limits: &Limits) -> Result<TextEncoder> {
        let config = model.config();
        let weights = model.text().ok_or_else(no_text)?;
        Cost::of_text(config, runtime.threads()).ok_or_else(no_text)?.check(limits)?;
        let sizes = sizes::of_text(config, weights, runtime)?;
        let mut plan = Plan::default();
        sizes.lay_out(&mut plan);
        Ok(TextEncoder {
            arena: Arena::new(plan.bytes())?,
            plan,
            profile: Profile::default(),
            sizes,
            runtime: runtime.clone(),
            model: Arc::clone(model),
            #[cfg(feature = "text")]
            tokenizer: None,
        })
    }

    /// Embeds `text` into `out`, normalised to length 1. Tokenizing allocates. True if the text was longer than the
    /// model reads, and was cut.
    ///
    /// # Errors
    /// The model's tokenizer is missing or damaged, or refuses the text; `out` has another length than an embedding.
    #[cfg(feature = "text")]
    pub fn embed_into(&mut self, text: &str, out: &mut [f32]) -> Result<bool> {
        let Tokens { ids, truncated } = self.tokenizer()?.encode(text)?;
        self.embed_ids_into(&ids, out)?;
        Ok(truncated)
    }

    /// The model's tokenizer.
    ///
    /// # Errors
    /// It is missing or damaged.
    #[cfg(feature = "text")]
    pub fn tokenizer(&mut self) -> Result<&TextTokenizer> {
        if self.tokenizer.is_none() {
            self.tokenizer = Some(TextTokenizer::new(self.model.file())?);
        }
        self.tokenizer.as_ref().ok_or_else(no_text)
    }

    /// Embeds the text with the token ids `ids` into `out`, normalised to length 1. Allocates nothing.
    ///
    /// # Errors
    /// No ids, too many, or one out of range; `out` has another length than an embedding.
    pub fn embed_ids_into(&mut self, ids: &[u32], out: &mut [f32]) -> Result<()> {
        self.encode_ids(ids, out, Watch::default())?;
        normalize(out);
        Ok(())
    }

    /// The same, not normalised, with what happens shown to `watch`.
    ///
    /// # Errors
    /// As [`embed_ids_into`](Self::embed_ids_into).
    pub fn encode_ids(&mut self, ids: &[u32], out: &mut [f32], watch: Watch<'_>) -> Result<()> {
        check_len(self.embed_dim(), out)?;
        let config = &self.model.config().text;
        let (weights, longest) = (self.model.text().ok_or_else(no_text)?, self.sizes.shape);
        if ids.is_empty() || ids.len() > longest.tokens {
            let problem = "the number of tokens is not possible: 1 at least, and at most";
            return Err(unfit(problem, longest.tokens, ids.len()));
        }
        if config.padded != 0 && ids.len() != longest.tokens {
            // Without a mask the padding is part of the text.
            let problem =
                "this model's texts all have the same number of tokens: fill them up with its padding token";
            return Err(unfit(problem, longest.tokens, ids.len()));
        }
        if let Some(&id) = ids.iter().find(|&&id| id >= config.vocab) {
            let problem = "a token id is not below the size of the vocabulary";
            return Err(unfit(problem, config.vocab as usize, id as usize));
        }
        let mut team = self.runtime.hold()?;
        let TowerBuffers { x, work, pooled, rows, scratch } =
            self.sizes.lay_out(&mut Carver::new(self.arena.bytes_mut()));
        let mut forward = Forward {
            tap: watch.tap,
            kernels: self.runtime.kernels(),
            team: &mut team,
            profile: &mut self.profile,
            scratch,
            rows,
            remainders: Remainders::default(),
        };
        let (shape, buffers) = (Shape { tokens: ids.len(), ..longest }, TextBuffers { x, work, pooled });
        encode(&mut forward, weights, &shape, ids, config, buffers, out, watch.observer);
        check_finite(out)
    }

    /// Length of an embedding.
    pub fn embed_dim(&self) -> usize {
        self.model.config().score.embed_dim as usize
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// What the encoder runs on.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Every buffer of the encoder.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Where the time went since the encoder was made, or since the profile was cleared.
    pub fn profile_mut(&mut self) -> &mut Profile {
        &mut self.profile
    }
}

impl core::fmt::Debug for TextEncoder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("TextEncoder")
            .field("runtime", &self.runtime)
            .field("arena", &self.plan.bytes())
            .finish_non_exhaustive()
    }
}
