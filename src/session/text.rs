//! Texts through a session.

use super::{Session, check_finite, check_len, forward};
use crate::error::{Error, Result};
use crate::format::Pooling;
use crate::nn::{Forward, Observer, Shape, Tap};
use crate::score::normalize;
use crate::text::{TextBuffers, encode, pooled_token};

impl Session<'_> {
    /// Embeds the text with the token ids `ids` into `out`, normalised to length 1.
    ///
    /// # Errors
    /// No text tower; no ids, too many, or one out of range; `out` has another length than an embedding.
    pub fn embed_text_into(&mut self, ids: &[u32], out: &mut [f32]) -> Result<()> {
        self.embed_text_raw_into(ids, out)?;
        normalize(out);
        Ok(())
    }

    /// The same, not normalised.
    ///
    /// # Errors
    /// As [`embed_text_into`](Self::embed_text_into).
    pub fn embed_text_raw_into(&mut self, ids: &[u32], out: &mut [f32]) -> Result<()> {
        self.encode_text(ids, out, None, None)
    }

    /// The same, with what every GEMM reads shown to `tap`.
    ///
    /// # Errors
    /// As [`embed_text_into`](Self::embed_text_into).
    pub fn tap_text(&mut self, ids: &[u32], out: &mut [f32], tap: Tap<'_>) -> Result<()> {
        self.encode_text(ids, out, None, Some(tap))
    }

    /// [`embed_text_raw_into`](Self::embed_text_raw_into) with the stages of the text tower shown to `observer`.
    ///
    /// # Errors
    /// As [`embed_text_into`](Self::embed_text_into).
    pub fn trace_text(&mut self, ids: &[u32], out: &mut [f32], observer: Observer<'_>) -> Result<()> {
        self.encode_text(ids, out, Some(observer), None)
    }

    fn encode_text(
        &mut self,
        ids: &[u32],
        out: &mut [f32],
        observer: Option<Observer<'_>>,
        tap: Option<Tap<'_>>,
    ) -> Result<()> {
        check_len(self.dimensions.embed_dim, out)?;
        let parts = self.parts();
        let (Some(weights), Some(longest)) = (parts.text, &parts.dimensions.text) else {
            return Err(Error::Message("this session has no text tower".into()));
        };
        if ids.is_empty() || ids.len() > longest.tokens {
            return Err(Error::Message(std::format!(
                "{} tokens; 1 to {} are possible",
                ids.len(),
                longest.tokens
            )));
        }
        if parts.config.text.padded != 0 && ids.len() != longest.tokens {
            // Without a mask the padding is part of the text.
            let (context, pad) = (longest.tokens, parts.config.text.pad);
            let count = ids.len();
            return Err(Error::Message(std::format!(
                "{count} tokens; this model's texts are always {context}: fill them up with token {pad}"
            )));
        }
        let vocab = parts.config.text.vocab;
        if let Some(id) = ids.iter().find(|&&id| id >= vocab) {
            return Err(Error::Message(std::format!("token id {id}; the model has {vocab}")));
        }
        let pooling = Pooling::from_stored(parts.config.text.tower.pooling).unwrap_or(Pooling::Last);
        let shape = Shape { tokens: ids.len(), ..*longest };
        let pooled_at = pooled_token(&parts.config.text, pooling, ids);
        let mut forward = forward!(parts, tap);
        let buffers =
            TextBuffers { x: parts.buffers.x, work: parts.buffers.work, pooled: parts.buffers.pooled };
        encode(&mut forward, weights, &shape, ids, pooled_at, buffers, out, observer);
        check_finite(out)
    }
}
