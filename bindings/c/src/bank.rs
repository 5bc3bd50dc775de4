//! Label banks: labels with their embeddings.

use crate::arguments::{copy_text, path, write};
use crate::handles::{self, Resource};
use crate::model::OcelliModel;
use crate::status::{Failure, OcelliStatus, Result, guard};
use ocelli::atomic::write_atomically;
use ocelli::format::LabelBank;
use ocelli::{Error, excerpt};
use std::ffi::c_char;
use std::io::Write;

/// Labels with their embeddings, for every model of one checkpoint.
pub struct OcelliBank(pub(crate) LabelBank);

impl Resource for OcelliBank {
    const KIND: &'static str = "a label bank";
}

/// Reads the label bank at `path`, which `ocelli labels` or ocelli_bank_save wrote.
///
/// # Safety
/// `path` is null or a text that ends with a zero byte; `out` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ocelli_bank_open(path: *const c_char, out: *mut *mut OcelliBank) -> OcelliStatus {
    guard(|| {
        // SAFETY: the caller's promise.
        let bank = LabelBank::open(unsafe { self::path(path) }?)?;
        // SAFETY: the caller's promise.
        unsafe { handles::give(OcelliBank(bank), out) }
    })
}

/// Copies the label bank that is in `model`. OCELLI_MODEL_LACKS if there is none.
///
/// # Safety
/// `out` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ocelli_bank_of_model(
    model: *const OcelliModel,
    out: *mut *mut OcelliBank,
) -> OcelliStatus {
    guard(|| {
        let model = handles::get(model)?;
        let bank = model.0.file().bank().ok_or(Error::ModelLacks {
            part: "labels in it",
            remedy: "open a label bank, or embed labels with a text encoder",
        })?;
        // SAFETY: the caller's promise.
        unsafe { handles::give(OcelliBank(bank.into()), out) }
    })
}

/// Writes the bank to `path`: beside it first, then synced and renamed, so that there is never half a file.
///
/// # Safety
/// `path` is null or a text that ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ocelli_bank_save(bank: *const OcelliBank, path: *const c_char) -> OcelliStatus {
    guard(|| {
        let bank = handles::get(bank)?;
        // SAFETY: the caller's promise.
        let path = unsafe { self::path(path) }?;
        write_atomically(path, |writer| {
            let write = writer.write_all(&bank.0.as_bank().to_bytes());
            write.map_err(|source| Error::Io { action: "write the label bank", source })
        })?;
        Ok(())
    })
}

/// Frees the handle. Null is left alone.
#[unsafe(no_mangle)]
pub extern "C" fn ocelli_bank_free(bank: *mut OcelliBank) -> OcelliStatus {
    guard(|| handles::free(bank))
}

/// Writes the number of labels to `out`.
///
/// # Safety
/// `out` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ocelli_bank_len(bank: *const OcelliBank, out: *mut usize) -> OcelliStatus {
    guard(|| {
        let len = handles::get(bank)?.0.as_bank().len();
        // SAFETY: the caller's promise.
        unsafe { write(out, len, "the place for the result") }
    })
}

/// Copies label `index` (UTF-8) and a zero byte to `buffer` of `len` bytes, and the bytes that it takes to `needed`, which
/// may be null. With a `len` of 0 only `needed` is written.
///
/// # Safety
/// `buffer` is null or has `len` bytes; `needed` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ocelli_bank_label(
    bank: *const OcelliBank,
    index: usize,
    buffer: *mut c_char,
    len: usize,
    needed: *mut usize,
) -> OcelliStatus {
    guard(|| {
        let bank = handles::get(bank)?;
        let bank = bank.0.as_bank();
        check_label(index, bank.len())?;
        // SAFETY: the caller's promise.
        unsafe { copy_label(bank.label(index), buffer, len, needed) }
    })
}

/// There must be a label `index`.
pub(crate) fn check_label(index: usize, count: usize) -> Result<()> {
    match index < count {
        true => Ok(()),
        false => Err(Failure::new(
            OcelliStatus::OCELLI_BAD_ARGUMENT,
            format!("there is no label {index}: there are {count}, counted from 0"),
        )),
    }
}

/// As [`copy_text`]; a label with a zero byte in it would be cut there.
///
/// # Safety
/// As [`copy_text`].
pub(crate) unsafe fn copy_label(
    label: &str,
    buffer: *mut c_char,
    len: usize,
    needed: *mut usize,
) -> Result<()> {
    if label.contains('\0') {
        return Err(Failure::new(
            OcelliStatus::OCELLI_BAD_ARGUMENT,
            format!(
                "the label {:?} has a zero byte in it, and C would read only what is before",
                excerpt(label)
            ),
        ));
    }
    // SAFETY: the caller's promise.
    unsafe { copy_text(label, buffer, len, needed) }
}
