//! What comes from C, checked as far as it can be: null, alignment, length, UTF-8.

use crate::status::{Failure, OcelliStatus, Result};
use std::ffi::{CStr, c_char};
use std::path::Path;

/// Refuses null and misaligned pointers.
pub(crate) fn check<T>(pointer: *const T, what: &str) -> Result<()> {
    if pointer.is_null() {
        return Err(Failure::new(OcelliStatus::OCELLI_NULL_POINTER, format!("{what} is null")));
    }
    if !pointer.is_aligned() {
        let problem =
            format!("{what} is at {pointer:p}, which is not a multiple of {} bytes", align_of::<T>());
        return Err(Failure::new(OcelliStatus::OCELLI_MISALIGNED, problem));
    }
    Ok(())
}

/// A struct of the caller's.
///
/// # Safety
/// If `pointer` is neither null nor misaligned, a `T` is there, and stays unchanged for as long as the result is in use.
pub(crate) unsafe fn read<'a, T>(pointer: *const T, what: &str) -> Result<&'a T> {
    check(pointer, what)?;
    // SAFETY: not null, aligned; the rest is the caller's promise.
    Ok(unsafe { &*pointer })
}

/// Writes `value` to where the caller wants it.
///
/// # Safety
/// If `out` is neither null nor misaligned, it can be written to.
pub(crate) unsafe fn write<T>(out: *mut T, value: T, what: &str) -> Result<()> {
    check(out, what)?;
    // SAFETY: not null, aligned; the rest is the caller's promise.
    unsafe { out.write(value) };
    Ok(())
}

/// `len` elements of the caller's. None may be at null.
///
/// # Safety
/// If `pointer` is neither null nor misaligned, `len` elements are there, and stay unchanged for as long as the result is
/// in use.
pub(crate) unsafe fn slice<'a, T>(pointer: *const T, len: usize, what: &str) -> Result<&'a [T]> {
    if len == 0 {
        return Ok(&[]);
    }
    check(pointer, what)?;
    check_len::<T>(len, what)?;
    // SAFETY: not null, aligned, no longer than an object can be; the rest is the caller's promise.
    Ok(unsafe { core::slice::from_raw_parts(pointer, len) })
}

/// `len` elements of the caller's to write to. None may be at null.
///
/// # Safety
/// If `pointer` is neither null nor misaligned, `len` elements are there, which nobody else reads or writes for as long as
/// the result is in use.
pub(crate) unsafe fn slice_mut<'a, T>(pointer: *mut T, len: usize, what: &str) -> Result<&'a mut [T]> {
    if len == 0 {
        return Ok(&mut []);
    }
    check(pointer, what)?;
    check_len::<T>(len, what)?;
    // SAFETY: not null, aligned, no longer than an object can be; the rest is the caller's promise.
    Ok(unsafe { core::slice::from_raw_parts_mut(pointer, len) })
}

fn check_len<T>(len: usize, what: &str) -> Result<()> {
    match len.checked_mul(size_of::<T>()) {
        Some(bytes) if bytes <= isize::MAX as usize => Ok(()),
        _ => {
            let problem = format!("{what} cannot have {len} elements");
            Err(Failure::new(OcelliStatus::OCELLI_BUFFER_SIZE, problem))
        }
    }
}

/// A text that ends with a zero byte.
///
/// # Safety
/// If `pointer` is not null, such a text is there, and stays unchanged for as long as the result is in use.
pub(crate) unsafe fn text<'a>(pointer: *const c_char, what: &str) -> Result<&'a str> {
    check(pointer, what)?;
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str().map_err(|error| {
        let at = error.valid_up_to();
        Failure::new(OcelliStatus::OCELLI_BAD_ARGUMENT, format!("{what} is not UTF-8 from byte {at} on"))
    })
}

/// The path in a text. On Unix it may be any bytes.
///
/// # Safety
/// As [`text`].
pub(crate) unsafe fn path<'a>(pointer: *const c_char) -> Result<&'a Path> {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        check(pointer, "the path")?;
        // SAFETY: the caller's promise.
        let bytes = unsafe { CStr::from_ptr(pointer) }.to_bytes();
        Ok(Path::new(std::ffi::OsStr::from_bytes(bytes)))
    }
    #[cfg(not(unix))]
    // SAFETY: the caller's promise.
    Ok(Path::new(unsafe { text(pointer, "the path") }?))
}

/// Several texts.
///
/// # Safety
/// As [`slice`] and [`text`].
pub(crate) unsafe fn texts<'a>(
    pointer: *const *const c_char,
    count: usize,
    what: &str,
) -> Result<Vec<&'a str>> {
    // SAFETY: the caller's promise.
    unsafe { slice(pointer, count, what)?.iter().map(|&pointer| text(pointer, what)).collect() }
}

/// Copies `text` and a zero byte to `buffer` if it has room for them, and says in `needed` how many bytes that takes;
/// `needed` may be null, and so may `buffer` if `len` is 0.
///
/// # Safety
/// As [`slice_mut`] and [`write`].
pub(crate) unsafe fn copy_text(
    text: &str,
    buffer: *mut c_char,
    len: usize,
    needed: *mut usize,
) -> Result<()> {
    let room = text.len() + 1;
    if !needed.is_null() {
        // SAFETY: the caller's promise.
        unsafe { write(needed, room, "the place for the length") }?;
    }
    // SAFETY: the caller's promise.
    let buffer = unsafe { slice_mut(buffer.cast::<u8>(), len, "the buffer") }?;
    if buffer.is_empty() && !needed.is_null() {
        return Ok(());
    }
    if buffer.len() < room {
        let problem = format!("the text needs {room} bytes, and the buffer has {len}");
        return Err(Failure::new(OcelliStatus::OCELLI_BUFFER_SIZE, problem));
    }
    buffer[..text.len()].copy_from_slice(text.as_bytes());
    buffer[text.len()] = 0;
    Ok(())
}

/// Holds the length of a buffer against what goes there.
pub(crate) fn check_room(expected: usize, found: usize, what: &str) -> Result<()> {
    match expected == found {
        true => Ok(()),
        false => {
            let problem = format!("{what} must have {expected} elements, and has {found}");
            Err(Failure::new(OcelliStatus::OCELLI_BUFFER_SIZE, problem))
        }
    }
}
