//! Texts to embeddings, and labels to banks.

use crate::arguments::{check_room, slice_mut, text, texts, write};
use crate::bank::OcelliBank;
use crate::handles::{self, Resource};
use crate::model::OcelliModel;
use crate::runtime::OcelliRuntime;
use crate::status::{OcelliStatus, Result, guard};
use ocelli::text::templates as checked_templates;
use ocelli::{TextEncoder, knobs};
use std::ffi::c_char;
use std::sync::{Mutex, PoisonError};

/// A text tower with its memory and its tokenizer. Calls of several threads take turns.
pub struct OcelliTextEncoder(Mutex<TextEncoder>);

impl Resource for OcelliTextEncoder {
    const KIND: &'static str = "a text encoder";
}

/// Runs `work` with the encoder, when no other thread has it.
fn with<T>(encoder: *const OcelliTextEncoder, work: impl FnOnce(&mut TextEncoder) -> Result<T>) -> Result<T> {
    let encoder = handles::get(encoder)?;
    let mut encoder = encoder.0.lock().unwrap_or_else(PoisonError::into_inner);
    work(&mut encoder)
}

/// Takes all memory for the text tower, and reads the tokenizer.
///
/// # Safety
/// `out` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ocelli_text_encoder_new(
    model: *const OcelliModel,
    runtime: *const OcelliRuntime,
    out: *mut *mut OcelliTextEncoder,
) -> OcelliStatus {
    guard(|| {
        let (model, runtime) = (handles::get(model)?, handles::get(runtime)?);
        let mut encoder = TextEncoder::new(&model.0, &runtime.0, &knobs::limits()?)?;
        encoder.tokenizer()?;
        // SAFETY: the caller's promise.
        unsafe { handles::give(OcelliTextEncoder(Mutex::new(encoder)), out) }
    })
}

/// Frees the handle. Null is left alone.
#[unsafe(no_mangle)]
pub extern "C" fn ocelli_text_encoder_free(encoder: *mut OcelliTextEncoder) -> OcelliStatus {
    guard(|| handles::free(encoder))
}

/// Embeds `text` (UTF-8) and writes its embedding, of length 1, to `out`, which has `len` = embed_dim elements. `cut`, which
/// may be null, becomes 1 if the text was longer than the model reads, and 0 otherwise. Tokenizing allocates.
///
/// # Safety
/// `text` is null or ends with a zero byte; `out` is null or has `len` elements; `cut` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ocelli_text_encoder_embed(
    encoder: *const OcelliTextEncoder,
    text: *const c_char,
    out: *mut f32,
    len: usize,
    cut: *mut i32,
) -> OcelliStatus {
    guard(|| {
        // SAFETY: the caller's promise.
        let text = unsafe { self::text(text, "the text") }?;
        // SAFETY: the caller's promise.
        let out = unsafe { slice_mut(out, len, "the place for the embedding") }?;
        let was_cut = with(encoder, |encoder| {
            check_room(encoder.embed_dim(), len, "the place for the embedding")?;
            Ok(encoder.embed_into(text, out)?)
        })?;
        if !cut.is_null() {
            // SAFETY: the caller's promise.
            unsafe { write(cut, was_cut.into(), "the place for the result") }?;
        }
        Ok(())
    })
}

/// Embeds `label_count` labels, each with `template_count` templates that have {} for the label, as in "a photo of a {}" (which
/// is the one that is taken if there is none), and writes the handle of their bank to `out`. Labels and templates are UTF-8.
///
/// # Safety
/// `labels` and `templates` are null or have so many texts; `out` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ocelli_text_encoder_labels(
    encoder: *const OcelliTextEncoder,
    labels: *const *const c_char,
    label_count: usize,
    templates: *const *const c_char,
    template_count: usize,
    out: *mut *mut OcelliBank,
) -> OcelliStatus {
    guard(|| {
        // SAFETY: the caller's promise.
        let labels = unsafe { texts(labels, label_count, "a label") }?;
        // SAFETY: the caller's promise.
        let templates = unsafe { texts(templates, template_count, "a template") }?;
        let templates: Vec<String> = templates.into_iter().map(String::from).collect();
        let templates = checked_templates(&templates)?;
        let bank = with(encoder, |encoder| Ok(encoder.embed_labels(&labels, &templates, &mut |_| ())?))?;
        // SAFETY: the caller's promise.
        unsafe { handles::give(OcelliBank(bank), out) }
    })
}
