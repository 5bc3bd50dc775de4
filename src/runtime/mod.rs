//! What encoders run on: threads, kernels and memory, settled before the first frame.
//!
//! A [`Runtime`] has the threads and the kernels, and any number of encoders share it, one at a time. Each encoder has
//! memory of its own: a [`Plan`] names, sizes and places every buffer in one arena.

#[expect(unsafe_code, reason = "owns raw memory")]
mod arena;
#[cfg_attr(target_os = "linux", expect(unsafe_code, reason = "asks the system where threads may run"))]
mod cores;
mod cpu;
#[expect(unsafe_code, reason = "hands a borrowed closure to other threads")]
mod handover;
mod peaks;
mod plan;
mod shared;
mod shares;
mod sync;
mod team;

pub(crate) use arena::Arena;
pub use cores::{all_cortex_a55, cpus, default_threads};
pub use cpu::{Cpu, describe};
pub use peaks::Peaks;
pub use plan::{Buffer, Plan};
pub(crate) use plan::{Carver, Place};
pub(crate) use shared::Hold;
pub use shared::{Runtime, RuntimeOptions};
pub(crate) use shares::Divisible;
pub use team::MAX_THREADS;
pub(crate) use team::Team;
