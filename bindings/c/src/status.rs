//! What functions return, and what they say when they fail.

use ocelli::{Error, PictureFault};
use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How a call ended. Programs should expect numbers that they don't know: later versions may have more.
#[allow(non_camel_case_types, reason = "the names that C programs write")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub enum OcelliStatus {
    /// Done.
    OCELLI_OK = 0,
    /// A pointer is null that must not be.
    OCELLI_NULL_POINTER = 1,
    /// A pointer is not aligned as its type demands.
    OCELLI_MISALIGNED = 2,
    /// A handle that was freed, is of another kind, or was never given out.
    OCELLI_BAD_HANDLE = 3,
    /// An argument has a value that is not possible, or does not fit the model.
    OCELLI_BAD_ARGUMENT = 4,
    /// A buffer is too short or has the wrong length.
    OCELLI_BUFFER_SIZE = 5,
    /// The system cannot read or write a file.
    OCELLI_FILE = 6,
    /// The model or label bank is damaged, or of no kind that this library knows.
    OCELLI_BAD_MODEL = 7,
    /// The picture is damaged, or of no kind that this library knows.
    OCELLI_BAD_PICTURE = 8,
    /// The model has not what was asked for.
    OCELLI_MODEL_LACKS = 9,
    /// It would take more memory or work than there is or than the limits allow.
    OCELLI_TOO_LARGE = 10,
    /// A fault of this library. The handles of the call may be freed, and nothing else.
    OCELLI_INTERNAL = 11,
}

use OcelliStatus::*;

/// Why a call failed.
#[derive(Debug)]
pub(crate) struct Failure {
    status: OcelliStatus,
    message: String,
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub(crate) fn new(status: OcelliStatus, message: impl Into<String>) -> Failure {
        Failure { status, message: message.into() }
    }

    pub(crate) fn into_parts(self) -> (OcelliStatus, String) {
        (self.status, self.message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::new(status_of(&error), error.to_string())
    }
}

fn status_of(error: &Error) -> OcelliStatus {
    match error {
        Error::InFile { source, .. } => status_of(source),
        Error::Io { .. } | Error::NotAFile { .. } => OCELLI_FILE,
        Error::Picture { fault: PictureFault::TooLarge, .. } => OCELLI_TOO_LARGE,
        Error::TooCostly { .. } | Error::OutOfMemory { .. } => OCELLI_TOO_LARGE,
        Error::Picture { .. } => OCELLI_BAD_PICTURE,
        Error::ModelLacks { .. } => OCELLI_MODEL_LACKS,
        Error::Format { .. } | Error::NotAModel { .. } | Error::Checksum { .. } | Error::Config { .. } => {
            OCELLI_BAD_MODEL
        }
        Error::Tensor { .. } | Error::TensorMissing { .. } | Error::TensorUnknown { .. } => OCELLI_BAD_MODEL,
        Error::Tokenizer { .. } | Error::NotFinite => OCELLI_BAD_MODEL,
        // Pixels, arguments, labels, settings, a bank of another model.
        _ => OCELLI_BAD_ARGUMENT,
    }
}

thread_local! {
    static LAST: RefCell<Option<CString>> = const { RefCell::new(None) };
}

/// Runs `work`, keeps what it says if it fails, and lets no panic out.
pub(crate) fn guard(work: impl FnOnce() -> Result<()>) -> OcelliStatus {
    let failure = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => return OCELLI_OK,
        Ok(Err(failure)) => failure,
        Err(panic) => {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
            Failure::new(OCELLI_INTERNAL, format!("a fault of ocelli, please report it: {said}"))
        }
    };
    // A message of this library has no zero bytes; a label or a path that is quoted in it may.
    let message = CString::new(failure.message.replace('\0', "\u{fffd}")).ok();
    // A thread that is ending has no place for it any more.
    let _ = LAST.try_with(|last| last.replace(message));
    failure.status
}

/// What went wrong in the last call on this thread that failed, in English; empty if none did. It stays until the next
/// call on this thread fails or the thread ends.
#[unsafe(no_mangle)]
pub extern "C" fn ocelli_last_error() -> *const c_char {
    LAST.try_with(|last| last.borrow().as_ref().map_or(c"".as_ptr(), |message| message.as_ptr()))
        .unwrap_or(c"".as_ptr())
}

/// A status in words, as in "bad handle". It is there for ever; numbers that are no status are "unknown".
#[unsafe(no_mangle)]
pub extern "C" fn ocelli_status_name(status: i32) -> *const c_char {
    const NAMES: [(OcelliStatus, &std::ffi::CStr); 12] = [
        (OCELLI_OK, c"done"),
        (OCELLI_NULL_POINTER, c"null pointer"),
        (OCELLI_MISALIGNED, c"misaligned pointer"),
        (OCELLI_BAD_HANDLE, c"bad handle"),
        (OCELLI_BAD_ARGUMENT, c"bad argument"),
        (OCELLI_BUFFER_SIZE, c"wrong buffer size"),
        (OCELLI_FILE, c"file error"),
        (OCELLI_BAD_MODEL, c"bad model"),
        (OCELLI_BAD_PICTURE, c"bad picture"),
        (OCELLI_MODEL_LACKS, c"the model lacks it"),
        (OCELLI_TOO_LARGE, c"too large"),
        (OCELLI_INTERNAL, c"internal error"),
    ];
    let found = NAMES.iter().find(|(known, _)| *known as i32 == status);
    found.map_or(c"unknown".as_ptr(), |(_, name)| name.as_ptr())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    fn said() -> String {
        // SAFETY: the message stays until the next failure on this thread.
        unsafe { CStr::from_ptr(ocelli_last_error()) }.to_string_lossy().into_owned()
    }

    #[test]
    fn a_panic_stays_inside_and_is_told() {
        assert_eq!(said(), "");
        assert_eq!(guard(|| panic!("on purpose {}", 7)), OCELLI_INTERNAL);
        assert!(said().contains("on purpose 7"), "{}", said());
        // What succeeds says nothing.
        assert_eq!(guard(|| Ok(())), OCELLI_OK);
        assert!(said().contains("on purpose 7"));
        let zero = || Err(Failure::new(OCELLI_BAD_ARGUMENT, "a\0b"));
        assert_eq!(guard(zero), OCELLI_BAD_ARGUMENT);
        assert_eq!(said(), "a\u{fffd}b");
        std::thread::spawn(|| assert_eq!(said(), "")).join().unwrap();
    }

    #[test]
    fn an_error_inside_a_file_keeps_its_kind() {
        let error = Error::OutOfMemory { purpose: "x", bytes: 1 }.in_file("a").in_file("b");
        assert_eq!(Failure::from(error).status, OCELLI_TOO_LARGE);
    }
}
