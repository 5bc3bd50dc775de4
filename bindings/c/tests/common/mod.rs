//! What the tests of the C interface share.

use ocelli_c::*;
use std::ffi::{CStr, CString};
use std::path::Path;
use std::ptr::{null, null_mut};

/// What the last failure on this thread said.
pub(crate) fn said() -> String {
    // SAFETY: the message stays until the next failure on this thread.
    unsafe { CStr::from_ptr(ocelli_last_error()) }.to_str().unwrap().into()
}

#[track_caller]
pub(crate) fn ok(status: OcelliStatus) {
    assert_eq!(status, OcelliStatus::OCELLI_OK, "{}", said());
}

pub(crate) fn c_path(path: &Path) -> CString {
    CString::new(path.to_str().unwrap()).unwrap()
}

pub(crate) fn open(path: &Path) -> *mut OcelliModel {
    let mut model = null_mut();
    // SAFETY: a text, and a place for the handle.
    ok(unsafe { ocelli_model_open(c_path(path).as_ptr(), OCELLI_OPEN_VERIFY, &mut model) });
    model
}

pub(crate) fn runtime(threads: u32) -> *mut OcelliRuntime {
    let mut runtime = null_mut();
    // SAFETY: a place for the handle.
    ok(unsafe { ocelli_runtime_new(threads, null(), &mut runtime) });
    runtime
}

pub(crate) fn image_encoder(
    model: *mut OcelliModel,
    runtime: *mut OcelliRuntime,
    batch: u32,
) -> *mut OcelliImageEncoder {
    let (options, mut encoder) = (OcelliImageOptions { batch, ..OcelliImageOptions::default() }, null_mut());
    // SAFETY: options, and a place for the handle.
    ok(unsafe { ocelli_image_encoder_new(model, runtime, &options, &mut encoder) });
    encoder
}

/// A picture of one plane.
pub(crate) fn packed(format: u32, data: &[u8], width: u32, height: u32, stride: usize) -> OcelliImage {
    let none = OcelliPlane { data: null(), len: 0, stride: 0 };
    let plane = OcelliPlane { data: data.as_ptr(), len: data.len(), stride };
    OcelliImage { format, color: 0, width, height, planes: [plane, none, none] }
}

/// Pixels that are not all the same.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 97) as u8).collect()
}
