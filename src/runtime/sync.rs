//! What threads synchronise with: the standard library's, or loom's in a test that tries every order of their steps
//! (`scripts/loom.sh`).

#[cfg(not(all(loom, test)))]
pub(super) use std::sync::{
    Arc, Condvar, Mutex,
    atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence},
};

#[cfg(all(loom, test))]
pub(super) use loom::sync::{
    Arc, Condvar, Mutex,
    atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence},
};
