//! Models and what they are.

use crate::arguments::{copy_text, path, slice, write};
use crate::handles::{self, Resource};
use crate::status::{Failure, OcelliStatus, Result, guard};
use ocelli::format::AlignedBytes;
use ocelli::{Error, Model, knobs};
use std::ffi::c_char;
use std::sync::Arc;

/// An open model. Everything made with it keeps it open, also after it is freed.
pub struct OcelliModel(pub(crate) Arc<Model>);

impl Resource for OcelliModel {
    const KIND: &'static str = "a model";
}

/// Check the weights against their checksums, which reads the whole file.
pub const OCELLI_OPEN_VERIFY: u32 = 1;
/// Copy the weights into memory instead of mapping the file: for files that others may overwrite or cut off.
pub const OCELLI_OPEN_COPY: u32 = 2;

/// What a model is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct OcelliModelInfo {
    /// Bytes of its file.
    pub bytes: u64,
    /// Identifies these weights in this precision.
    pub model_id: [u8; 16],
    /// Identifies the checkpoint, whatever the precision: a label bank fits all models that have it.
    pub checkpoint_id: [u8; 16],
    /// Length of an embedding.
    pub embed_dim: u32,
    /// 1 if it has an image tower.
    pub has_image: u32,
    /// Height of the image that it sees, in pixels.
    pub image_height: u32,
    /// Width of that image.
    pub image_width: u32,
    /// Side of a patch, in pixels.
    pub patch: u32,
    /// 1 if it has a text tower.
    pub has_text: u32,
    /// Most tokens of a text.
    pub context: u32,
    /// Classes of its own classifier; 0 if it has none.
    pub classes: u32,
    /// Labels of the bank that is in it; 0 if there is none.
    pub labels: u32,
    /// What cosines are multiplied by to become logits.
    pub logit_scale: f32,
    /// What is added to logits.
    pub logit_bias: f32,
}

fn checked(model: Arc<Model>, flags: u32) -> Result<OcelliModel> {
    if flags & OCELLI_OPEN_VERIFY != 0 {
        model.check_weights(knobs::threads()?)?;
    }
    Ok(OcelliModel(model))
}

fn check_flags(flags: u32) -> Result<()> {
    match flags & !(OCELLI_OPEN_VERIFY | OCELLI_OPEN_COPY) {
        0 => Ok(()),
        unknown => Err(Failure::new(
            OcelliStatus::OCELLI_BAD_ARGUMENT,
            format!("the flags have bits that mean nothing: {unknown:#x}"),
        )),
    }
}

/// Opens the packed file (.ocelli) at `path` and writes its handle to `out`. `flags`: 0, or OCELLI_OPEN_ constants
/// joined by |.
///
/// # Safety
/// `path` is null or a text that ends with a zero byte; `out` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ocelli_model_open(
    path: *const c_char,
    flags: u32,
    out: *mut *mut OcelliModel,
) -> OcelliStatus {
    guard(|| {
        check_flags(flags)?;
        // SAFETY: the caller's promise.
        let path = unsafe { self::path(path) }?;
        let model = match flags & OCELLI_OPEN_COPY {
            0 => Model::open(path)?,
            _ => Model::read(path)?,
        };
        let model = checked(model, flags).map_err(|failure| failure.in_file(path))?;
        // SAFETY: the caller's promise.
        unsafe { handles::give(model, out) }
    })
}

/// Opens the packed file that lies in memory, `len` bytes at `data`, which are copied. `flags` as in ocelli_model_open.
///
/// # Safety
/// `data` is null or has `len` bytes; `out` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ocelli_model_from_bytes(
    data: *const u8,
    len: usize,
    flags: u32,
    out: *mut *mut OcelliModel,
) -> OcelliStatus {
    guard(|| {
        check_flags(flags)?;
        // SAFETY: the caller's promise.
        let bytes = unsafe { slice(data, len, "the model's data") }?;
        let mut copy = AlignedBytes::zeroed(len)?;
        copy.copy_from_slice(bytes);
        let model = checked(Model::from_bytes(copy)?, flags)?;
        // SAFETY: the caller's promise.
        unsafe { handles::give(model, out) }
    })
}

/// Frees the handle. Null is left alone.
#[unsafe(no_mangle)]
pub extern "C" fn ocelli_model_free(model: *mut OcelliModel) -> OcelliStatus {
    guard(|| handles::free(model))
}

/// Writes what the model is to `out`.
///
/// # Safety
/// `out` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ocelli_model_info(
    model: *const OcelliModel,
    out: *mut OcelliModelInfo,
) -> OcelliStatus {
    guard(|| {
        let model = handles::get(model)?;
        // SAFETY: the caller's promise.
        unsafe { write(out, info(&model.0), "the place for the result") }
    })
}

fn info(model: &Model) -> OcelliModelInfo {
    let (file, config) = (model.file(), model.config());
    OcelliModelInfo {
        bytes: file.bytes_len() as u64,
        model_id: file.model_id(),
        checkpoint_id: config.checkpoint_id,
        embed_dim: config.score.embed_dim,
        has_image: file.has_vision().into(),
        image_height: config.vision.height,
        image_width: config.vision.width,
        patch: config.vision.patch,
        has_text: file.has_text().into(),
        context: config.text.context,
        classes: config.score.classes,
        labels: file.bank().map_or(0, |bank| u32::try_from(bank.len()).unwrap_or(u32::MAX)),
        logit_scale: config.score.logit_scale,
        logit_bias: config.score.logit_bias,
    }
}

/// Copies where the model came from and what was measured when it was converted, as JSON, to `buffer` of `len` bytes, and
/// the bytes that it takes to `needed`, which may be null. With a `len` of 0 only `needed` is written.
///
/// # Safety
/// `buffer` is null or has `len` bytes; `needed` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ocelli_model_provenance(
    model: *const OcelliModel,
    buffer: *mut c_char,
    len: usize,
    needed: *mut usize,
) -> OcelliStatus {
    guard(|| {
        let model = handles::get(model)?;
        // SAFETY: the caller's promise.
        unsafe { copy_text(model.0.file().provenance(), buffer, len, needed) }
    })
}

impl Failure {
    /// The same with the file that it is about.
    fn in_file(self, path: &std::path::Path) -> Failure {
        let (status, message) = self.into_parts();
        Failure::new(status, Error::Message(message).in_file(path).to_string())
    }
}
