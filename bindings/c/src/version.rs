//! Which library this is.

use crate::status::{Failure, OcelliStatus, guard};
use std::ffi::c_char;

/// The version of this interface. It changes when a program compiled with an older header would no longer be right;
/// the shared library's name ends with it.
pub const OCELLI_ABI_VERSION: u32 = 1;

/// The version of the interface that the library has.
#[unsafe(no_mangle)]
pub extern "C" fn ocelli_abi_version() -> u32 {
    OCELLI_ABI_VERSION
}

/// Compares the interface of the header that the program was compiled with and of the library that it runs with: call
/// `ocelli_check_abi(OCELLI_ABI_VERSION)` once. OCELLI_BAD_ARGUMENT if they differ.
#[unsafe(no_mangle)]
pub extern "C" fn ocelli_check_abi(version: u32) -> OcelliStatus {
    guard(|| match version == OCELLI_ABI_VERSION {
        true => Ok(()),
        false => Err(Failure::new(
            OcelliStatus::OCELLI_BAD_ARGUMENT,
            format!(
                "the program was compiled for version {version} of the interface, and this library has version \
                 {OCELLI_ABI_VERSION}: compile it with this library's ocelli.h"
            ),
        )),
    })
}

/// The version of the library, as in "0.2.0". It is there for ever.
#[unsafe(no_mangle)]
pub extern "C" fn ocelli_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}
