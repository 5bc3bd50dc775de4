//! Handles: numbers in the type of a pointer, and the table of what they stand for.
//!
//! Numbers are counted up and never given out again, so a handle that was freed is known as one, and nothing that a
//! program passes as a handle is ever read from.

use crate::arguments::check;
use crate::status::{Failure, OcelliStatus, Result};
use std::any::Any;
use std::collections::BTreeMap;
use std::ptr::without_provenance_mut;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// What a handle can stand for.
pub(crate) trait Resource: Any + Send + Sync {
    /// Its name in errors, with an article.
    const KIND: &'static str;
}

struct Entry {
    kind: &'static str,
    resource: Arc<dyn Any + Send + Sync>,
}

static TABLE: RwLock<BTreeMap<usize, Entry>> = RwLock::new(BTreeMap::new());
static GIVEN: AtomicUsize = AtomicUsize::new(0);

/// Puts `resource` into the table and writes its handle to `out`.
///
/// # Safety
/// If `out` is neither null nor misaligned, it can be written to.
pub(crate) unsafe fn give<T: Resource>(resource: T, out: *mut *mut T) -> Result<()> {
    // Before anything is in the table that nobody could free.
    check(out, "the place for the handle")?;
    let entry = Entry { kind: T::KIND, resource: Arc::new(resource) };
    // Addresses near zero, where nothing lies: a program that follows a handle ends at once.
    let number = GIVEN.fetch_add(1, Ordering::Relaxed) + 1;
    TABLE.write().unwrap_or_else(PoisonError::into_inner).insert(number, entry);
    // SAFETY: not null, aligned; the rest is the caller's promise.
    unsafe { out.write(without_provenance_mut(number)) };
    Ok(())
}

/// What `handle` stands for. It lives at least as long as the result, even if another thread frees the handle.
pub(crate) fn get<T: Resource>(handle: *const T) -> Result<Arc<T>> {
    if handle.is_null() {
        return Err(Failure::new(
            OcelliStatus::OCELLI_NULL_POINTER,
            format!("the handle of {} is null", T::KIND),
        ));
    }
    let table = TABLE.read().unwrap_or_else(PoisonError::into_inner);
    let entry = table.get(&handle.addr()).ok_or_else(|| unknown(handle))?;
    Arc::clone(&entry.resource).downcast().map_err(|_| wrong_kind::<T>(entry.kind))
}

/// Takes `handle` out of the table. Null is no handle and stays none, as with `free`.
pub(crate) fn free<T: Resource>(handle: *mut T) -> Result<()> {
    if handle.is_null() {
        return Ok(());
    }
    let mut table = TABLE.write().unwrap_or_else(PoisonError::into_inner);
    let entry = table.get(&handle.addr()).ok_or_else(|| unknown(handle))?;
    if !entry.resource.is::<T>() {
        return Err(wrong_kind::<T>(entry.kind));
    }
    let entry = table.remove(&handle.addr());
    // What it stands for ends after the table is free again: a runtime waits for its threads.
    drop(table);
    drop(entry);
    Ok(())
}

fn unknown<T: Resource>(handle: *const T) -> Failure {
    let kind = T::KIND;
    let problem = match handle.addr() <= GIVEN.load(Ordering::Relaxed) {
        true => format!("the handle of {kind} was freed before"),
        false => format!("what was given as the handle of {kind} is no handle"),
    };
    Failure::new(OcelliStatus::OCELLI_BAD_HANDLE, problem)
}

fn wrong_kind<T: Resource>(found: &'static str) -> Failure {
    let problem = format!("the handle of {found} was given where one of {} is expected", T::KIND);
    Failure::new(OcelliStatus::OCELLI_BAD_HANDLE, problem)
}
