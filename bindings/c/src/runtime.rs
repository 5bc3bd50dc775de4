//! Threads and kernels.

use crate::arguments::{text, write};
use crate::handles::{self, Resource};
use crate::status::{Failure, OcelliStatus, guard};
use ocelli::{Isa, Runtime, knobs};
use std::ffi::c_char;

/// Threads and kernels that encoders share. What one encoder computes, others of the same runtime wait for. Encoders keep
/// it, also after it is freed.
pub struct OcelliRuntime(pub(crate) Runtime);

impl Resource for OcelliRuntime {
    const KIND: &'static str = "a runtime";
}

/// Starts `threads` threads, the calling one included, and chooses the kernels; 0 takes what OCELLI_THREADS says or as many
/// as there are CPUs. `isa` names the instruction sets to use, as in
/// "neon+dotprod"; null takes what OCELLI_ISA says or all that this CPU has.
///
/// # Safety
/// `isa` is null or a text that ends with a zero byte; `out` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ocelli_runtime_new(
    threads: u32,
    isa: *const c_char,
    out: *mut *mut OcelliRuntime,
) -> OcelliStatus {
    guard(|| {
        let mut options = knobs::runtime_options()?;
        if threads > 0 {
            options = options.threads(threads as usize);
        }
        if !isa.is_null() {
            // SAFETY: the caller's promise.
            let names = unsafe { text(isa, "the instruction set") }?;
            let isa = Isa::select(names);
            options = options.isa(isa.map_err(|error| {
                Failure::new(OcelliStatus::OCELLI_BAD_ARGUMENT, format!("instruction sets: {error}"))
            })?);
        }
        // SAFETY: the caller's promise.
        unsafe { handles::give(OcelliRuntime(Runtime::new(&options)?), out) }
    })
}

/// Frees the handle. Null is left alone.
#[unsafe(no_mangle)]
pub extern "C" fn ocelli_runtime_free(runtime: *mut OcelliRuntime) -> OcelliStatus {
    guard(|| handles::free(runtime))
}

/// Writes the number of threads, the calling one included, to `out`.
///
/// # Safety
/// `out` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ocelli_runtime_threads(
    runtime: *const OcelliRuntime,
    out: *mut u32,
) -> OcelliStatus {
    guard(|| {
        let threads = handles::get(runtime)?.0.threads();
        // SAFETY: the caller's promise.
        unsafe { write(out, u32::try_from(threads).unwrap_or(u32::MAX), "the place for the result") }
    })
}
