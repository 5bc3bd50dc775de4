//! Texts to embeddings.

use super::buffers::{TowerBuffers, TowerSizes};
use super::input::Watch;
use super::{check_finite, check_len, sizes, unfit};
use crate::error::Result;
use crate::format::{Cost, Limits, TEXT_ROWS, TEXTS_AT_ONCE};
use crate::model::Model;
use crate::nn::{Forward, Orders, Shape};
use crate::profile::Profile;
use crate::runtime::{Arena, Carver, Plan, Runtime};
use crate::score::normalize;
use crate::text::{TextBuffers, encode, no_text, read_token};
#[cfg(feature = "text")]
use crate::text::{TextTokenizer, Tokens};
use ocelli_kernels::Remainders;
use std::sync::Arc;
use std::vec::Vec;

/// A text tower ready to run.
///
/// All memory is taken by [`TextEncoder::new`]; embedding the token ids of a text afterwards allocates nothing, on any
/// thread.
pub struct TextEncoder {
    model: Arc<Model>,
    runtime: Runtime,
    sizes: TowerSizes,
    plan: Plan,
    arena: Arena,
    orders: Orders,
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
        let mut sizes = sizes::of_text(config, weights, runtime)?;
        let orders = Orders::of(runtime.kernels(), model.text_tensors());
        sizes.orders = orders.bytes();
        let mut plan = Plan::default();
        sizes.lay_out(&mut plan);
        Ok(TextEncoder {
            arena: Arena::new(plan.bytes())?,
            plan,
            orders,
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

    /// Embeds `texts` into the rows of `out`, [texts, embed_dim], each normalised to length 1. Those of the same number of
    /// tokens go through the tower together, which is quicker than one by one, with the same results. Says which
    /// texts were longer than the model reads, and were cut.
    ///
    /// # Errors
    /// As [`embed_into`](Self::embed_into).
    #[cfg(feature = "text")]
    pub fn embed_all_into<T: AsRef<str>>(&mut self, texts: &[T], out: &mut [f32]) -> Result<Vec<bool>> {
        let tokenizer = self.tokenizer()?;
        let tokens = texts.iter().map(|text| tokenizer.encode(text.as_ref()));
        let (ids, truncated) = tokens
            .map(|found| found.map(|Tokens { ids, truncated }| (ids, truncated)))
            .collect::<Result<(Vec<_>, Vec<_>)>>()?;
        self.encode_all_ids(&ids, out)?;
        out.chunks_exact_mut(self.embed_dim()).for_each(normalize);
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

    /// Embeds `texts` as [`embed_all_into`](Self::embed_all_into) does, given as token ids, and not normalised.
    ///
    /// # Errors
    /// As [`embed_ids_into`](Self::embed_ids_into), for any of them.
    pub fn encode_all_ids<I: AsRef<[u32]>>(&mut self, texts: &[I], out: &mut [f32]) -> Result<()> {
        let dim = self.embed_dim();
        check_len(texts.len() * dim, out)?;
        texts.iter().try_for_each(|ids| self.check_ids(ids.as_ref()))?;
        let model = Arc::clone(&self.model);
        let kind = |&i: &usize| {
            let ids: &[u32] = texts[i].as_ref();
            (ids.len(), read_token(&model.config().text, ids))
        };
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(kind);
        let (mut ids, mut found) = (Vec::new(), std::vec![0.0; TEXTS_AT_ONCE * dim]);
        for group in order.chunk_by(|a, b| kind(a) == kind(b)) {
            let tokens = texts[group[0]].as_ref().len();
            for together in group.chunks(self.at_once(tokens)) {
                ids.clear();
                together.iter().for_each(|&i| ids.extend_from_slice(texts[i].as_ref()));
                let found = &mut found[..together.len() * dim];
                self.encode(&ids, tokens, found, Watch::default())?;
                for (&i, found) in together.iter().zip(found.chunks_exact(dim)) {
                    out[i * dim..][..dim].copy_from_slice(found);
                }
            }
        }
        Ok(())
    }

    /// How many texts of so many tokens go through the tower together.
    fn at_once(&self, tokens: usize) -> usize {
        (TEXT_ROWS / tokens).clamp(1, TEXTS_AT_ONCE)
    }

    /// Embeds one text as [`embed_ids_into`](Self::embed_ids_into) does, not normalised, with what happens shown to
    /// `watch`.
    ///
    /// # Errors
    /// As [`embed_ids_into`](Self::embed_ids_into).
    pub fn encode_ids(&mut self, ids: &[u32], out: &mut [f32], watch: Watch<'_>) -> Result<()> {
        check_len(self.embed_dim(), out)?;
        self.check_ids(ids)?;
        self.encode(ids, ids.len(), out, watch)
    }

    fn check_ids(&self, ids: &[u32]) -> Result<()> {
        let config = &self.model.config().text;
        let longest = config.context as usize;
        if ids.is_empty() || ids.len() > longest {
            let problem = "the number of tokens is not possible: 1 at least, and at most";
            return Err(unfit(problem, longest, ids.len()));
        }
        if config.padded != 0 && ids.len() != longest {
            // Without a mask the padding is part of the text.
            let problem =
                "this model's texts all have the same number of tokens: fill them up with its padding token";
            return Err(unfit(problem, longest, ids.len()));
        }
        if let Some(&id) = ids.iter().find(|&&id| id >= config.vocab) {
            let problem = "a token id is not below the size of the vocabulary";
            return Err(unfit(problem, config.vocab as usize, id as usize));
        }
        Ok(())
    }

    /// Encodes the texts `ids`, [texts, tokens], which were checked, and of which the same token is read.
    fn encode(&mut self, ids: &[u32], tokens: usize, out: &mut [f32], watch: Watch<'_>) -> Result<()> {
        let (config, weights) = (&self.model.config().text, self.model.text().ok_or_else(no_text)?);
        let shape = Shape { images: ids.len() / tokens, tokens, ..self.sizes.shape };
        let mut team = self.runtime.hold()?;
        let TowerBuffers { x, work, pooled, rows, orders, scratch } =
            self.sizes.lay_out(&mut Carver::new(self.arena.bytes_mut()));
        let (model, kernels) = (&self.model, self.runtime.kernels());
        self.orders.pass(ids.len(), &mut team, kernels, model.text_tensors(), orders);
        let mut forward = Forward {
            tap: watch.tap,
            kernels,
            team: &mut team,
            profile: &mut self.profile,
            scratch,
            rows,
            orders: (&self.orders, orders),
            remainders: Remainders::default(),
        };
        let buffers = TextBuffers { x, work, pooled };
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
